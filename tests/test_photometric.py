"""SSIM, photometric error and smoothness: literal references, an oracle, and the written-out gradient."""

import numpy as np
import pytest
import torch
from reference import losses as literal

from ssmde_lib.losses.photometric import (
    dissimilarity,
    photometric_error,
    smoothness,
    window_mean,
    window_mean_adjoint,
    window_statistics,
)


def images(height=9, width=11, dtype=torch.float64):
    return torch.rand(2, 2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_dissimilarity_against_the_literal_reference():
    x, y = images()
    np.testing.assert_allclose(
        dissimilarity(x, y)[0].numpy(), literal.dissimilarity(x[0].numpy(), y[0].numpy()), atol=1e-12
    )
    torch.testing.assert_close(dissimilarity(x, y, window_statistics(y)), dissimilarity(x, y), atol=0, rtol=0)


def test_dissimilarity_against_torchmetrics():
    metrics = pytest.importorskip("torchmetrics.functional.image")
    x, y = images(32, 40)
    ssim = metrics.structural_similarity_index_measure(
        x, y, gaussian_kernel=False, kernel_size=3, data_range=1.0, reduction="none"
    )
    torch.testing.assert_close(1 - 2 * dissimilarity(x, y).mean((1, 2, 3)), ssim)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.85, 1.0])
def test_photometric_error_and_its_written_out_gradient(alpha):
    x, y = images()
    x.requires_grad_()
    error = photometric_error(x, y, alpha)
    np.testing.assert_allclose(
        error[1, 0].detach().numpy(), literal.photometric_error(x[1].detach().numpy(), y[1].numpy(), alpha), atol=1e-12
    )
    automatic = photometric_error(x, y.clone().requires_grad_(), alpha)
    grad = torch.linspace(-1, 1, error.numel(), dtype=torch.float64).view_as(error)
    (got,), (want,) = torch.autograd.grad(error, x, grad), torch.autograd.grad(automatic, x, grad)
    torch.testing.assert_close(error, automatic)
    torch.testing.assert_close(got, want)


def test_gradient_numerically():
    x, y = images(4, 5)
    assert torch.autograd.gradcheck(lambda x: photometric_error(x, y), x.requires_grad_())


def test_adjoint_of_the_window_mean():
    x, y = images()
    torch.testing.assert_close((window_mean(x) * y).sum(), (x * window_mean_adjoint(y)).sum())


def test_identical_images_have_no_error_and_errors_lie_in_0_1():
    x, y = images(dtype=torch.float32)
    assert photometric_error(x, x).max() < 1e-6
    assert photometric_error(torch.zeros_like(x), torch.ones_like(x)).max() <= 1
    torch.testing.assert_close(photometric_error(x, y), photometric_error(y, x))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_have_finite_gradients(value):
    x = torch.full((1, 3, 8, 8), value).requires_grad_()
    photometric_error(x, torch.full((1, 3, 8, 8), 0.25)).sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0


def test_smoothness_against_the_literal_reference():
    image, other = images()
    disparity = other[:, :1]
    want = np.mean([literal.smoothness(d[0].numpy(), i.numpy()) for d, i in zip(disparity, image, strict=True)])
    assert smoothness(disparity, image).item() == pytest.approx(want, rel=1e-12)
    assert smoothness(3 * disparity, image).item() == pytest.approx(want, rel=1e-5)  # blind to scale


def test_smoothness_of_a_constant_disparity_is_zero_with_finite_gradient():
    disparity = torch.full((1, 1, 8, 8), 1e-4).requires_grad_()
    loss = smoothness(disparity, torch.zeros(1, 3, 8, 8))
    loss.backward()
    assert loss.item() == 0 and disparity.grad.isfinite().all()
