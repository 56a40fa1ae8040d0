"""The ray caster against closed forms, and its outputs against each other."""

import numpy as np
import pytest

from ssmde_lib.synthetic import Material, Primitive, Scene, place, render

K = np.array([[60.0, 0, 47.3], [0, 62.0, 31.8], [0, 0, 1]])
H, W = 64, 96
X, Y = np.meshgrid((np.arange(W) - K[0, 2]) / K[0, 0], (np.arange(H) - K[1, 2]) / K[1, 1])
RAYS = np.stack([X, Y, np.ones_like(X)], -1)


def depth_of(shape, size, pose, camera=None, **options):
    camera = np.eye(4) if camera is None else camera
    return render(Scene([Primitive(shape, size, pose, **options)]), K, camera, H, W).depth


def march(inside, far=12.0):
    """Oracle: the first of many fine steps along each ray that is inside a solid, infinite where none is."""
    z = np.arange(0.06, far, 0.004)
    hit = np.stack([inside(RAYS * step) for step in z])
    return np.where(hit.any(0), z[hit.argmax(0)], np.inf)


def test_plane_closed_form():
    camera = place(y=-1.5, pitch=-0.05)
    depth = depth_of("box", (500, 1, 500), place(y=1), camera)
    expected = 1.5 / (RAYS @ camera[1, :3])
    expected[(expected < 0) | (expected > 400)] = np.inf
    near = np.isfinite(expected)
    assert near.mean() > 0.4
    np.testing.assert_allclose(depth[near], expected[near], rtol=2e-5)


def test_sphere_closed_form():
    centre, radius = np.array([0.4, -0.2, 6.0]), 1.3
    a, b = (RAYS**2).sum(-1), RAYS @ centre
    disc = b**2 - a * (centre @ centre - radius**2)
    expected = np.where(disc > 0, (b - np.sqrt(np.maximum(disc, 0))) / a, np.inf)
    np.testing.assert_allclose(depth_of("ellipsoid", (radius,) * 3, place(*centre)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "shape, taper",
    [
        ("box", (1, 1)),
        ("box", (0.4, 0.7)),
        ("box", (0, 1)),
        ("cylinder", (1, 1)),
        ("cylinder", (0.3, 0.3)),
        ("ellipsoid", (1, 1)),
    ],
)
@pytest.mark.parametrize("angles", [(0.3, 0.5, -0.2), (-1.2, -0.4, 0.9), (0.0, 1.5, 0.1)])
def test_solids_against_marching(shape, taper, angles):
    size, pose = np.array([1.0, 1.4, 0.8]), place(0.2, 0.1, 5.0, *angles)
    to_unit = np.linalg.inv(pose @ np.diag([*size, 1]))

    def inside(points):
        q = points @ to_unit[:3, :3].T + to_unit[:3, 3]
        wide = [(1 + t) / 2 + (1 - t) / 2 * q[..., 1] for t in taper]
        if shape == "ellipsoid":
            return (q**2).sum(-1) <= 1
        within = np.abs(q[..., 1]) <= 1
        if shape == "box":
            return within & (np.abs(q[..., 0]) <= wide[0]) & (np.abs(q[..., 2]) <= wide[1])
        return within & (q[..., 0] ** 2 + q[..., 2] ** 2 <= wide[0] ** 2)

    depth, expected = depth_of(shape, tuple(size), pose, taper=taper), march(inside)
    both = np.isfinite(depth) & np.isfinite(expected)
    assert both.sum() > 200
    assert (np.isfinite(depth) != np.isfinite(expected)).sum() <= 25  # the march misses grazing rays
    error = np.abs(depth[both] - expected[both])
    assert np.quantile(error, 0.95) < 0.006 and np.median(error) < 0.004


def test_thin_far_things_are_exact():
    pole = depth_of("cylinder", (0.05, 3, 0.05), place(70 * X[0, 47], 0, 70.0))  # on the centres of column 47
    rows, columns = np.nonzero(np.isfinite(pole))
    assert set(columns) == {47} and len(rows) == 5
    np.testing.assert_allclose(pole[rows, columns], 69.95, atol=2e-3)


def test_masks_count_movers_and_keep_instances():
    ground = Primitive("box", (50, 1, 50), place(y=2.5))
    boxes = [
        Primitive("box", (0.5, 0.5, 0.5), place(x=x, z=6), instance=n, mover=n in (7, 9))
        for n, x in ((5, -3), (7, 0), (9, 3))
    ]
    frame = render(Scene([ground, *boxes]), K, np.eye(4), H, W)
    assert set(np.unique(frame.instance)) == {0, 5, 7, 9}
    for instance, mover in ((0, 0), (5, 0), (7, 1), (9, 2)):
        assert (frame.dynamic_mask[frame.instance == instance] == mover).all()
    expected = (np.abs(X * 5.5) <= 0.5) & (np.abs(Y * 5.5) <= 0.5)
    np.testing.assert_array_equal(frame.instance == 7, expected)


def test_flow_of_a_mover_and_of_the_sky():
    ball = Primitive("ellipsoid", (1, 1, 1), lambda t: place(x=0.5 * t, z=5), instance=1, mover=True)
    frame = render(Scene([ball]), K, np.eye(4), H, W, 0, place(yaw=0.1))
    turn = RAYS @ place(yaw=0.1)[:3, :3]
    sky = np.stack([K[0, 0] * (turn[..., 0] / turn[..., 2] - X), K[1, 1] * (turn[..., 1] / turn[..., 2] - Y)], -1)
    np.testing.assert_allclose(frame.flow[frame.instance == 0], sky[frame.instance == 0], atol=1e-3)
    moved = (RAYS * np.where(frame.instance == 1, frame.depth, 1)[..., None] + [0.5, 0, 0]) @ place(yaw=0.1)[:3, :3]
    u = K[0, 0] * (moved[..., 0] / moved[..., 2] - X)
    np.testing.assert_allclose(frame.flow[..., 0][frame.instance == 1], u[frame.instance == 1], atol=1e-3)


def test_colour_is_antialiased_and_far_texture_fades():
    near, far = (
        render(
            Scene(
                [
                    Primitive(
                        "box",
                        (400, 400, 1),
                        place(z=z),
                        Material(color=(0, 0, 0), color_b=(1, 1, 1), checker=True, cell=(1, 1), noise=0),
                    )
                ]
            ),
            K,
            np.eye(4),
            H,
            W,
        ).rgb.astype(float)
        for z in (6, 200)
    )
    assert near.std() > 60 and far.std() < 4
    assert abs(near.mean() - far.mean()) < 10
