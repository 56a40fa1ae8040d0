"""Direct pose refinement: Gauss-Newton steps on grey values, depth held fixed.

(Wang et al. 2018, "Learning Depth from Monocular Videos using Direct Methods"; derivatives as in direct visual
odometry, Kerl et al. 2013.) Nothing here has a gradient, and nothing waits for the device.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.geometry.camera import NEAR, backproject
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.geometry.warp import sample

DAMPING = 1e-4  # of Levenberg and Marquardt, relative to the diagonal of the normal equations
LARGEST_TURN = 0.2  # radians of one step
MARGIN = 1.0  # pixels at the source's border, where its slopes are not known
SMALLEST = 1e-12  # of a sum of squares


def refine_pose(
    image_tgt: Float[Tensor, "b c h w"],
    image_src: Float[Tensor, "b c h w"],
    depth_tgt: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
    *,
    iterations: int = 2,
    huber: float = 0.01,
    weight: Float[Tensor, "b 1 h w"] | None = None,
    stride: int = 1,
) -> Float[Tensor, "b 4 4"]:
    """T_src_tgt after a few Gauss-Newton steps that make the source, moved by `depth_tgt`, look like the target.

    A gain and a bias of brightness are estimated with the pose. The result is the pose with the smallest error among
    the given one and those after each step: the given one where no pixel is seen, where nothing determines the pose,
    and where the steps make the error larger.
    Computed in float32, whatever autocast says.

    Args:
        image_tgt: in [0, 1], as `image_src`.
        depth_tgt: in the unit of the translation; pixels without a positive, finite depth do not count.
        iterations: Gauss-Newton steps; 0 returns `T_src_tgt`.
        huber: grey value from which a residual counts linearly.
        weight: of each target pixel, at least 0; low where depth or rigidity is in doubt.
        stride: every so many rows and columns of the target count; 2 costs a third.
    """
    if not iterations:
        return T_src_tgt
    with torch.no_grad(), torch.autocast(image_tgt.device.type, enabled=False):
        grey_tgt, grey_src = (smooth(image.float().mean(1, keepdim=True)) for image in (image_tgt, image_src))
        source = torch.cat([grey_src, *slopes(grey_src)], 1)
        known = (depth_tgt > 0) & depth_tgt.isfinite()
        counted = known.float() if weight is None else weight * known
        points = backproject(depth_tgt.float().where(known, 1.0), K.float())
        grey, counted, points = (x[..., ::stride, ::stride].flatten(2) for x in (grey_tgt, counted.float(), points))
        problem = Problem(grey[:, 0], source, points, counted[:, 0], K.float(), huber)
        return best_pose(problem, T_src_tgt.float(), iterations).to(T_src_tgt.dtype)


class Problem(NamedTuple):
    """What does not change from step to step; `n` pixels of the target."""

    grey: Float[Tensor, "b n"]
    source: Float[Tensor, "b 3 h w"]  # the source's grey values and their slopes along x and y
    points: Float[Tensor, "b 3 n"]  # the pixels in the target camera's frame
    weight: Float[Tensor, "b n"]
    K: Float[Tensor, "b 3 3"]
    huber: float


class Residuals(NamedTuple):
    """What a pose leaves unexplained, and where its points lie."""

    moved: Float[Tensor, "b 3 n"]  # in the source camera's frame
    slopes: Float[Tensor, "b 2 n"]  # of the source's grey value there, along x and y
    difference: Float[Tensor, "b n"]  # source minus target
    valid: Bool[Tensor, "b n"]  # in front of the source camera and inside of its image


def best_pose(problem: Problem, T: Float[Tensor, "b 4 4"], iterations: int) -> Float[Tensor, "b 4 4"]:
    """The pose with the smallest error among the given one and those after each step."""
    best, smallest, typical = T, None, None
    for remaining in range(iterations, -1, -1):
        found = residuals(problem, T)
        weight = problem.weight * found.valid
        difference = without_exposure(found.difference, problem.grey, weight)
        cost = huber_cost(difference, problem.huber)
        if typical is None or smallest is None:
            typical = (weight * cost).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=SMALLEST)
            smallest = torch.zeros_like(typical)
        # An unseen pixel counts as much as a typical one of the given pose: looking away is no way to a smaller error.
        error = (weight * (cost - typical)).sum(1, keepdim=True)
        best = torch.where((error < smallest)[..., None], T, best)
        smallest = torch.minimum(error, smallest)
        if remaining:
            robust = weight * (problem.huber / difference.abs().clamp(min=problem.huber))
            T = rigid(gauss_newton_step(difference, jacobian(found, problem), robust)) @ T
    return best


def smooth(image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Mean over 3x3 pixels, so that slopes hold for motions of about a pixel."""
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)


def slopes(image: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Central differences along x and y, 0 at the border."""
    return (
        F.pad(image[..., 2:] - image[..., :-2], (1, 1)) / 2,
        F.pad(image[..., 2:, :] - image[..., :-2, :], (0, 0, 1, 1)) / 2,
    )


def pinhole(K: Float[Tensor, "b 3 3"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """fx, fy, cx, cy, each b 1."""
    return K[:, :1, 0], K[:, 1:2, 1], K[:, :1, 2], K[:, 1:2, 2]


def residuals(problem: Problem, T_src_tgt: Float[Tensor, "b 4 4"]) -> Residuals:
    """Compare the target's pixels with the source where a pose puts them."""
    height, width = problem.source.shape[-2:]
    fx, fy, cx, cy = pinhole(problem.K)
    moved = T_src_tgt[:, :3, :3] @ problem.points + T_src_tgt[:, :3, 3:]
    X, Y, Z = moved.unbind(1)
    z = Z.clamp(min=NEAR)
    u, v = fx * X / z + cx, fy * Y / z + cy
    valid = (Z > NEAR) & (u >= MARGIN) & (u <= width - 1 - MARGIN) & (v >= MARGIN) & (v <= height - 1 - MARGIN)
    sampled = sample(problem.source, torch.stack([u, v], 1)[:, :, None])[:, :, 0]  # b 3 n
    return Residuals(moved, sampled[:, 1:], sampled[:, 0] - problem.grey, valid)


def jacobian(found: Residuals, problem: Problem) -> Float[Tensor, "b 8 n"]:
    """Derivatives of the differences by a rotation (radians) and a translation after the pose, by gain and by bias."""
    X, Y, Z = found.moved.unbind(1)
    fx, fy, _, _ = pinhole(problem.K)
    per_depth = 1 / Z.clamp(min=NEAR)
    gX, gY = found.slopes[:, 0] * fx * per_depth, found.slopes[:, 1] * fy * per_depth  # by the moved point
    gZ = -(gX * X + gY * Y) * per_depth
    by_rotation = Y * gZ - Z * gY, Z * gX - X * gZ, X * gY - Y * gX
    return torch.stack([*by_rotation, gX, gY, gZ, problem.grey, torch.ones_like(gX)], 1)


def without_exposure(
    difference: Float[Tensor, "b n"], grey: Float[Tensor, "b n"], weight: Float[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """The differences without what a gain and a bias of the source's exposure explain.

    They are a line over the target's grey values, fitted by weighted least squares.
    """
    total = weight.sum(1, keepdim=True).clamp(min=SMALLEST)
    mean_grey, mean_difference = ((weight * x).sum(1, keepdim=True) / total for x in (grey, difference))
    centred = grey - mean_grey
    weighted = weight * centred
    gain = (weighted * difference).sum(1, keepdim=True) / (weighted * centred).sum(1, keepdim=True).clamp(min=SMALLEST)
    return difference - mean_difference - gain * centred


def huber_cost(difference: Float[Tensor, "b n"], huber: float) -> Float[Tensor, "b n"]:
    """Half the square of a small difference, linear from `huber` on."""
    size = difference.abs()
    small = size.clamp(max=huber)
    return small * (size - small / 2)


def gauss_newton_step(
    difference: Float[Tensor, "b n"], jacobian: Float[Tensor, "b 8 n"], weight: Float[Tensor, "b n"]
) -> Float[Tensor, "b 6"]:
    """Rotation and translation that lower the weighted squares, solved together with gain and bias.

    0 where the equations do not determine them. The equations are damped and scaled to a unit diagonal, which float32
    can solve.
    """
    weighted = jacobian * weight[:, None]
    H, g = weighted @ jacobian.mT, weighted @ difference[..., None]
    scale = H.diagonal(dim1=1, dim2=2).clamp(min=SMALLEST).rsqrt()[..., None]  # b 8 1
    H = H * scale * scale.mT + DAMPING * torch.eye(8, device=H.device, dtype=H.dtype)
    factor, failed = torch.linalg.cholesky_ex(H)
    step = -(scale * torch.cholesky_solve(g * scale, factor))[:, :6, 0]
    step = step.where((failed == 0)[:, None] & step.isfinite().all(1, keepdim=True), 0.0)
    return step * (LARGEST_TURN / step[:, :3].norm(dim=1, keepdim=True).clamp(min=LARGEST_TURN))
