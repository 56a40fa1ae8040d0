"""What the single-image prior teaches: the order of depths, surface normals, and the relations of normals across edges.

`relative_depth` is the prior's affine-ambiguous depth, positive, far is large. Every loss takes a pixel `weight` (a
mask of a region, a forgetting factor per pixel, or None for 1 everywhere) and is linear in it: the losses of the static
and of the dynamic pixels add up to the loss of all. A pair or group of pixels counts with the weight of its anchor.
After SC-DepthV3 (Sun et al. 2023); `ssi_loss` after MiDaS (Ranftl et al. 2020).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ssmde_lib.geometry.camera import normals
from ssmde_lib.geometry.relative_depth import CONFIDENT, centred_log_ratio
from ssmde_lib.losses.reductions import masked_mean

Weight = Float[Tensor, "b 1 h w"] | Bool[Tensor, "b 1 h w"] | None
UNRELIABLE = 0.2  # share of the pixels whose views agree least
RANDOM_PAIRS = 0.1  # random pairs a pixel
# Of the ranking's softplus: a pair in the right order by a factor 1.35 costs a twentieth of an undecided one.
SHARPNESS = 10.0
CEILING = 1.25  # factor by which depth may exceed the prior's
EDGE = 0.1  # of the image's strongest gradient
EDGE_SAMPLES = 0.1  # anchors drawn a pixel; those on an edge count
NEAREST, FARTHEST = 3, 19  # pixels from an edge to a sampled point


def dynamic_pixels(weight: Float[Tensor, "b 1 h w"], share: float = UNRELIABLE) -> Bool[Tensor, "b 1 h w"]:
    """The `share` of each image's pixels with the lowest self-discovered weight: judged dynamic, without any label."""
    flat = weight.flatten(1)
    threshold = flat.kthvalue(max(1, round(share * flat.shape[1])), 1).values
    return (flat <= threshold[:, None]).view_as(weight)


def pick(x: Shaped[Tensor, "b c h w"], index: Int[Tensor, "b n"]) -> Shaped[Tensor, "b c n"]:
    """Values at flat pixel indices."""
    return x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))


def anchor_weight(weight: Weight, index: Int[Tensor, "b n"]) -> Float[Tensor, "b 1 n"] | Bool[Tensor, "b 1 n"] | float:
    """The pixel weight of the anchors; 1 without one."""
    return 1.0 if weight is None else pick(weight, index)


def draw_pairs(
    batch: int,
    pixels: int,
    reliability: Float[Tensor, "b 1 h w"] | None,
    generator: torch.Generator,
    device: torch.device,
) -> Int[Tensor, "2 b n"]:
    """Pairs of flat pixel indices.

    RANDOM_PAIRS uniform ones a pixel, and each of the UNRELIABLE least reliable pixels with a reliable one.
    """
    pairs = torch.randint(pixels, (2, batch, round(RANDOM_PAIRS * pixels)), generator=generator, device=device)
    if reliability is None:
        return pairs
    order = reliability.flatten(1).argsort(1)
    count = round(UNRELIABLE * pixels)
    partners = torch.randint(count, pixels, (batch, count), generator=generator, device=device)
    return torch.cat([pairs, torch.stack([order[:, :count], order.gather(1, partners)])], 2)


def ranking_loss(
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"],
    generator: torch.Generator,
    reliability: Float[Tensor, "b 1 h w"] | None = None,
    weight: Weight = None,
) -> Float[Tensor, ""]:
    """Confident depth ranking.

    mean softplus(-l s (log z_A - log z_B)) / s over pairs whose order l = +-1 the prior is sure of.

    SC-DepthV3 compares z itself. From random weights that rewards a growing scale of depth, until it meets its bound
    and flattens (measured: docs/method.md), so ours compares logarithms, which have no scale, and stops pulling once
    the order is clear.

    `reliability` is the self-discovered weight (SelfSupervised.weight): where it is low, multi-view supervision fails,
    and those pixels are paired with reliable ones on purpose. Softplus does not overflow as log(1 + exp) does.
    """
    pairs = draw_pairs(len(depth), depth[0].numel(), reliability, generator, depth.device)
    a, b = pairs
    prior_a, prior_b = pick(relative_depth, a), pick(relative_depth, b)
    order = (prior_a > CONFIDENT * prior_b).float() - (prior_b > CONFIDENT * prior_a).float()
    log_depth = depth.log()
    loss = F.softplus(-SHARPNESS * order * (pick(log_depth, a) - pick(log_depth, b))) / SHARPNESS
    return masked_mean(loss * anchor_weight(weight, a), order != 0)


def weighted_mean(x: Float[Tensor, "b 1 h w"], weight: Weight) -> Float[Tensor, ""]:
    """Mean over all pixels of x times its weight."""
    return x.mean() if weight is None else (x * weight).mean()


def normal_loss(
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    weight: Weight = None,
) -> Float[Tensor, ""]:
    """Mean absolute difference of the normals of the predicted and of the relative depth."""
    difference = (normals(depth, K) - normals(relative_depth, K)).abs().mean(1, keepdim=True)
    return weighted_mean(difference, weight)


def sobel(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 c h w"]:
    """Gradient (x, y) by Sobel's filter, borders replicated."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    rows = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
    columns = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    return torch.stack([rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]], 1) / 8


def edges(x: Float[Tensor, "b c h w"]) -> tuple[Bool[Tensor, "b 1 h w"], Float[Tensor, "b 2 h w"]]:
    """Where the gradient of the strongest channel reaches EDGE of the image's largest, and its unit direction."""
    gradient = sobel(x)
    magnitude, strongest = gradient.square().sum(1).sqrt().max(1, keepdim=True)
    direction = gradient.gather(2, strongest[:, None].expand(-1, 2, -1, -1, -1))[:, :, 0]
    edge = magnitude > EDGE * magnitude.amax((2, 3), keepdim=True)
    return edge, direction / magnitude.clamp(min=1e-12)


def points_across(
    anchors: Int[Tensor, "b n"], direction: Float[Tensor, "b 2 h w"], generator: torch.Generator
) -> tuple[Int[Tensor, "4 b n"], Bool[Tensor, "4 b n"]]:
    """Four points in a line through each anchor along `direction`, two a side, and which lie in the image."""
    height, width = direction.shape[-2:]
    steps = torch.randint(NEAREST, FARTHEST + 1, (4, *anchors.shape), generator=generator, device=anchors.device)
    (near_a, near_b), (far_a, far_b) = steps[:2], steps[2:]
    steps = torch.stack(
        [
            -torch.maximum(near_a, far_a),
            -torch.minimum(near_a, far_a),
            torch.minimum(near_b, far_b),
            torch.maximum(near_b, far_b),
        ]
    )
    dx, dy = pick(direction, anchors).unbind(1)  # b n
    x, y = anchors % width + (steps * dx).round().long(), anchors // width + (steps * dy).round().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return (y * width + x).where(inside, 0), inside


def edge_normal_loss(
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"],
    image: Float[Tensor, "b 3 h w"],
    K: Float[Tensor, "b 3 3"],
    generator: torch.Generator,
    weight: Weight = None,
) -> Float[Tensor, ""]:
    """Edge-aware relative normals.

    mean | |n_A . n_B| - |n*_A . n*_B| | over neighbouring points in a line across edges.

    Edges are those of the image and of the prior's normals, without those of the relative depth, where objects end.
    Anchors are drawn uniformly and count where they hit an edge, so that shapes do not depend on the data (no
    synchronisation on a GPU).
    """
    normal, normal_prior = normals(depth, K), normals(relative_depth, K)
    at_depth, _ = edges(relative_depth)
    pixels = depth[0].numel()
    loss, counts = [], []
    for x in (image, normal_prior):
        edge, direction = edges(x)
        anchors = torch.randint(
            pixels, (len(depth), round(EDGE_SAMPLES * pixels)), generator=generator, device=depth.device
        )
        points, inside = points_across(anchors, direction, generator)
        n, n_prior = (torch.stack([pick(m, p) for p in points]) for m in (normal, normal_prior))  # 4 b 3 n
        cosine, cosine_prior = ((m[:-1] * m[1:]).sum(2).abs() for m in (n, n_prior))  # 3 b n
        on_edge = pick((edge & ~at_depth).float(), anchors)[:, 0]
        counted = (inside[:-1] & inside[1:]) * on_edge
        difference = (cosine - cosine_prior).abs()[:, :, None] * anchor_weight(weight, anchors)  # 3 b 1 n
        loss.append((difference[:, :, 0] * counted).sum())
        counts.append(counted.sum())
    return torch.stack(loss).sum() / torch.stack(counts).sum().clamp(min=1)


def affine_normalised(depth: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """(depth - median) / mean |depth - median| of each image.

    The divisor is at least 1/1000 of the median: bounded on constant maps.
    """
    median = depth.flatten(1).median(1).values[:, None, None, None]
    centred = depth - median
    return centred / centred.abs().mean((2, 3), keepdim=True).clamp(min=1e-3 * median.detach().abs())


def ssi_loss(
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"],
    weight: Weight = None,
) -> Float[Tensor, ""]:
    """Scale-and-shift-invariant difference (Ranftl et al. 2020, equations 5 and 6).

    mean |normalised depth - normalised relative depth|.
    """
    return weighted_mean((affine_normalised(depth) - affine_normalised(relative_depth)).abs(), weight)


def log_ratio_loss(
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"],
    weight: Weight = None,
) -> Float[Tensor, ""]:
    """Scale-invariant difference: mean |r - median r| of each image's log ratio r = log depth - log relative depth.

    For priors that predict depth up to scale alone, as `leres_small` does: near and far count by their relative error,
    while a shift fitted in depth is set by what is far.
    """
    return weighted_mean(centred_log_ratio(depth, relative_depth).abs(), weight)


def ceiling_loss(
    depth: Float[Tensor, "b 1 h w"], relative_depth: Float[Tensor, "b 1 h w"], margin: float = CEILING
) -> Float[Tensor, ""]:
    """Mean of how far the depth exceeds the prior's by more than the factor `margin`, in log-depth at equal scale.

    One-sided: an object that moves as the camera does looks infinitely far to the photometric error.
    """
    return (centred_log_ratio(depth, relative_depth) - math.log(margin)).clamp(min=0).mean()
