"""The multi-view mask filter.

It accepts the teacher's depth where adjacent frames are consistent with it; optionally also where the prior's order is,
or only where the prior's depth is too; or it takes the smaller depth of teacher and prior where they are not.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import inverse_intrinsics
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.geometry.relative_depth import CONFIDENT, centred_log_ratio
from ssmde_lib.geometry.warp import reproject, sample

REFERENCES = 256  # accepted pixels that a rejected one is compared with
AGREEMENT = 0.9  # share of the confident comparisons that must agree
ALIKE = 1.25  # ratio of two depths up to which they agree


def reprojection_error(
    depth_tgt: Float[Tensor, "b 1 h w"],
    depth_src: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
) -> tuple[Float[Tensor, "b 1 h w"], Bool[Tensor, "b 1 h w"]]:
    """Forward-backward error |d' - d| / d, and where it is valid.

    Goes to the source by the target's depth and back by the source's depth.

    (SRD-Depth, Liu et al. 2023.)
    """
    pixels, _, valid = reproject(depth_tgt, K, T_src_tgt)
    there = sample(depth_src, pixels)
    rays = inverse_intrinsics(K) @ torch.cat([pixels, torch.ones_like(there)], 1).flatten(2)  # b 3 hw
    T_tgt_src = inverse(T_src_tgt)
    back = T_tgt_src[:, 2:3, :3] @ (rays * there.flatten(2)) + T_tgt_src[:, 2:3, 3:]  # z, b 1 hw
    return (back.view_as(depth_tgt) - depth_tgt).abs() / depth_tgt, valid


def filter_mask(
    errors: Sequence[Float[Tensor, "b 1 h w"]],
    valids: Sequence[Bool[Tensor, "b 1 h w"]],
    threshold: float | str = "mean",
) -> Bool[Tensor, "b 1 h w"]:
    """Keep a pixel whose smallest valid error over the views is below `threshold`.

    `threshold` is a relative error, or "mean": each image's own mean error.

    The smallest, because a pixel occluded in one source frame is often visible in the other. Pixels that are visible in
    none are rejected.
    """
    error = torch.stack([e.masked_fill(~v, torch.inf) for e, v in zip(errors, valids, strict=True)]).amin(0)
    if threshold != "mean":
        if isinstance(threshold, str) or threshold <= 0:
            raise UserError(
                f"filter threshold {threshold!r}: give a positive relative error, or 'mean' for the image's mean error."
            )
        return error < threshold
    seen = error.isfinite()
    mean = error.where(seen, 0.0).sum((1, 2, 3), keepdim=True) / seen.sum((1, 2, 3), keepdim=True).clamp(min=1)
    return error <= mean


def prior_order_mask(
    mask: Bool[Tensor, "b 1 h w"], depth: Float[Tensor, "b 1 h w"], relative_depth: Float[Tensor, "b 1 h w"]
) -> Bool[Tensor, "b 1 h w"]:
    """Also accept pixels whose depth order relative to the accepted pixels is the prior's.

    These are mostly moving objects, which violate multi-view consistency.

    Each rejected pixel is compared with up to REFERENCES accepted ones, spread evenly over the prior's depths; it is
    accepted if at least one comparison is confident and the share AGREEMENT of the confident ones holds for `depth`.
    """
    confirmed = [
        prior_confirms(m, d, r)
        for m, d, r in zip(mask.flatten(1), depth.flatten(1), relative_depth.flatten(1), strict=True)
    ]
    return mask | torch.stack(confirmed).view_as(mask)


def prior_depth_mask(
    mask: Bool[Tensor, "b 1 h w"], depth: Float[Tensor, "b 1 h w"], relative_depth: Float[Tensor, "b 1 h w"]
) -> Bool[Tensor, "b 1 h w"]:
    """Of the accepted pixels, those where the prior agrees with `depth` up to a factor ALIKE.

    The errors of the two have different causes.

    An object at the camera's speed has a consistent infinite depth in all frames. The prior is aligned to the scale of
    `depth` by the median of the log ratio over `mask`.
    """
    return mask & (centred_log_ratio(depth, relative_depth, mask).abs() <= math.log(ALIKE))


def min_depth_label(
    mask: Bool[Tensor, "b 1 h w"], depth: Float[Tensor, "b 1 h w"], relative_depth: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """`depth` where it is accepted; elsewhere the minimum of it and the prior's, aligned to its scale over `mask`.

    On moving objects both overestimate depth: self-supervision has infinite-depth holes, an uncertain prior predicts a
    medium depth, which is larger than that of most objects. Unlike a mask this leaves no pixel without a label.
    """
    further = centred_log_ratio(depth, relative_depth, mask).clamp(
        min=0
    )  # by how much the prior is nearer, in logarithms
    return torch.where(mask, depth, depth * (-further).exp())


def prior_confirms(
    mask: Bool[Tensor, " n"], depth: Float[Tensor, " n"], relative_depth: Float[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Whether the depth order of each pixel to the accepted pixels agrees with the prior."""
    kept = mask.nonzero()[:, 0]
    kept = kept[relative_depth[kept].argsort()]
    references = kept[
        torch.linspace(0, max(0, len(kept) - 1), min(REFERENCES, len(kept)), device=kept.device).round().long()
    ]
    farther = relative_depth[:, None] > CONFIDENT * relative_depth[references]  # n r
    nearer = relative_depth[references] > CONFIDENT * relative_depth[:, None]
    agrees = (farther & (depth[:, None] > depth[references])) | (nearer & (depth[:, None] < depth[references]))
    sure = (farther | nearer).sum(1)
    return (sure > 0) & (agrees.sum(1) >= AGREEMENT * sure)


WITH_PRIOR = ("prior_order", "prior_depth", "min_depth")
KINDS = ("none", "plain", *WITH_PRIOR)
MULTI_VIEW = "multi_view"  # no filter: depth from many frames of a clip, labels/multi_view.py


def choose_labels(
    kind: str,
    plain: Bool[Tensor, "b 1 h w"],
    depth: Float[Tensor, "b 1 h w"],
    relative_depth: Float[Tensor, "b 1 h w"] | None,
) -> tuple[Float[Tensor, "b 1 h w"], Bool[Tensor, "b 1 h w"]]:
    """Labels of one kind of filter: depth and mask.

    `plain` is the views' mask; the kinds in WITH_PRIOR need `relative_depth`.
    """
    if kind == "none":
        return depth, torch.ones_like(plain)
    if kind == "plain":
        return depth, plain
    if relative_depth is None:
        raise UserError(
            f"mask filter {kind!r} needs the prior's maps: give the folder of pseudo-depth, or choose plain."
        )
    match kind:
        case "prior_order":
            return depth, prior_order_mask(plain, depth, relative_depth)
        case "prior_depth":
            return depth, prior_depth_mask(plain, depth, relative_depth)
        case _:
            return min_depth_label(plain, depth, relative_depth), torch.ones_like(plain)


@dataclasses.dataclass(frozen=True)
class Filter:
    """How a student's labels are made: from many views, or by a mask filter of the teacher's depth.

    Attributes:
        kind: "multi_view" (depth swept over many frames, bounded by the prior), or the teacher's depth kept where a
            filter says so: "none", "plain" (forward-backward consistency), "prior_order" (or the prior's order
            agrees), "prior_depth" (and the prior's depth agrees), "min_depth" (minimum of teacher and
            prior on rejected pixels).
        threshold: of a filter, relative error, or 0 for the image's mean error (SRD-Depth).
    """

    kind: str = MULTI_VIEW
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, MULTI_VIEW):
            raise UserError(f"unknown mask filter {self.kind!r}: choose one of {', '.join((*KINDS, MULTI_VIEW))}.")

    @property
    def uses_prior(self) -> bool:
        """Whether the filter reads the prior's maps."""
        return self.kind in (*WITH_PRIOR, MULTI_VIEW)


def filter_labels(
    config: Filter,
    depth: Float[Tensor, "b 1 h w"],
    views: Sequence[tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 4 4"]]],
    K: Float[Tensor, "b 3 3"],
    relative_depth: Float[Tensor, "b 1 h w"] | None,
) -> tuple[Float[Tensor, "b 1 h w"], Bool[Tensor, "b 1 h w"]]:
    """A teacher's depth as a label, and the mask of accepted pixels; for a frozen and an online teacher.

    `views` are (depth_src, T_src_tgt) of the source frames; the kinds in WITH_PRIOR need `relative_depth`.
    """
    if config.kind == "none":
        return depth, torch.ones_like(depth, dtype=torch.bool)  # no need to warp anything
    errors, valids = zip(*(reprojection_error(depth, source, K, T) for source, T in views), strict=True)
    plain = filter_mask(errors, valids, config.threshold or "mean")
    return choose_labels(config.kind, plain, depth, relative_depth)
