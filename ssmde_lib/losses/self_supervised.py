"""What video alone teaches: the neighbours, warped by depth and motion, must look like the target and agree with its depth.

Geometry needs float32: call these functions outside of autocast.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.geometry.camera import NEAR, resize_intrinsics
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.geometry.warp import relative_difference, reproject, sample
from ssmde_lib.losses.photometric import photometric_error, smoothness, window_statistics
from ssmde_lib.losses.reductions import masked_mean

SOURCES = ("prev", "next")


@dataclass(frozen=True)
class SelfSupervisedWeights:
    """What each term counts; 0 or False switches it off. The defaults are those of SC-Depth and Monodepth2."""

    photometric: float = 1.0
    geometry: float = 0.1  # consistency of the depths, where the sources' depths are given
    smoothness: float = 1e-3  # divided by 2^s at scale s
    alpha: float = 0.85  # SSIM's share of the photometric error
    automask: bool = True
    self_discovered: bool = True  # weigh the photometric error by 1 - D_diff
    both_ways: bool = False  # warp the target into the sources too; their depths should then carry a gradient


class WarpedSource(NamedTuple):
    """A source frame seen from the target through one depth map."""

    error: Float[Tensor, "b 1 h w"]  # photometric
    valid: Bool[Tensor, "b 1 h w"]
    difference: Float[Tensor, "b 1 h w"] | None  # D_diff


class SelfSupervised(NamedTuple):
    """The weighted terms, whose sum is the loss, and two maps of the finest scale, without gradient."""

    terms: dict[str, Float[Tensor, ""]]
    weight: (
        Float[Tensor, "b 1 h w"] | None
    )  # mean of 1 - D_diff over the sources: low where things move; None without source depths
    valid: Bool[Tensor, "b 1 h w"]  # seen by at least one source


def upsample(disparities: list[Float[Tensor, "b 1 _ _"]], size: tuple[int, int]) -> list[Float[Tensor, "b 1 h w"]]:
    """Every scale at full resolution, where the photometric error of coarse scales leaves no holes (Godard et al. 2019)."""
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
    """Warp a source (image and depth in one sampling) to the target and compare; `statistics` are the target image's."""
    pixels, computed, valid = reproject(depth_tgt, K, T_src_tgt)
    warped = sample(image_src if depth_src is None else torch.cat([image_src, depth_src], 1), pixels)
    error = photometric_error(warped[:, :3], image_tgt, alpha, statistics)
    difference = None if depth_src is None else relative_difference(computed.clamp(min=NEAR), warped[:, 3:])
    return WarpedSource(error, valid, difference)


def minimum_error(
    views: list[WarpedSource], identity: Float[Tensor, "b 1 h w"] | None, self_discovered: bool
) -> tuple[Tensor, Tensor]:
    """Each pixel's error from the source that shows it best, and where it counts (Godard et al. 2019, equations 4 and 5).

    A pixel counts where a source sees it and, given the `identity` error of the unwarped sources, where warping makes it smaller
    (otherwise the camera stands still, or the pixel moves with it). The error is weighted by that source's 1 - D_diff, detached
    (Bian et al. 2019, equation 7).
    """
    errors = torch.cat([view.error.masked_fill(~view.valid, torch.inf) for view in views], 1)
    smallest, best = errors.min(1, keepdim=True)
    kept = smallest.detach() < (torch.inf if identity is None else identity)
    error = smallest.where(kept, 0.0)
    if self_discovered and views[0].difference is not None:
        differences = torch.cat([view.difference for view in views], 1).detach()
        error = error * (1 - differences.gather(1, best))
    return error, kept


def photometric_term(
    views: list[WarpedSource], identity: Float[Tensor, "b 1 h w"] | None, self_discovered: bool
) -> Float[Tensor, ""]:
    """Mean minimum error over the pixels that count."""
    return masked_mean(*minimum_error(views, identity, self_discovered))


def geometry_term(views: list[WarpedSource]) -> Float[Tensor, ""]:
    """Mean D_diff over the valid pixels of all views (Bian et al. 2019, equation 6)."""
    return sum(masked_mean(view.difference, view.valid) for view in views) / len(views)


def smoothness_term(disparities: list[Float[Tensor, "b 1 _ _"]], image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Mean over the scales of the edge-aware smoothness at each scale's own resolution, halved from scale to scale."""
    images = [
        image if d.shape == image[:, :1].shape else F.interpolate(image, d.shape[-2:], mode="area") for d in disparities
    ]
    return sum(smoothness(d, i) / 2**s for s, (d, i) in enumerate(zip(disparities, images, strict=True))) / len(
        disparities
    )


class FramesAtScale(NamedTuple):
    """What the frames are at one resolution."""

    images: dict[str, Float[Tensor, "b 3 h w"]]
    statistics: dict[str, tuple[Tensor, Tensor]]  # window_statistics of the images that others are compared with
    identity: (
        dict[str, Float[Tensor, "b 1 h w"]] | None
    )  # photometric error of each source as it is; None without auto-mask
    source_depths: dict[str, Float[Tensor, "b 1 h w"] | None]
    K: Float[Tensor, "b 3 3"]


def frames_at(
    size: tuple[int, int], images: dict, source_depths: dict | None, K: Tensor, weights: SelfSupervisedWeights
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
    statistics = {
        name: window_statistics(image) for name, image in images.items() if name == "tgt" or weights.both_ways
    }
    identity = None
    if weights.automask:
        identity = {s: photometric_error(images[s], images["tgt"], weights.alpha, statistics["tgt"]) for s in SOURCES}
    return FramesAtScale(images, statistics, identity, source_depths, K)


def self_supervised_loss(
    images: dict[str, Float[Tensor, "b 3 h w"]],
    disparities: list[Float[Tensor, "b 1 _ _"]],
    depths: list[Float[Tensor, "b 1 _ _"]],
    source_depths: dict[str, Float[Tensor, "b 1 h w"]] | None,
    K: Float[Tensor, "b 3 3"],
    T: dict[str, Float[Tensor, "b 4 4"]],
    weights: SelfSupervisedWeights = SelfSupervisedWeights(),
) -> SelfSupervised:
    """The base loss: photometric, geometry and smoothness terms, averaged over the scales.

    `images` holds tgt, prev, next in [0, 1]; `disparities` the network's outputs, finest first; `depths` the same as depth, the
    first at full resolution, each compared with the images at its own resolution; `T` maps "prev" to T_prev_tgt and "next" to
    T_next_tgt. Without `source_depths` there is neither geometry nor self-discovered weight.
    """
    by_size = {
        size: frames_at(size, images, source_depths, K, weights)
        for size in {tuple(depth.shape[-2:]) for depth in depths}
    }
    frames = [by_size[tuple(depth.shape[-2:])] for depth in depths]

    def compare(
        f: FramesAtScale, tgt: str, depth: Tensor, src: str, depth_src: Tensor | None, T_src_tgt: Tensor
    ) -> WarpedSource:
        return warp_and_compare(
            f.images[tgt], f.statistics[tgt], depth, f.images[src], depth_src, f.K, T_src_tgt, weights.alpha
        )

    # Each group of views competes for the minimum: the two sources at every scale, and each source's own view of the target.
    groups = [
        ([compare(f, "tgt", depth, s, f.source_depths[s], T[s]) for s in SOURCES], SOURCES, f)
        for depth, f in zip(depths, frames, strict=True)
    ]
    finest = groups[0][0]
    if weights.both_ways:
        groups += [
            ([compare(frames[0], s, source_depths[s], "tgt", depths[0], inverse(T[s]))], (s,), frames[0])
            for s in SOURCES
        ]
    photometric, geometry = [], []
    for views, names, f in groups:
        identity = torch.cat([f.identity[s] for s in names], 1).amin(1, keepdim=True) if f.identity else None
        photometric.append(photometric_term(views, identity, weights.self_discovered))
        if source_depths:
            geometry.append(geometry_term(views))
    terms = {
        "photometric": weights.photometric * mean(photometric),
        "smoothness": weights.smoothness * smoothness_term(disparities, images["tgt"]),
    }
    weight = None
    if source_depths:
        terms["geometry"] = weights.geometry * mean(geometry)
        weight = 1 - mean([view.difference.detach() for view in finest])
    return SelfSupervised(terms, weight, finest[0].valid | finest[1].valid)


def mean(tensors: list[Tensor]) -> Tensor:
    return sum(tensors) / len(tensors)
