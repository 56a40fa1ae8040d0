"""LeReS's losses against literal references, and their invariances: scale, and how far beyond its bound the sky is."""

import math

import pytest
import torch

from ssmde_lib.prior.losses import SKY, foreground_mask, image_level_regression, leres_loss, multi_scale_gradient


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
    residual, truth, weight = (draw(1, 1, 8, 8, generator=generator) for draw in (torch.randn, torch.rand, torch.rand))
    known = torch.rand(1, 1, 8, 8, generator=generator) < 0.8
    r, t, k, w = (x[0, 0].tolist() for x in (residual, truth, known, weight))
    pixels = [(y, x) for y in range(8) for x in range(8)]
    unit = sum(math.exp(-t[y][x]) for y, x in pixels if k[y][x]) / sum(k[y][x] for y, x in pixels)
    level = sum(
        w[y][x] * (k[y][x] * abs(math.exp(-t[y][x]) - math.exp(-t[y][x] - max(r[y][x], -3))) / unit / 2 + abs(r[y][x]))
        for y, x in pixels
    ) / sum(map(sum, w))
    assert float(image_level_regression(residual, truth, known, weight)) == pytest.approx(level, rel=1e-5)

    gradient = 0.0
    for step in (1, 2, 4, 8):
        nodes = range(0, 8, step)
        across = [
            abs(r[y][x + step] - r[y][x]) * (k[y][x] and k[y][x + step]) for y in nodes for x in nodes if x + step < 8
        ]
        down = [
            abs(r[y + step][x] - r[y][x]) * (k[y][x] and k[y + step][x]) for y in nodes for x in nodes if y + step < 8
        ]
        if across:
            gradient += sum(across) / len(across) + sum(down) / len(down)
    assert float(multi_scale_gradient(residual, known, scales=3)) == pytest.approx(gradient / 3, rel=1e-5)


def test_standing_out_is_what_is_nearer_than_both_its_sides():
    truth = torch.full((1, 1, 6, 200), 3.0)
    truth[:, :, 0, 50:70] = truth[:, :, 1, 50:120] = truth[:, :, 2, :70] = (
        2.0  # a thing, a wall too wide, a wall on one side
    )
    truth[:, :, 3, 50:70] = 2.9  # hardly nearer
    truth[:, :, 4, 50:70] = 4.0  # a hole
    expected = torch.zeros_like(truth)
    expected[:, :, 0, 50:70] = 1
    assert torch.equal(foreground_mask(truth), expected)


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
