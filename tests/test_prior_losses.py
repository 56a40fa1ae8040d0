"""LeReS's losses against literal references, and what they must ignore: scale, and how far beyond the bound the sky is put."""

import math

import pytest
import torch

from ssmde_lib.prior.losses import SKY, image_level_regression, leres_loss, multi_scale_gradient, surface_normals


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 6, 10, generator=generator)
    depth = 2 + 8 * torch.nn.functional.interpolate(coarse, (24, 40), mode="bilinear")
    depth[:, :, :4] = math.inf
    images = torch.rand(2, 3, 24, 40, generator=generator)
    K = torch.tensor([[30.0, 0, 20], [0, 25, 12], [0, 0, 1]]).expand(2, 3, 3)
    return depth, images, K


def evaluate(log_depth, scene):
    depth, images, K = scene
    torch.manual_seed(1)
    return leres_loss(log_depth, depth, images, K)


def test_truth_at_any_scale_and_any_farther_sky_is_perfect(scene):
    truth = scene[0].clamp(max=SKY).log()
    for log_depth in (truth, truth + 3, torch.where(scene[0].isfinite(), truth, truth + 5) - 2):
        for name, value in evaluate(log_depth, scene).items():
            assert float(value) < 2e-3, name


def test_each_loss_sees_its_fault(scene):
    truth = scene[0].clamp(max=SKY).log()
    known = scene[0].isfinite()
    near_sky = torch.where(known, truth, truth - 3)
    assert evaluate(near_sky, scene)["level"] > 0.1, "a sky in front of things must cost"
    stretched = evaluate(torch.where(known, 1.5 * truth, truth + 3), scene)
    assert min(stretched["level"], stretched["gradient"], stretched["normal"]) > 0.02
    shifted = evaluate((scene[0] + 5).clamp(max=SKY).log(), scene)
    assert shifted["level"] > 0.1, "a shift of depth is not free: depth is predicted up to scale alone"


def test_level_and_gradient_equal_literal_loops():
    generator = torch.Generator().manual_seed(3)
    residual, truth = torch.randn(1, 1, 8, 8, generator=generator), torch.rand(1, 1, 8, 8, generator=generator)
    known = torch.rand(1, 1, 8, 8, generator=generator) < 0.8
    r, t, k = residual[0, 0].tolist(), truth[0, 0].tolist(), known[0, 0].tolist()
    pixels = [(y, x) for y in range(8) for x in range(8)]
    unit = sum(math.exp(-t[y][x]) for y, x in pixels if k[y][x]) / sum(k[y][x] for y, x in pixels)
    level = sum(
        k[y][x] * abs(math.exp(-t[y][x]) - math.exp(-t[y][x] - max(r[y][x], -3))) / unit / 2 + abs(r[y][x]) for y, x in pixels
    ) / 64
    assert float(image_level_regression(residual, truth, known)) == pytest.approx(level, rel=1e-5)

    gradient = 0.0
    for step in (1, 2, 4, 8):
        nodes = range(0, 8, step)
        across = [abs(r[y][x + step] - r[y][x]) * (k[y][x] and k[y][x + step]) for y in nodes for x in nodes if x + step < 8]
        down = [abs(r[y + step][x] - r[y][x]) * (k[y][x] and k[y + step][x]) for y in nodes for x in nodes if y + step < 8]
        if across:
            gradient += sum(across) / len(across) + sum(down) / len(down)
    assert float(multi_scale_gradient(residual, known, scales=3)) == pytest.approx(gradient / 3, rel=1e-5)


def test_normals_of_a_plane():
    """The plane n·p = -d seen through a camera with unequal focal lengths has the normal n everywhere."""
    K = torch.tensor([[[40.0, 0, 15], [0, 25, 9], [0, 0, 1]]])
    n = torch.nn.functional.normalize(torch.tensor([0.2, -0.7, -0.6]), dim=0)
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(32.0), indexing="ij")
    rays = torch.stack([(x - 15) / 40, (y - 9) / 25, torch.ones_like(x)])
    depth = (-3 / (n.view(3, 1, 1) * rays).sum(0))[None, None]
    assert (depth > 0).all()
    cosine = (surface_normals(depth.log(), K)[0] * n.view(3, 1, 1)).sum(0)
    torch.testing.assert_close(cosine.abs(), torch.ones_like(cosine), rtol=0, atol=1e-4)


def test_gradients_are_finite_at_the_extremes(scene):
    for value in (0.0, 40.0, -40.0):
        log_depth = torch.full_like(scene[0], value).requires_grad_()
        evaluate(log_depth + torch.linspace(-20, 20, 40), scene)["loss"].backward()
        assert torch.isfinite(log_depth.grad).all()
    depth, images, K = scene
    for constant in (math.inf, 3.0):
        log_depth = torch.zeros_like(depth).requires_grad_()
        leres_loss(log_depth, torch.full_like(depth, constant), torch.zeros_like(images), K)["loss"].backward()
        assert torch.isfinite(log_depth.grad).all()
