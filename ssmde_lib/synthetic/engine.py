"""A small ray caster: exact depth, normals, flow and masks of a procedural scene, and anti-aliased colour. Numpy only.

    scene = Scene([Primitive("box", (1, 1, 1), place(z=6), Material(color=(0.8, 0.2, 0.1)), instance=1)])
    frame = render(scene, K, T_world_cam, height=64, width=192, time=0.0, T_world_cam_next=None)

Everything a scene is made of (`Scene, Primitive, Material, Light, Sky, Shadow, place`) stands in `world.scene`:
primitives are boxes, ellipsoids and cylinders (with `taper`: roofs, pyramids, cones), each with a pose that may be a
function of time in frames; the ground and walls are flat boxes. A camera inside a box does not see that box.

Visibility first, shading after: each primitive is intersected only inside the rectangle it projects to, on a grid of
half-pixel steps whose every second node is a pixel centre; then all nodes are shaded together by gathering the
primitives' tables. Colour is the [1 2 1]/4 tent filter of the grid; depth, normals and masks are its pixel centres,
exact.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from . import texture
from .scene import SHAPES, Scene

NEAR = 0.05  # metres
_BAND = 1 << 15  # grid nodes shaded at once: the working set stays in the cache
_CORNERS = np.array([[x, y, z, 1] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_EDGES = np.array([(a, b) for a in range(8) for b in range(a) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 2]).T


@dataclass
class Frame:
    """One picture and everything true about it; h w is the image size, the camera has OpenCV axes."""

    rgb: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]  # z in metres, infinite in the sky
    normal: Float[np.ndarray, "h w 3"]  # unit, towards the camera, in its frame; 0 in the sky
    flow: (
        Float[np.ndarray, "h w 2"] | None
    )  # pixels from time to time + 1; infinite where the point passes behind the camera
    instance: Int[np.ndarray, "h w"]  # 0 background
    dynamic_mask: UInt8[np.ndarray, "h w"]  # 0 static, k > 0 the k-th moving instance
    T_world_cam: Float[np.ndarray, "4 4"]
    K: Float[np.ndarray, "3 3"]
    time: float = 0.0


def render(scene: Scene, K, T_world_cam, height: int, width: int, time: float = 0.0, T_world_cam_next=None) -> Frame:
    """What the camera (K 3 3 without skew, `T_world_cam` 4 4) sees of the scene at a time.

    Flow needs the next frame's camera.

    Objects move from `time` to `time + 1` for the flow. Colour is deterministic; no state is kept except the scene's
    tables.
    """
    K, T_world_cam = np.asarray(K, np.float64), np.asarray(T_world_cam, np.float64)
    x = (((np.arange(2 * width + 1) - 1) / 2 - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = (((np.arange(2 * height + 1) - 1) / 2 - K[1, 2]) / K[1, 1]).astype(np.float32)
    T_cam_world = np.linalg.inv(T_world_cam)
    T_world_object = scene.poses(time)
    with np.errstate(all="ignore"):
        A, b = _to_unit(T_cam_world @ T_world_object, [p.size for p in scene.primitives])
        depth, ids = _visibility(scene, A, b, x, y)
        shade = _contact_shade(scene, T_cam_world, time, depth, x, y)
        colour, normal = _shade(scene, A, b, T_world_cam, T_world_object, depth, ids, shade, x, y, 1 / K[0, 0])
        centre = np.s_[1::2, 1::2]
        depth, ids, normal = depth[centre].copy(), ids[centre], normal[centre]
        flow = (
            None
            if T_world_cam_next is None
            else _flow(
                scene,
                K,
                T_world_cam,
                T_world_object,
                np.asarray(T_world_cam_next, np.float64),
                time,
                depth,
                ids,
                x[1::2],
                y[1::2],
            )
        )
    normal = normal @ T_world_cam[:3, :3].astype(np.float32)  # world to camera: R_cam_world n
    seen = ids >= 0
    return Frame(
        _tent(colour),
        depth,
        normal,
        flow,
        np.where(seen, scene.table["instance"][ids], 0),
        np.where(seen, scene.table["mover"][ids], 0).astype(np.uint8),
        T_world_cam,
        K,
        time,
    )


def _to_unit(T_cam_object, size):
    """Affine map from the camera's frame into the unit frames of shapes.

    q = A p + b, with A (n 3 3), b (n 3), float64.
    """
    scale = 1 / np.asarray(size, np.float64).reshape(-1, 3)
    A = scale[:, :, None] * T_cam_object[:, :3, :3].transpose(0, 2, 1)
    return A, -np.einsum("nij,nj->ni", A, T_cam_object[:, :3, 3])


def _rectangles(A, b, x, y):
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


def _visibility(scene, A, b, x, y):
    """Depth (infinite: sky) and number (-1: sky) of the first primitive on each node of the grid."""
    depth = np.full((len(y), len(x)), np.inf, np.float32)
    ids = np.full(depth.shape, -1, np.int32)
    bounds, nearest = _rectangles(A, b, x, y)
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


def _linear(coefficients, x, y):
    """The linear function c0 x + c1 y + c2 of the rays (x, y, 1), on the grid."""
    c0, c1, c2 = coefficients.tolist()
    return c0 * x + (c1 * y + c2)


def _slab(row, offset, x, y):
    """Depths at which the rays enter and leave the slab between two opposite faces of the unit cube."""
    inverse = 1 / _linear(row, x, y)
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
            slope = _linear(normal @ A, x, y)
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
        a = a + _linear(A[k], x, y) ** 2
        discriminant = discriminant - _linear(cross[k], x, y) ** 2
    z = (-_linear(b @ A, x, y) - np.sqrt(a + discriminant)) / a
    z[~(z > NEAR)] = np.inf
    return z


def _cylinder(A, b, x, y, taper):
    """x^2 + z^2 <= (m + s y)^2, |y| <= 1: a cylinder, or a cone where the taper is not 1."""
    mean, slope = (1 + taper[0]) / 2, (1 - taper[0]) / 2
    radius = mean + slope * b[1]  # at the camera, extended
    dx, dy, dz = (_linear(A[k], x, y) for k in range(3))
    a = dx * dx + dz * dz - (slope * dy) ** 2
    half = _linear(b[0] * A[0] + b[2] * A[2] - radius * slope * A[1], x, y)
    root = np.sqrt(
        _linear(b[0] * slope * A[1] - radius * A[0], x, y) ** 2  # = half^2 - a c, without the cancellation
        + _linear(b[2] * slope * A[1] - radius * A[2], x, y) ** 2
        - _linear(b[0] * A[2] - b[2] * A[0], x, y) ** 2
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


def _contact_shade(scene, T_cam_world, time, depth, x, y):
    """Factor in [0, 1] on the light of each node, from the scene's contact shadows."""
    shade = np.ones_like(depth)
    if not scene.shadows:
        return shade
    A, b = _to_unit(T_cam_world @ scene.poses(time, "shadows"), [s.size for s in scene.shadows])
    bounds, _ = _rectangles(A, b, x, y)
    for i in np.flatnonzero((bounds[:, 0] < bounds[:, 1]) & (bounds[:, 2] < bounds[:, 3])):
        top, bottom, left, right = bounds[i]
        area, z = np.s_[top:bottom, left:right], depth[top:bottom, left:right]
        r2 = sum((float(b[i, k]) + z * _linear(A[i, k], x[left:right], y[top:bottom, None])) ** 2 for k in range(3))
        shade[area] *= 1 - scene.shadows[i].strength * np.clip(1.2 - 1.2 * r2, 0, 1)  # sky: r2 is infinite or nan
    return shade


def _shade(scene, A, b, T_world_cam, T_world_object, depth, ids, shade, x, y, pixel):
    """Colour (rows columns 3, unclipped) and world normal of every node, band by band."""
    R = T_world_object[:, :3, :3]
    moving = {"A": A.reshape(-1, 9).T, "b": b.T, "R": R.reshape(-1, 9).T}
    for n, light in enumerate(scene.lights):
        towards = np.asarray(light.vector) - T_world_object[:, :3, 3] if light.lamp else np.asarray(light.vector)[None]
        moving[f"light{n}"] = np.einsum(
            "nji,nj->in", R, np.broadcast_to(towards, (len(R), 3))
        )  # in the objects' frames
    moving = {k: np.ascontiguousarray(v, np.float32) for k, v in moving.items()}
    colour, normal = np.zeros((*depth.shape, 3), np.float32), np.zeros((*depth.shape, 3), np.float32)
    R_world_cam, rows = T_world_cam[:3, :3].astype(np.float32), max(1, _BAND // len(x))
    for top in range(0, len(y), rows):
        band = np.s_[top : top + rows]
        grid_x, grid_y = (g.ravel() for g in np.broadcast_arrays(x[None], y[band, None]))
        flat, z = ids[band].ravel(), depth[band].ravel()
        out, out_normal = np.empty((3, len(flat)), np.float32), np.zeros((3, len(flat)), np.float32)
        sky = np.flatnonzero(flat < 0)
        out[:, sky] = _sky(
            scene.sky,
            [R_world_cam[k, 0] * grid_x[sky] + R_world_cam[k, 1] * grid_y[sky] + R_world_cam[k, 2] for k in range(3)],
        )
        for code in range(len(SHAPES)):
            node = np.flatnonzero((flat >= 0) & (scene.table["shape"][flat] == code))
            if len(node):
                rgb, n_world = _surface(
                    scene,
                    moving,
                    SHAPES[code],
                    flat[node],
                    grid_x[node],
                    grid_y[node],
                    z[node],
                    shade[band].ravel()[node],
                    pixel,
                )
                out[:, node], out_normal[:, node] = rgb, n_world
        if np.isfinite(scene.sky.haze):
            distance = z * np.sqrt(grid_x**2 + grid_y**2 + 1)
            clear = np.where(flat >= 0, np.exp(distance / -scene.sky.haze), 1)
            out = np.asarray(scene.sky.horizon, np.float32)[:, None] * (1 - clear) + out * clear
        colour[band], normal[band] = (a.T.reshape(-1, len(x), 3) for a in (out, out_normal))
    return colour, normal


def _surface(scene, moving, shape, i, x, y, z, shade, pixel):
    """Colour (3 n) and world normal (3 n) of nodes on primitives `i` of one shape, at depth z along rays (x, y, 1)."""
    table = scene.table
    A, size = moving["A"][:, i], table["size"][:, i]
    ray = [A[3 * k] * x + A[3 * k + 1] * y + A[3 * k + 2] for k in range(3)]  # unit frame
    q = [b + z * d for b, d in zip(moving["b"][:, i], ray, strict=False)]
    ray = [d * s for d, s in zip(ray, size, strict=False)]  # metres, object axes
    point = [a * s for a, s in zip(q, size, strict=False)]
    n, face = _unit_normal(shape, q, table["taper_mean"][:, i], table["taper_slope"][:, i])
    n = [a / s for a, s in zip(n, size, strict=False)]
    length = 1 / np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2)
    n = [a * length for a in n]

    (u, v), (du, dv), (extent_u, extent_v) = _surface_coordinates(shape, q, point, ray, size, face)
    facing = np.minimum(n[0] * ray[0] + n[1] * ray[1] + n[2] * ray[2], -1e-3)
    stretch = 1 / (facing * facing)  # a pixel's disc on the tilted surface, along u and v
    width = z * pixel
    width_u, width_v = width * np.sqrt(1 + du * du * stretch), width * np.sqrt(1 + dv * dv * stretch)
    albedo = _albedo(scene, i, u, v, width_u, width_v, extent_u, extent_v, face)

    R = moving["R"][:, i]
    n_world = np.stack([R[3 * k] * n[0] + R[3 * k + 1] * n[1] + R[3 * k + 2] * n[2] for k in range(3)])
    sky, ground = (np.asarray(c, np.float32)[:, None] for c in scene.ambient)
    light = ground + (0.5 - 0.5 * n_world[1]) * (sky - ground)  # y points down
    for number, lamp in enumerate(scene.lights):
        L = moving[f"light{number}"][:, i]
        strength = 1.0
        if lamp.lamp:
            L = L - np.stack(point)
            distance2 = L[0] ** 2 + L[1] ** 2 + L[2] ** 2
            strength = 1 / (np.sqrt(distance2) * (1 + distance2 / lamp.reach**2))
        lambert = np.maximum(n[0] * L[0] + n[1] * L[1] + n[2] * L[2], 0) * strength
        light = light + lambert * np.asarray(lamp.color, np.float32)[:, None]
    return albedo * np.maximum(light * shade, table["emission"][i]), n_world


def _unit_normal(shape, q, mean, slope):
    """Outward normal (up to length) in the unit frame, and the face: the axis it crosses (0, 1, 2), or 1 for caps."""
    if shape == "ellipsoid":
        return q, np.zeros(len(q[0]), np.int8)
    one = np.float32(1)
    if shape == "cylinder":
        radius = np.sqrt(q[0] ** 2 + q[2] ** 2)
        edge = mean[0] + slope[0] * q[1]
        cap = np.abs(q[1]) - 1 > radius - edge
        return [
            np.where(cap, 0, q[0]),
            np.where(cap, np.copysign(one, q[1]), -slope[0] * edge),
            np.where(cap, 0, q[2]),
        ], cap.astype(np.int8)
    outside = [np.abs(q[0]) - mean[0] - slope[0] * q[1], np.abs(q[1]) - 1, np.abs(q[2]) - mean[1] - slope[1] * q[1]]
    on_x = (outside[0] >= outside[1]) & (outside[0] >= outside[2])
    on_z = ~on_x & (outside[2] >= outside[1])
    on_y = ~(on_x | on_z)
    normal = [
        np.where(on_x, np.copysign(one, q[0]), 0),
        np.where(on_y, np.copysign(one, q[1]), np.where(on_x, -slope[0], -slope[1])),
        np.where(on_z, np.copysign(one, q[2]), 0),
    ]
    return normal, on_y.astype(np.int8) + 2 * on_z.astype(np.int8)


def _surface_coordinates(shape, q, point, ray, size, face):
    """Metres (u, v) along the surface from its centre, the ray's components along them, and the surface's extents."""
    if shape == "box":
        u, du, eu = (np.where(face == 0, a[2], a[0]) for a in (point, ray, size))
        v, dv, ev = (np.where(face == 1, a[2], a[1]) for a in (point, ray, size))
        return (u, v), (du, dv), (2 * eu, 2 * ev)
    radius = np.maximum(size[0], size[2])
    u = np.arctan2(q[2], q[0]) * radius
    cap = face == 1
    return (
        (np.where(cap, point[0], u), np.where(cap, point[2], point[1])),
        (ray[0] * 0, ray[1]),
        (2 * np.pi * radius, 2 * size[1]),
    )


def _albedo(scene, i, u, v, width_u, width_v, extent_u, extent_v, face):
    """Colour of the materials (3 n) at surface coordinates, filtered by the widths of a pixel."""
    table = scene.table
    cell, gap = table["cell"][:, i], table["gap"][:, i]
    pitch_u = extent_u / np.maximum(np.rint(extent_u / cell[0]), 1)
    pitch_v = extent_v / np.maximum(np.rint(extent_v / cell[1]), 1)
    cu, cv = (u + extent_u / 2) / pitch_u - 0.5, (v + extent_v / 2) / pitch_v - 0.5  # cell centres are integers
    iv = np.rint(cv)
    cu = cu + table["offset"][i] * (iv.astype(np.int32) & 1)
    iu = np.rint(cu)
    inside = texture.pulse(cu, width_u / pitch_u, 1 - gap[0]) * texture.pulse(cv, width_v / pitch_v, 1 - gap[1])
    inside[table["sides_only"][i] & (face == 1)] = 0
    tint = texture.tints(texture.cell_random(iu, iv, i))
    checker = table["checker"][i]
    mix = np.where(checker, (iu + iv).astype(np.int32) & 1, 0.5 + 0.5 * tint[0])
    blur = np.clip(
        1.5 * np.maximum(width_u / pitch_u, width_v / pitch_v) - 0.5, 0, 1
    )  # cells smaller than a pixel: their mean
    mix = mix + blur * (0.5 - mix)
    color, gap_color = table["color"][:, i], table["gap_color"][:, i]
    color = color + mix * (table["color_b"][:, i] - color) + (table["hue"][i] * (1 - blur)) * tint
    color = gap_color + inside * (color - gap_color)
    for k in scene.painted:
        own = np.flatnonzero(i == k)
        if len(own):
            color[:, own] = scene.primitives[k].material.paint(u[own], v[own], width_u[own], width_v[own])
    scale, seed = 1 / table["noise_scale"][i], table["seed"][:, i]
    noise = texture.fractal_noise(u * scale + seed[0], v * scale + seed[1], np.maximum(width_u, width_v) * scale)
    return color * (1 + table["noise"][i] * noise)


def _sky(sky, direction):
    """Colour of the sky (3 n) in world directions: a gradient, and clouds on a high plane."""
    up = np.maximum(-direction[1], 0.02) / np.sqrt(sum(d * d for d in direction))
    zenith, horizon = (np.asarray(c, np.float32)[:, None] for c in (sky.zenith, sky.horizon))
    colour = horizon + np.sqrt(up) * (zenith - horizon)
    if sky.clouds:
        u, v = direction[0] / np.maximum(-direction[1], 0.05), direction[2] / np.maximum(-direction[1], 0.05)
        cloud = np.clip(
            texture.fractal_noise(u * 0.6 + 3, v * 0.6 + 9, 0.02 / up) + sky.clouds - 0.5, 0, 1
        ) * np.minimum(4 * up, 1)
        colour = colour + cloud * (0.95 - colour)
    return colour


def _flow(scene, K, T_world_cam, T_world_object, T_world_cam_next, time, depth, ids, x, y):
    """Pixels from now to the next frame, of each pixel centre's point carried along by its object.

    The sky only turns.
    """
    T_next_world = np.linalg.inv(T_world_cam_next)
    motion = scene.poses(time + 1) @ np.linalg.inv(T_world_object)  # of the objects, in the world
    motion = np.concatenate([motion, np.eye(4)[None]])  # the last one, -1: the sky
    T = (T_next_world @ motion @ T_world_cam)[:, :3].reshape(-1, 12).T.astype(np.float32)
    T[3::4, -1] = 0
    T, z = T[:, ids], np.where(ids >= 0, depth, 1)
    moved = [(T[4 * k] * x + T[4 * k + 1] * y[:, None] + T[4 * k + 2]) * z + T[4 * k + 3] for k in range(3)]
    flow = np.stack([K[0, 0] * (moved[0] / moved[2] - x), K[1, 1] * (moved[1] / moved[2] - y[:, None])], -1).astype(
        np.float32
    )
    flow[moved[2] < NEAR] = np.inf
    return flow


def _tent(colour) -> UInt8[np.ndarray, "h w 3"]:
    rows = colour[:-2:2] + 2 * colour[1::2] + colour[2::2]
    tent = rows[:, :-2:2] + 2 * rows[:, 1::2] + rows[:, 2::2]
    return (np.clip(tent * (255 / 16), 0, 255) + 0.5).astype(np.uint8)
