"""View synthesis: exact where it must be, equal to a literal loop and to kornia, finite at the extremes."""

import numpy as np
import pytest
import torch
from reference import losses as literal

from ssmde_lib.geometry.camera import backproject, project
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.geometry.warp import depth_difference, reproject, synthesize

K = torch.tensor([[[30.0, 0, 9.7], [0, 28, 5.2], [0, 0, 1]]])
STILL = torch.eye(4)[None]
MOTION = rigid(torch.tensor([[0.02, -0.03, 0.05, 0.1, -0.05, 0.3]]))


def scene(height=12, width=20, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, channels, height, width, generator=generator), torch.rand(
        1, 1, height, width, generator=generator
    ) * 4 + 1


@pytest.mark.parametrize("size", [(12, 20), (64, 192), (192, 640)])
def test_identity_warp_is_exact_up_to_the_borders(size):
    image, depth = scene(*size)
    camera = torch.tensor([[[0.58 * size[1], 0, size[1] / 2], [0, 1.92 * size[0], size[0] / 2], [0, 0, 1]]])
    warp = synthesize(image, 50 * depth, camera, STILL)
    assert warp.valid.all()
    torch.testing.assert_close(
        warp.image, image, atol=2e-4, rtol=0
    )  # rounding of the coordinates: half a pixel would give 0.5
    torch.testing.assert_close(warp.depth, 50 * depth)


def test_moving_a_plane_by_whole_pixels_shifts_the_image():
    image, _ = scene()
    depth = torch.full((1, 1, 12, 20), 3.0)
    T = rigid(torch.tensor([[0, 0, 0, 2 * 3.0 / 30, 0, 0]]))  # a translation of two pixels at this depth
    warp = synthesize(image, depth, K, T)
    torch.testing.assert_close(warp.image[..., :-2], image[..., 2:], atol=1e-4, rtol=0)
    assert warp.valid[..., :-2].all() and not warp.valid[..., -2:].any()


def test_reproject_is_backproject_move_project():
    _, depth = scene()
    pixels, z, _ = reproject(depth, K, MOTION)
    points = MOTION[:, :3, :3] @ backproject(depth, K).flatten(2) + MOTION[:, :3, 3:]
    expected, expected_z = project(points.unflatten(2, (12, 20)), K)
    torch.testing.assert_close(pixels, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(z, expected_z)


def test_against_the_literal_reference():
    image, depth = (x.double() for x in scene())
    warp = synthesize(image, depth, K.double(), MOTION.double())
    expected = literal.synthesize(
        image[0].numpy(), depth[0, 0].numpy(), K[0].double().numpy(), MOTION[0].double().numpy()
    )
    assert 0 < warp.valid.float().mean() < 1
    for got, want in zip((warp.image[0], warp.valid[0, 0], warp.depth[0, 0], warp.pixels[0]), expected, strict=True):
        np.testing.assert_allclose(got.numpy(), want, atol=1e-10)


def test_against_kornia():
    kornia = pytest.importorskip("kornia")
    image, depth = scene()
    warp = synthesize(image, depth, K, MOTION)
    expected = kornia.geometry.depth.warp_frame_depth(image, depth, MOTION, K)
    x, y = warp.pixels.split(1, 1)
    inside = (x > 0) & (x < 19) & (y > 0) & (y < 11)
    assert inside.float().mean() > 0.3
    torch.testing.assert_close(
        warp.image[inside.expand_as(image)], expected[inside.expand_as(image)], atol=1e-4, rtol=1e-4
    )


def test_points_behind_the_source_are_invalid_and_finite():
    image, depth = scene()
    depth.requires_grad_()
    warp = synthesize(image, depth, K, rigid(torch.tensor([[0, 0, 0, 0, 0, -100.0]])))
    assert not warp.valid.any() and warp.image.isfinite().all() and warp.pixels.isfinite().all()
    warp.image.sum().backward()
    assert depth.grad.isfinite().all()


def test_depth_difference_is_zero_for_one_scene_and_bounded_for_a_gap_of_100():
    _, depth = scene()
    difference, valid = depth_difference(depth, depth, K, STILL)
    assert valid.all() and difference.max() < 1e-3
    far = torch.full_like(depth, 100.0).requires_grad_()
    difference, _ = depth_difference(far, torch.full_like(depth, 0.1), K, STILL)
    torch.testing.assert_close(difference, torch.full_like(depth, 99.9 / 100.1))
    difference.sum().backward()
    assert far.grad.isfinite().all() and (far.grad != 0).all()


def test_depth_difference_follows_the_motion():
    wall = torch.full((1, 1, 12, 20), 5.0)
    T = rigid(torch.tensor([[0, 0, 0, 0, 0, -1.0]]))  # one metre towards the wall
    assert depth_difference(wall, wall - 1, K, T)[0].max() < 1e-6
    torch.testing.assert_close(depth_difference(wall, wall, K, T)[0], torch.full_like(wall, 1 / 9))
