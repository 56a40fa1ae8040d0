"""The pinhole camera: closed forms, the pixel-centre convention, an independent oracle."""

import numpy as np
import pytest
import torch
from reference import losses as literal

from ssmde_lib.geometry.camera import backproject, crop_intrinsics, normals, pixel_grid, project, resize_intrinsics

K = torch.tensor([[[50.0, 0, 11.3], [0, 45, 7.8], [0, 0, 1]]], dtype=torch.float64)


def depth(height=16, width=24):
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5 + 1


def test_grid_starts_at_zero_and_counts_pixels():
    grid = pixel_grid(3, 5, device="cpu")
    assert grid[:, 0, 0].tolist() == [0, 0] and grid[:, 2, 4].tolist() == [4, 2] and grid[:, 1, 3].tolist() == [3, 1]


def test_project_inverts_backproject():
    pixels, z = project(backproject(depth(), K), K)
    torch.testing.assert_close(pixels[0], pixel_grid(16, 24, device="cpu", dtype=torch.float64))
    torch.testing.assert_close(z, depth())


def test_backproject_against_kornia():
    kornia = pytest.importorskip("kornia")
    expected = kornia.geometry.depth.depth_to_3d_v2(depth()[:, 0], K).movedim(-1, 1)
    torch.testing.assert_close(backproject(depth(), K), expected)


def test_points_behind_the_camera_project_to_finite_pixels():
    points = torch.tensor([0.5, 0.5, -1.0]).view(1, 3, 1, 1)
    pixels, z = project(points, K.float())
    assert pixels.isfinite().all() and z.item() == -1 and pixels[0, 0].item() > 24


@pytest.mark.parametrize("to_size", [(8, 12), (32, 48), (10, 36)])
def test_resizing_intrinsics_commutes_with_projection(to_size):
    sy, sx = to_size[0] / 16, to_size[1] / 24
    points = backproject(depth(), K)
    pixels, _ = project(points, K)
    resized, _ = project(points, resize_intrinsics(K, (16, 24), to_size))
    scale = torch.tensor([sx, sy], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(resized, (pixels + 0.5) * scale - 0.5)


def test_resizing_an_image_moves_pixels_as_resizing_intrinsics_says():
    ramp = pixel_grid(16, 24, device="cpu")[None]  # its values are its own pixel coordinates
    small = torch.nn.functional.interpolate(ramp, (8, 12), mode="area")
    x = resize_intrinsics(torch.eye(3), (16, 24), (8, 12)) @ torch.tensor([small[0, 0, 2, 3], small[0, 1, 2, 3], 1.0])
    assert x.tolist() == [3, 2, 1]


def test_cropping_intrinsics_commutes_with_projection():
    points = backproject(depth(), K)
    cropped, _ = project(points, crop_intrinsics(K, top=3, left=5))
    pixels, _ = project(points, K)
    torch.testing.assert_close(cropped, pixels - torch.tensor([5.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1))


def test_intrinsics_may_be_numpy_and_stay_so():
    array = K[0].numpy()
    for function, arguments in ((resize_intrinsics, ((16, 24), (8, 12))), (crop_intrinsics, (1, 2))):
        result = function(array, *arguments)
        assert isinstance(result, np.ndarray) and result.dtype == array.dtype
        np.testing.assert_allclose(result, function(K, *arguments)[0].numpy())
    assert array[0, 2] == 11.3  # the argument is left alone


def test_normals_of_a_plane_are_exact_everywhere_and_face_the_camera():
    normal = torch.tensor([0.3, -0.8, -0.5], dtype=torch.float64)
    normal = normal / normal.norm()
    rays = backproject(torch.ones(1, 1, 16, 24, dtype=torch.float64), K)
    plane = -4 / (rays * normal.view(1, 3, 1, 1)).sum(1, keepdim=True)
    assert (plane > 0).all()
    torch.testing.assert_close(normals(plane, K), normal.view(1, 3, 1, 1).expand(1, 3, 16, 24))
    torch.testing.assert_close(normals(7.5 * plane, K), normals(plane, K))


def test_normals_against_the_literal_reference():
    np.testing.assert_allclose(
        normals(depth(), K)[0].numpy(), literal.normals(depth()[0, 0].numpy(), K[0].numpy()), atol=1e-12
    )


@pytest.mark.parametrize("gap", [0.0, 100.0])
def test_normals_have_finite_gradients(gap):
    d = torch.full((1, 1, 8, 10), 0.1)
    d[..., 5:] += gap
    d.requires_grad_()
    normals(d, K.float())[:, 0].sum().backward()
    assert d.grad.isfinite().all() and d.grad.abs().sum() > 0
