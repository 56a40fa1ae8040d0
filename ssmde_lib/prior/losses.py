"""LeReS's training losses (Yin et al. 2021, section 3.3), for log-depth and procedural truth.

Three things differ from the paper, because here the truth is complete: the network predicts log-depth, so that its
depth is positive and its shift is learned, and prediction and truth are aligned by scale alone (the mean of the log
difference); the level is compared in inverse depth, normalised by the image's own mean, and in log-depth, which
together weigh near and far as AbsRel does (a trimmed spread as the unit let single images of sky outweigh all others,
and nothing was learned); the sky has no depth, only a bound from below. A fourth is ours: the level counts five times
on foreground objects, which have few pixels; without this weight the network learns ground and walls and ignores cars
and pedestrians. So are the weights: normals of a young network are noise.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.geometry.camera import normals

SKY = 150.0  # metres: what the sky is at least
FOREGROUND = 4.0  # extra weight of the level on foreground objects
GAP = 1.15  # ratio of depths from which it does
GRADIENT, NORMAL = 4.0, 0.3  # weights beside the level's
DepthMap = Float[Tensor, "b 1 h w"]
Mask = Bool[Tensor, "b 1 h w"]


def leres_loss(
    log_depth: DepthMap, depth: DepthMap, images: Float[Tensor, "b 3 h w"], K: Float[Tensor, "b 3 3"]
) -> dict[str, Tensor]:
    """The three losses and their weighted sum `loss`; `depth` in metres, infinite in the sky."""
    known = depth.isfinite()
    truth = depth.clamp(max=SKY).log()
    residual = align_scale(log_depth, truth, known) - truth
    residual = torch.where(known, residual, residual.clamp(max=0))
    losses = {
        "level": image_level_regression(residual, truth, known, 1 + FOREGROUND * foreground_mask(truth)),
        "gradient": multi_scale_gradient(residual, known),
        "normal": pairwise_normals(residual + truth, truth, known, images, K),
    }
    return losses | {"loss": losses["level"] + GRADIENT * losses["gradient"] + NORMAL * losses["normal"]}


def align_scale(log_depth: DepthMap, truth: DepthMap, known: Mask) -> DepthMap:
    """Log-depth scaled (shifted, in logarithms) to the truth by the mean over known pixels."""
    return log_depth - mean_over_mask(log_depth - truth, known)


def mean_over_mask(values: DepthMap, mask: Mask) -> Float[Tensor, "b 1 1 1"]:
    """Each image's mean over its mask, 0 where that is empty."""
    return (values * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True).clamp(min=1)


def foreground_mask(truth: DepthMap) -> DepthMap:
    """1 where the true log-depth is nearer, by GAP, than the pixels on both sides in the row, up to 30 pixels away."""

    def furthest(x: Tensor) -> Tensor:
        x = F.pad(x, (30, 30), value=-math.inf)
        for step in (1, 3, 9, 17):  # windows of 3, 9, 27 and 61 pixels: a fifth of the work of one of 61
            x = F.max_pool2d(x, (1, 3), stride=1, dilation=(1, step))
        return x

    around = -furthest(-furthest(truth))  # a closing: fills what is nearer than both its sides
    return (around - truth > math.log(GAP)).float()


def image_level_regression(residual: DepthMap, truth: DepthMap, known: Mask, weight: DepthMap) -> Tensor:
    """Image-level normalised regression, weighted.

    L1 of inverse depth in units of its mean in the image, and L1 of log-depth.
    """
    inverse = (-truth).exp() * known
    normalised = inverse * (1 - (-residual.clamp(min=-3)).exp()) / mean_over_mask(inverse, known).clamp(min=1e-6)
    return (weight * (0.5 * normalised.abs() + residual.abs())).mean() / weight.mean()


def multi_scale_gradient(residual: DepthMap, known: Mask, scales: int = 4) -> Tensor:
    """L1 of the differences of the log residual between pixels 1, 2, 4 … apart."""
    total = residual.new_zeros(())
    for step in (2**s for s in range(scales)):
        r, k = residual[..., ::step, ::step], known[..., ::step, ::step]
        for axis in (2, 3):
            both = k.narrow(axis, 0, k.shape[axis] - 1) & k.narrow(axis, 1, k.shape[axis] - 1)
            total = total + (r.diff(dim=axis).abs() * both).mean()
    return total / scales


def pairwise_normals(
    log_depth: DepthMap, truth: DepthMap, known: Mask, images: Tensor, K: Tensor, pairs: int = 2000
) -> Tensor:
    """|n_A·n_B - n*_A·n*_B| of pairs of points: half of them across the edges of image and depth, half anywhere."""
    normal, true_normal, known = (
        maps[..., 1:-1, 1:-1] for maps in (normals(log_depth.exp(), K), normals(truth.exp(), K), known)
    )
    A, B = (
        torch.cat(points, 1)
        for points in zip(across_edges(images, truth, pairs // 2), anywhere(truth, pairs // 2), strict=True)
    )
    cosine = (gather(normal, A) * gather(normal, B)).sum(1)
    true_cosine = (gather(true_normal, A) * gather(true_normal, B)).sum(1)
    valid = gather(known, A)[:, 0] & gather(known, B)[:, 0]
    return ((cosine - true_cosine).abs() * valid).sum() / valid.sum().clamp(min=1)


def across_edges(images: Tensor, truth: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Flat indices "b pairs" (into maps without border) of points on both sides of an edge, 2 to 12 pixels from it."""
    signal = torch.cat([images.mean(1, keepdim=True), 0.3 * truth], 1)
    gx = (signal[..., 1:-1, 2:] - signal[..., 1:-1, :-2]).flatten(2)
    gy = (signal[..., 2:, 1:-1] - signal[..., :-2, 1:-1]).flatten(2)
    height, width = signal.shape[2] - 2, signal.shape[3] - 2
    strength, stronger = (gx.square() + gy.square()).sqrt().max(1)
    centre = torch.multinomial(strength + 1e-6, pairs, replacement=True)
    gx, gy = (g.gather(1, stronger[:, None])[:, 0].gather(1, centre) for g in (gx, gy))
    length = (gx.square() + gy.square()).sqrt().clamp(min=1e-6)

    def at(distance: Tensor) -> Tensor:
        column = (centre % width + distance * gx / length).round().long().clamp(0, width - 1)
        row = (centre // width + distance * gy / length).round().long().clamp(0, height - 1)
        return row * width + column

    return at(torch.empty_like(gx).uniform_(2, 12)), at(-torch.empty_like(gx).uniform_(2, 12))


def anywhere(truth: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """Flat indices "b pairs" (into maps without border) of random pairs."""
    inside = (truth.shape[2] - 2) * (truth.shape[3] - 2)
    first, second = (torch.randint(inside, (len(truth), pairs), device=truth.device) for _ in range(2))
    return first, second


def gather(maps: Tensor, indices: Tensor) -> Tensor:
    """Values "b c n" of maps "b c h w" at flat indices "b n"."""
    return maps.flatten(2).gather(2, indices[:, None].expand(-1, maps.shape[1], -1))
