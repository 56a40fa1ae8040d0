"""Rotations and poses: against the matrix exponential, at standstill, and in composition."""

import math

import pytest
import torch

from ssmde_lib.geometry.motion import compose, exp_so3, inverse, rigid, skew


def vectors(scale: float) -> torch.Tensor:
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1e-3, 6e-3, 1e-2, 1.0, 3.0])
def test_exp_is_the_matrix_exponential_at_every_angle(scale):
    torch.testing.assert_close(
        exp_so3(vectors(scale)), torch.linalg.matrix_exp(skew(vectors(scale))), atol=1e-12, rtol=0
    )


def test_exp_against_kornia():
    kornia = pytest.importorskip("kornia")
    torch.testing.assert_close(exp_so3(vectors(1.0)), kornia.geometry.axis_angle_to_rotation_matrix(vectors(1.0)))


def test_a_quarter_turn_about_y_moves_forward_to_right():
    R = exp_so3(torch.tensor([[0.0, math.pi / 2, 0.0]]))[0]
    torch.testing.assert_close(R @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_gradient_at_zero_rotation_is_the_generators():
    jacobian = torch.autograd.functional.jacobian(lambda w: exp_so3(w)[0], torch.zeros(1, 3))[:, :, 0]  # 3 3 3
    torch.testing.assert_close(jacobian.movedim(-1, 0), skew(torch.eye(3)))


@pytest.mark.parametrize("scale", [0.0, 5e-3, 2e-2, 1.0])
def test_gradients_numerically(scale):
    motion = torch.cat([vectors(scale)[:2], vectors(1.0)[:2]], 1).requires_grad_()
    assert torch.autograd.gradcheck(rigid, motion)


def test_inverse_and_composition():
    T = rigid(torch.cat([vectors(1.0), vectors(2.0)], 1))
    eye = torch.eye(4, dtype=torch.float64).expand_as(T)
    torch.testing.assert_close(compose(inverse(T), T), eye)
    torch.testing.assert_close(inverse(T), torch.linalg.inv(T))
    torch.testing.assert_close(compose(T, T.flip(0), T), T @ T.flip(0) @ T)
