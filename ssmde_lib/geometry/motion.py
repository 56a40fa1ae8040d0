"""Rigid motion: rotations and poses from their parameters, inverse and composition.

`T_src_tgt` maps points of the target camera's frame to the source camera's; compose by cancelling inner names:
`T_a_c = compose(T_a_b, T_b_c)`.
"""

from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor


def skew(v: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """The matrix of the cross product: skew(v) u = v x u."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def exp_so3(axis_angle: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Rotation about an axis by its length in radians: Rodrigues' I + sin(a)/a S + (1 - cos(a))/a² S².

    Near zero the two factors come from their Taylor series, so that the gradient there is the true one (skew's),
    neither zero nor NaN: training starts at standstill.
    """
    squared = axis_angle.square().sum(-1)[..., None, None]
    small = squared < 1e-4
    angle = squared.where(~small, torch.ones_like(squared)).sqrt()  # the unused branch stays differentiable
    first = torch.where(small, 1 - squared / 6 + squared**2 / 120, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24 + squared**2 / 720, 2 * (angle / 2).sin().square() / angle.square())
    S = skew(axis_angle)
    return torch.eye(3, device=S.device, dtype=S.dtype) + first * S + second * (S @ S)


def rigid(motion: Float[Tensor, "b 6"]) -> Float[Tensor, "b 4 4"]:
    """The pose with rotation exp_so3(motion[:, :3]) and translation motion[:, 3:]."""
    return assemble(exp_so3(motion[:, :3]), motion[:, 3:])


def assemble(rotation: Float[Tensor, "b 3 3"], translation: Float[Tensor, "b 3"]) -> Float[Tensor, "b 4 4"]:
    """The 4x4 matrix of a rotation and a translation."""
    last = torch.eye(4, device=rotation.device, dtype=rotation.dtype)[3].expand(len(rotation), 1, 4)
    return torch.cat([torch.cat([rotation, translation[..., None]], -1), last], -2)


def inverse(T: Float[Tensor, "b 4 4"]) -> Float[Tensor, "b 4 4"]:
    """T_tgt_src of T_src_tgt by algebra (R^T, -R^T t): no second pass of a pose network."""
    R_inv = T[:, :3, :3].mT
    return assemble(R_inv, -(R_inv @ T[:, :3, 3:])[..., 0])


def compose(*Ts: Float[Tensor, "b 4 4"]) -> Float[Tensor, "b 4 4"]:
    """T_a_z = T_a_b T_b_c ... T_y_z."""
    return reduce(torch.matmul, Ts)
