"""The self-supervised loss of a triplet.

The source frames, warped by depth and motion, must match the target and be consistent with its depth.

Geometry needs float32: call these functions outside of autocast.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.geometry.camera import NEAR, resize_intrinsics
from ssmde_lib.geometry.warp import relative_difference, reproject, sample
from ssmde_lib.losses.config import Losses
from ssmde_lib.losses.photometric import photometric_error, smoothness, window_statistics
from ssmde_lib.losses.reductions import masked_mean

SOURCES = ("prev", "next")


class WarpedSource(NamedTuple):
    """A source frame seen from the target through one depth map."""

    error: Float[Tensor, "b 1 h w"]  # photometric
    valid: Bool[Tensor, "b 1 h w"]
    difference: Float[Tensor, "b 1 h w"] | None  # D_diff


class SelfSupervised(NamedTuple):
    """The weighted terms, whose sum is the loss, and two maps of the finest scale, without gradient."""

    terms: dict[str, Float[Tensor, ""]]
    # Mean of 1 - D_diff over the sources, low on dynamic objects; None without source depths.
    weight: Float[Tensor, "b 1 h w"] | None
    valid: Bool[Tensor, "b 1 h w"]  # seen by at least one source


def upsample(disparities: list[Float[Tensor, "b 1 _ _"]], size: tuple[int, ...]) -> list[Float[Tensor, "b 1 h w"]]:
    """Every scale at full resolution.

    There the photometric error of coarse scales makes no holes (Godard et al. 2019).
    """
    return [
        d if d.shape[-2:] == size else F.interpolate(d, size, mode="bilinear", align_corners=False) for d in disparities
    ]


def warp_and_compare(
    image_tgt: Float[Tensor, "b 3 h w"],
    statistics: tuple[Tensor, Tensor],
    depth_tgt: Float[Tensor, "b 1 h w"],
    image_src: Float[Tensor, "b 3 h w"],
    depth_src: Float[Tensor, "b 1 h w"] | None,
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
    alpha: float,
) -> WarpedSource:
    """Warp a source (image and depth in one sampling) to the target and compare.

    `statistics` are the target image's.
    """
    pixels, computed, valid = reproject(depth_tgt, K, T_src_tgt)
    warped = sample(image_src if depth_src is None else torch.cat([image_src, depth_src], 1), pixels)
    error = photometric_error(warped[:, :3], image_tgt, alpha, statistics)
    difference = None if depth_src is None else relative_difference(computed.clamp(min=NEAR), warped[:, 3:])
    return WarpedSource(error, valid, difference)


def minimum_error(
    views: list[WarpedSource], identity: Float[Tensor, "b 1 h w"] | None, self_discovered: bool
) -> tuple[Tensor, Tensor]:
    """Each pixel's smallest error over the sources, and where it counts.

    Godard et al. 2019, equations 4 and 5.

    A pixel counts where a source sees it and, given the `identity` error of the unwarped sources, where warping makes
    it smaller (otherwise the camera stands still, or the pixel moves with it). The error is weighted by that source's 1
    - D_diff, detached (Bian et al. 2019, equation 7).
    """
    errors = torch.cat([view.error.masked_fill(~view.valid, torch.inf) for view in views], 1)
    smallest, best = errors.min(1, keepdim=True)
    kept = smallest.detach() < (torch.inf if identity is None else identity)
    error = smallest.where(kept, 0.0)
    if self_discovered and views[0].difference is not None:
        differences = torch.cat([view.difference for view in views if view.difference is not None], 1).detach()
        error = error * (1 - differences.gather(1, best))
    return error, kept


def photometric_term(
    views: list[WarpedSource], identity: Float[Tensor, "b 1 h w"] | None, self_discovered: bool
) -> Float[Tensor, ""]:
    """Mean minimum error over the pixels that count."""
    return masked_mean(*minimum_error(views, identity, self_discovered))


def geometry_term(views: list[WarpedSource]) -> Float[Tensor, ""]:
    """Mean D_diff over the valid pixels of all views (Bian et al. 2019, equation 6)."""
    return mean([masked_mean(view.difference, view.valid) for view in views if view.difference is not None])


def smoothness_term(disparities: list[Float[Tensor, "b 1 _ _"]], image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Mean over the scales of the edge-aware smoothness at each scale's own resolution, halved from scale to scale."""
    images = [
        image if d.shape == image[:, :1].shape else F.interpolate(image, d.shape[-2:], mode="area") for d in disparities
    ]
    return mean([smoothness(d, i) / 2**s for s, (d, i) in enumerate(zip(disparities, images, strict=True))])


class FramesAtScale(NamedTuple):
    """What the frames are at one resolution."""

    images: dict[str, Float[Tensor, "b 3 h w"]]
    statistics: tuple[Tensor, Tensor]  # window_statistics of the target image
    # The smaller photometric error of the sources as they are; None without auto-mask.
    identity: Float[Tensor, "b 1 h w"] | None
    source_depths: dict[str, Float[Tensor, "b 1 h w"] | None]
    K: Float[Tensor, "b 3 3"]


def frames_at(
    size: tuple[int, ...], images: dict, source_depths: dict | None, K: Tensor, losses: Losses
) -> FramesAtScale:
    """The frames at a resolution no finer than their own."""
    own = images["tgt"].shape[-2:]
    source_depths = source_depths or dict.fromkeys(SOURCES)
    if size != own:
        K = resize_intrinsics(K, own, size)
        images = {name: F.interpolate(image, size, mode="area") for name, image in images.items()}
        source_depths = {
            name: None if d is None else F.interpolate(d, size, mode="area") for name, d in source_depths.items()
        }
    statistics = window_statistics(images["tgt"])
    identity = None
    if losses.automask:
        errors = [photometric_error(images[s], images["tgt"], losses.alpha, statistics) for s in SOURCES]
        identity = torch.cat(errors, 1).amin(1, keepdim=True)
    return FramesAtScale(images, statistics, identity, source_depths, K)


def self_supervised_loss(
    images: dict[str, Float[Tensor, "b 3 h w"]],
    disparities: list[Float[Tensor, "b 1 _ _"]],
    depths: list[Float[Tensor, "b 1 _ _"]],
    source_depths: dict[str, Float[Tensor, "b 1 h w"]] | None,
    K: Float[Tensor, "b 3 3"],
    T: dict[str, Float[Tensor, "b 4 4"]],
    losses: Losses,
) -> SelfSupervised:
    """The base loss: photometric, geometry and smoothness terms, averaged over the scales.

    `images` holds tgt, prev, next in [0, 1]; `disparities` the network's outputs, finest first; `depths` the same as
    depth, the first at full resolution, each compared with the images at its own resolution; `T` maps "prev" to
    T_prev_tgt and "next" to T_next_tgt. Without `source_depths` there is neither geometry nor self-discovered weight.
    """
    by_size = {
        size: frames_at(size, images, source_depths, K, losses)
        for size in {tuple(depth.shape[-2:]) for depth in depths}
    }
    frames = [by_size[tuple(depth.shape[-2:])] for depth in depths]

    by_scale = [
        [
            warp_and_compare(
                f.images["tgt"], f.statistics, depth, f.images[s], f.source_depths[s], f.K, T[s], losses.alpha
            )
            for s in SOURCES
        ]
        for depth, f in zip(depths, frames, strict=True)
    ]
    photometric = [
        photometric_term(views, f.identity, losses.weighs_by_consistency)
        for views, f in zip(by_scale, frames, strict=True)
    ]
    finest = by_scale[0]
    terms = {
        "photometric": losses.photometric * mean(photometric),
        "smoothness": losses.smoothness * smoothness_term(disparities, images["tgt"]),
    }
    weight = None
    if source_depths:
        terms["geometry"] = losses.geometry * mean([geometry_term(views) for views in by_scale])
        weight = 1 - mean([view.difference.detach() for view in finest if view.difference is not None])
    return SelfSupervised(terms, weight, finest[0].valid | finest[1].valid)


def mean(tensors: list[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return sum(tensors[1:], tensors[0]) / len(tensors)
