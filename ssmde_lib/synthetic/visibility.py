"""Which primitive each node of the picture's grid shows, and how far it is.

Each primitive is intersected only inside the rectangle it projects to, on a grid of half-pixel steps whose every second
node is a pixel centre.
"""

import numpy as np

NEAR = 0.05  # metres
_CORNERS = np.array([[x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_EDGES = np.array([(a, b) for a in range(8) for b in range(a) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 2]).T


def to_unit(T_cam_object, size):
    """Affine map from the camera's frame into the unit frames of shapes.

    q = A p + b, with A (n 3 3), b (n 3), float64.
    """
    scale = 1 / np.asarray(size, np.float64).reshape(-1, 3)
    A = scale[:, :, None] * T_cam_object[:, :3, :3].transpose(0, 2, 1)
    return A, -np.einsum("nij,nj->ni", A, T_cam_object[:, :3, 3])


def rectangles(A, b, x, y):
    """Ranges of grid rows and columns that the unit cubes project to, clipped at the near plane, and their least z."""
    inverse = np.linalg.inv(A)
    T = np.concatenate([inverse, -inverse @ b[:, :, None]], 2)  # unit frame to camera
    corners = _CORNERS @ T.transpose(0, 2, 1)
    z = corners[..., 2]
    start, end = corners[:, _EDGES[0]], corners[:, _EDGES[1]]
    cut = (NEAR - start[..., 2:]) / (end[..., 2:] - start[..., 2:])
    crossing = start + cut * (end - start)
    points = np.concatenate([corners, crossing], 1)
    valid = np.concatenate([z >= NEAR, (cut[..., 0] > 0) & (cut[..., 0] < 1)], 1)
    bounds = []
    for axis, grid in ((1, y), (0, x)):
        slope = points[..., axis] / np.maximum(points[..., 2], NEAR)
        low, high = np.where(valid, slope, np.inf).min(1), np.where(valid, slope, -np.inf).max(1)
        bounds += [np.searchsorted(grid, low - 1e-6), np.searchsorted(grid, high + 1e-6, "right")]
    return np.stack(bounds, 1), z.min(1)


def visibility(scene, A, b, x, y):
    """Depth (infinite: sky) and number (-1: sky) of the first primitive on each node of the grid."""
    depth = np.full((len(y), len(x)), np.inf, np.float32)
    ids = np.full(depth.shape, -1, np.int32)
    bounds, nearest = rectangles(A, b, x, y)
    visible = np.flatnonzero((bounds[:, 0] < bounds[:, 1]) & (bounds[:, 2] < bounds[:, 3]))
    for i in visible[np.argsort(nearest[visible])]:
        top, bottom, left, right = bounds[i]
        area = np.s_[top:bottom, left:right]
        if nearest[i] >= depth[area].max():
            continue
        primitive = scene.primitives[i]
        shape = "prism" if primitive.shape == "box" and primitive.taper != (1, 1) else primitive.shape
        z = _INTERSECT[shape](A[i], b[i], x[left:right], y[top:bottom, None], primitive.taper)
        closer = z < depth[area]
        np.copyto(depth[area], z, where=closer)
        np.copyto(ids[area], i, where=closer)
    return depth, ids


def linear(coefficients, x, y):
    """The linear function c0 x + c1 y + c2 of the rays (x, y, 1), on the grid."""
    c0, c1, c2 = coefficients.tolist()
    return c0 * x + (c1 * y + c2)


def _slab(row, offset, x, y):
    """Depths at which the rays enter and leave the slab between two opposite faces of the unit cube."""
    inverse = 1 / linear(row, x, y)
    low, high = float(-1 - offset) * inverse, float(1 - offset) * inverse
    return np.minimum(low, high), np.maximum(low, high)


def _box(A, b, x, y, taper):
    near, far = _slab(A[0], b[0], x, y)
    for k in (1, 2):
        enter, leave = _slab(A[k], b[k], x, y)
        np.maximum(near, enter, out=near)
        np.minimum(far, leave, out=far)
    near[(near > far) | (near < NEAR)] = np.inf
    return near


def _prism(A, b, x, y, taper):
    """A box whose top is smaller: six planes, |x| <= m + s y with m, s from the taper, likewise z, and |y| <= 1."""
    near, far = np.float32(-np.inf), np.float32(np.inf)
    for axis, shrink in ((0, taper[0]), (2, taper[1]), (1, 1.0)):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[1] = -(1 - shrink) / 2
            normal[axis] = sign
            slope = linear(normal @ A, x, y)
            cut = float((1 + shrink) / 2 - normal @ b) / slope
            near = np.maximum(near, np.where(slope < 0, cut, -np.inf))
            far = np.minimum(far, np.where(slope > 0, cut, np.inf))
    near[(near > far) | (near < NEAR)] = np.inf
    return near


def _ellipsoid(A, b, x, y, taper):
    """Unit sphere; the discriminant in the form |d|^2 - |b x d|^2, which does not cancel for small far spheres."""
    cross = np.array([[0, -b[2], b[1]], [b[2], 0, -b[0]], [-b[1], b[0], 0]]) @ A
    a = discriminant = 0
    for k in range(3):
        a = a + linear(A[k], x, y) ** 2
        discriminant = discriminant - linear(cross[k], x, y) ** 2
    z = (-linear(b @ A, x, y) - np.sqrt(a + discriminant)) / a
    z[~(z > NEAR)] = np.inf
    return z


def _cylinder(A, b, x, y, taper):
    """x^2 + z^2 <= (m + s y)^2, |y| <= 1: a cylinder, or a cone where the taper is not 1."""
    mean, slope = (1 + taper[0]) / 2, (1 - taper[0]) / 2
    radius = mean + slope * b[1]  # at the camera, extended
    dx, dy, dz = (linear(A[k], x, y) for k in range(3))
    a = dx * dx + dz * dz - (slope * dy) ** 2
    half = linear(b[0] * A[0] + b[2] * A[2] - radius * slope * A[1], x, y)
    root = np.sqrt(
        linear(b[0] * slope * A[1] - radius * A[0], x, y) ** 2  # = half^2 - a c, without the cancellation
        + linear(b[2] * slope * A[1] - radius * A[2], x, y) ** 2
        - linear(b[0] * A[2] - b[2] * A[0], x, y) ** 2
    )
    best = np.full(a.shape, np.inf, np.float32)
    for sign in (-1, 1):
        z = (sign * root - half) / a
        np.minimum(best, z, out=best, where=(z > NEAR) & (np.abs(float(b[1]) + z * dy) <= 1))
    if abs(b[1]) > 1:
        end = np.sign(b[1])
        z = float(end - b[1]) / dy
        inside = (float(b[0]) + z * dx) ** 2 + (float(b[2]) + z * dz) ** 2 <= float(mean + slope * end) ** 2
        np.minimum(best, z, out=best, where=(z > NEAR) & inside)
    return best


_INTERSECT = {"box": _box, "prism": _prism, "ellipsoid": _ellipsoid, "cylinder": _cylinder}
