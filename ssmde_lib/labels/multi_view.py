"""Labels from many views of one clip: depth that the neighbours' pictures support, made without any truth.

A frame's motion to its neighbours is refined directly, then depth is swept around the mean of the network's and the
prior's (plane sweep, Collins 1996; costs of DTAM, Newcombe et al. 2011). The sweep measures static pixels; on moving
objects it does not, so the prior bounds the result where the views are not confident.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics
from ssmde_lib.geometry.direct_pose import refine_pose
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.geometry.relative_depth import at_scale_of, centred_log_ratio
from ssmde_lib.geometry.warp import reproject, sample
from ssmde_lib.losses.photometric import photometric_error, window_statistics

DISTANCES = (1, 2, 4, 8)  # of the neighbours, in frame strides, before and after; each twice the one before
REACH = DISTANCES[-1] + 1  # frame strides: a label depends on no frames further away
POSE_STEPS, POSE_ROUNDS = 3, 4  # of the direct refinement, which is repeated while …
SETTLED = 1.0  # … it moves a frame's median pixel by more than this, in pixels
# Depths that are tried, evenly in logarithm, and the factor up to which they are nearer and farther: at the size of the
# network's depth, then at that of larger pictures.
COARSE, FINE = (13, 1.7), (9, 1.35)
LARGEST_ERROR = 0.05  # photometric: what is hidden in a view, or moves, counts no more than this
COST_RADIUS, MEAN_RADIUS = 4, 3  # pixels; of the windows over which costs, then depths are averaged
STAY = 0.1  # confidence of the depth that the sweep began with
UNSURE = 0.25  # confidence under which the prior bounds a label
BOUNDS = (1.15, 1.05)  # factors to the prior by which it may be nearer, and farther
PARALLAX = 0.5  # pixels that a sweep must move the median pixel by, in some view
AGREE = 1.3  # factor up to which two networks agree about a pixel
JUDGED = 16  # frames of a clip by which two networks are compared
CONSISTENT = 0.1  # difference in log depth up to which two frames' labels agree
BATCH_PIXELS = 2**17  # that are computed at once
# Those of them that were chosen by comparing labels; the record of a student names them.
RECIPE = {
    "distances": DISTANCES,
    "pose": (POSE_STEPS, POSE_ROUNDS, SETTLED),
    "sweeps": (COARSE, FINE),
    "unsure": UNSURE,
    "bounds": BOUNDS,
}


class Labels(NamedTuple):
    """What a student learns from, for every frame of a clip."""

    depth: Float[Tensor, "n 1 h w"]
    mask: Bool[Tensor, "n 1 h w"]  # supported by the views or by the prior
    confidence: Float[Tensor, "n 1 h w"]  # in [0, 1): sharpness of the cost's minimum, 0.5 at each image's median
    parallax: Float[Tensor, " n"]  # pixels; below PARALLAX the depth is the network's


Motions = dict[int, Float[Tensor, "m 4 4"]]  # by distance d: T from frame i to i + d, for all i that have one


def label_clip(
    images: Float[Tensor, "n 3 H W"],
    depth: Float[Tensor, "n 1 h w"],
    T_next_tgt: Float[Tensor, "m 4 4"],
    K: Float[Tensor, "1 3 3"],
    relative_depth: Float[Tensor, "n 1 h w"],
    frame_stride: int = 1,
    bounded: bool = True,
) -> Labels:
    """Labels of every frame, at the size of the images, which may be larger than that of the depth.

    Args:
        images: in [0, 1]. Larger ones are first labelled at the size of `depth`, then at their own.
        depth: the network's.
        T_next_tgt: from frame i to i + `frame_stride`, the network's; in the unit of `depth`.
        K: of the images.
        relative_depth: the prior's, up to scale.
        frame_stride: distance of the neighbours in frames.
        bounded: keep the labels within BOUNDS of the prior.
    """
    sizes = [tuple(depth.shape[-2:]), tuple(images.shape[-2:])]
    if sizes[0][0] > sizes[1][0]:
        raise UserError(f"labels of {sizes[1]} pixels are smaller than the depth of {sizes[0]}: give larger pictures.")
    prior = at_scale_of(depth, relative_depth)
    motions, swept = chain_motions(T_next_tgt, frame_stride), (depth * prior).sqrt()
    for size, tried in zip(dict.fromkeys(sizes), (COARSE, FINE), strict=False):
        pictures = images if size == sizes[1] else F.interpolate(images, size, mode="area")
        swept, depth, prior = (resize(x, size) for x in (swept, depth, prior))
        swept, confidence, parallax, motions = sweep_clip(
            pictures, swept, resize_intrinsics(K, sizes[1], size), motions, depths_tried(*tried, swept.device)
        )
    label = bound_by_prior(swept, prior, confidence) if bounded else swept
    K = K.expand(len(images), -1, -1)
    mask = (confidence > 0.5) | (label == swept) | consistency(label, K, motions, frame_stride)
    moved = parallax[:, None, None, None] >= PARALLAX
    return Labels(torch.where(moved, label, depth), mask | ~moved, confidence * moved, parallax)


def join(depth: Float[Tensor, "n 1 h w"], static_depth: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
    """Depth of two teachers: `static_depth`, of a network that is better on static pixels, where both agree.

    Elsewhere, as on moving objects, whose depth such a network does not know, `depth`; its scale is kept.
    """
    ratio = centred_log_ratio(depth, static_depth)
    return depth * (-ratio).where(ratio.abs() < math.log(AGREE), 0.0).exp()


def cost_of_joining(
    images: Float[Tensor, "n 3 h w"],
    depth: Float[Tensor, "n 1 h w"],
    static_depth: Float[Tensor, "n 1 h w"],
    T_next_tgt: Float[Tensor, "m 4 4"],
    K: Float[Tensor, "1 3 3"],
    frame_stride: int = 1,
) -> float:
    """What `join` adds to the mean cost of the pixels that it changes; below 0, the views support it.

    Which of two networks is better on static pixels depends on the world. JUDGED frames in the middle tell it without
    any truth, each depth with motions refined for it. Arguments as of `label_clip`; images as large as the depth.
    """
    middle = len(depth) // 2
    judged = range(max(0, middle - JUDGED // 2), min(len(depth), middle + JUDGED // 2))
    joined, one = join(depth, static_depth), depth.new_ones(1)
    changed = (joined != depth)[judged.start : judged.stop]
    if not changed.any():
        return 0.0
    before, after = (
        sweep_costs(images, start, K, chain_motions(T_next_tgt, frame_stride), one, judged)[0][changed].mean()
        for start in (depth, joined)
    )
    return (after - before).item()


def chain_motions(T_next_tgt: Float[Tensor, "m 4 4"], frame_stride: int) -> Motions:
    """Motions over DISTANCES, forward and backward; each is chained from two of half its length."""
    motions, T = {}, T_next_tgt.double()
    for k in DISTANCES:
        d = k * frame_stride
        if len(T):
            motions |= {d: T.float(), -d: inverse(T).float()}
        T = T[d:] @ T[:-d] if len(T) > d else T[:0]
    return motions


class Pairs(NamedTuple):
    """Frames of a batch that have a neighbour at one distance."""

    frames: slice  # of the clip
    neighbours: slice  # of the clip
    inside: slice  # their places in the batch
    motions: slice  # and among the motions


def pairs_of(batch: range, distance: int, count: int) -> Pairs:
    """The pairs of a clip with `count` frames."""
    first = max(batch.start, -distance)
    last = max(first, min(batch.stop, count - distance))
    earliest = max(0, -distance)  # the first frame of the clip that has such a neighbour
    shifted = (slice(first - by, last - by) for by in (0, -distance, batch.start, earliest))
    return Pairs(*shifted)


def sweep_clip(
    images: Float[Tensor, "n 3 h w"],
    depth: Float[Tensor, "n 1 h w"],
    K: Float[Tensor, "1 3 3"],
    motions: Motions,
    factors: Float[Tensor, " k"],
) -> tuple[Float[Tensor, "n 1 h w"], Float[Tensor, "n 1 h w"], Float[Tensor, " n"], Motions]:
    """One sweep over `factors` times the depth.

    Returns the depth after it, its confidence, the parallax of each frame in pixels, and the refined motions.
    """
    motions = {distance: T.clone() for distance, T in motions.items()}
    size = max(1, BATCH_PIXELS // images[0, 0].numel())
    batches = [range(first, min(first + size, len(images))) for first in range(0, len(images), size)]
    swept = [sweep_frames(images, depth, K, motions, factors, batch) for batch in batches]
    depths, confidence, parallax = (torch.cat(parts) for parts in zip(*swept, strict=True))
    return depths, confidence, parallax, motions


def sweep_frames(
    images: Tensor, depth: Tensor, K: Tensor, motions: Motions, factors: Tensor, batch: range
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"], Float[Tensor, " b"]]:
    """`sweep_clip` of a batch of its frames, whose refined motions are written into `motions`."""
    cost, parallax = sweep_costs(images, depth, K, motions, factors, batch)
    return *fuse(depth[batch.start : batch.stop], *sharpest_minimum(cost, factors)), parallax


def sweep_costs(
    images: Float[Tensor, "n 3 h w"],
    depth: Float[Tensor, "n 1 h w"],
    K: Float[Tensor, "1 3 3"],
    motions: Motions,
    factors: Float[Tensor, " k"],
    batch: range,
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, " b"]]:
    """The cost of every depth tried of a batch of frames, and their parallax; writes refined motions into `motions`."""
    grey = images.mean(1, keepdim=True)
    cost, seen = (depth.new_zeros(len(factors), len(batch), *depth.shape[1:]) for _ in range(2))
    parallax = depth.new_zeros(len(batch))
    for distance, T_all in motions.items():
        pairs = pairs_of(batch, distance, len(images))
        d, tgt, src = depth[pairs.frames], grey[pairs.frames], grey[pairs.neighbours]
        if not len(d):
            continue
        K_all = K.expand(len(d), -1, -1)
        T = T_all[pairs.motions] = settled_motion(tgt, src, d, K_all, T_all[pairs.motions])
        statistics = window_statistics(tgt)
        warps = [reproject(d * factor, K_all, T) for factor in factors]
        for k, (pixels, _, valid) in enumerate(warps):
            error = photometric_error(sample(src, pixels), tgt, y_statistics=statistics).clamp(max=LARGEST_ERROR)
            cost[k, pairs.inside] += error * valid
            seen[k, pairs.inside] += valid
        parallax[pairs.inside] = torch.maximum(parallax[pairs.inside], displacement(warps[0], warps[-1]))
    cost = torch.where(seen > 0, cost / seen.clamp(min=1), LARGEST_ERROR)[:, :, 0].transpose(0, 1)
    return box(cost, COST_RADIUS), parallax


def settled_motion(
    tgt: Float[Tensor, "b 1 h w"],
    src: Float[Tensor, "b 1 h w"],
    depth: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
) -> Float[Tensor, "b 4 4"]:
    """The motion after direct refinement, continued only for the pairs whose motion it still changes by pixels.

    The motion of a hand-held camera needs that. A motion that is nearly right must not be refined to the end: it would
    fit the errors of the depth.
    """
    T, left = T_src_tgt.clone(), torch.arange(len(T_src_tgt), device=T_src_tgt.device)
    for _ in range(POSE_ROUNDS):
        d, k, start = depth[left], K[left], T[left]
        refined = T[left] = refine_pose(tgt[left], src[left], d, k, start, iterations=POSE_STEPS, stride=2)
        change = (reproject(d, k, refined)[0] - reproject(d, k, start)[0]).norm(dim=1)
        left = left[change.flatten(1).median(1).values > SETTLED]
        if not len(left):
            break
    return T


def depths_tried(count: int, span: float, device: torch.device | str = "cpu") -> Float[Tensor, " k"]:
    """Factors to the depth swept around: even in logarithm, from 1 / `span` to `span`."""
    return torch.linspace(-math.log(span), math.log(span), count, device=device).exp()


def displacement(near: tuple[Tensor, Tensor, Tensor], far: tuple[Tensor, Tensor, Tensor]) -> Float[Tensor, " b"]:
    """Median distance in pixels of where two depths put a target's pixels; 0 for those that leave the image."""
    (pixels, _, valid), (others, _, others_valid) = near, far
    distance = (pixels - others).norm(dim=1, keepdim=True).where(valid & others_valid, 0.0)
    return distance.flatten(1).median(1).values


def sharpest_minimum(
    cost: Float[Tensor, "b k h w"], factors: Float[Tensor, " k"]
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Log of the factor to the depth swept around with each pixel's smallest cost, and the cost's curvature there.

    A parabola through the smallest cost and its neighbours gives the place between two hypotheses.
    """
    best = cost.argmin(1, keepdim=True).clamp(1, len(factors) - 2)
    left, middle, right = (cost.gather(1, best + k) for k in (-1, 0, 1))
    curvature = (left + right - 2 * middle).clamp(min=0)
    offset = ((left - right) / (2 * curvature).clamp(min=1e-6)).clamp(-0.5, 0.5)
    first, second = factors[:2].log().tolist()
    return first + (best + offset) * (second - first), curvature


def fuse(
    depth: Float[Tensor, "b 1 h w"], change: Float[Tensor, "b 1 h w"], curvature: Float[Tensor, "b 1 h w"]
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """The depth after the sweep's changes, averaged over a window by their confidence, and the confidence."""
    typical = curvature.flatten(1).median(1).values.view(-1, 1, 1, 1)
    confidence = curvature / (curvature + typical).clamp(min=1e-12)
    mean = box(confidence * change, MEAN_RADIUS) / (box(confidence, MEAN_RADIUS) + STAY)
    return depth * mean.exp(), confidence


def bound_by_prior(
    depth: Float[Tensor, "n 1 h w"], prior: Float[Tensor, "n 1 h w"], confidence: Float[Tensor, "n 1 h w"]
) -> Float[Tensor, "n 1 h w"]:
    """Depth that is within BOUNDS of the prior where the views are UNSURE, as they are of what moves.

    Seen by a moving camera, what comes towards it looks too near, and what drives ahead too far. There the views
    disagree, so their cost has no sharp minimum. Where it has one, they know better than the prior, which is brought
    to the scale of each image's confident pixels.
    """
    aligned, (nearer, farther) = at_scale_of(depth, prior, confidence > 0.5), BOUNDS
    unsure = box(confidence, MEAN_RADIUS) < UNSURE
    return torch.where(unsure, depth.clamp(aligned / nearer, aligned * farther), depth)


def consistency(
    depth: Float[Tensor, "n 1 h w"], K: Float[Tensor, "n 3 3"], motions: Motions, frame_stride: int
) -> Bool[Tensor, "n 1 h w"]:
    """Where a frame's depth agrees with that of the next or the previous frame; their scales may differ."""
    agree = torch.zeros_like(depth, dtype=torch.bool)
    for distance in (frame_stride, -frame_stride):
        if distance in motions:
            pairs = pairs_of(range(len(depth)), distance, len(depth))
            pixels, moved, valid = reproject(depth[pairs.frames], K[pairs.frames], motions[distance])
            ratio = centred_log_ratio(sample(depth[pairs.neighbours], pixels), moved, valid)
            agree[pairs.frames] |= valid & (ratio.abs() < CONSISTENT)
    return agree


def resize(depth: Float[Tensor, "n 1 _ _"], size: tuple[int, ...]) -> Float[Tensor, "n 1 h w"]:
    """Bilinear resize of a depth map."""
    return depth if depth.shape[-2:] == size else F.interpolate(depth, size, mode="bilinear", align_corners=False)


def shrink(
    depth: Float[Tensor, "n 1 _ _"], mask: Bool[Tensor, "n 1 _ _"], size: tuple[int, int]
) -> tuple[Float[Tensor, "n 1 h w"], Bool[Tensor, "n 1 h w"]]:
    """Labels at a smaller size: each pixel takes the label nearest to its centre, since means of depth cross edges."""
    small, kept = (F.interpolate(x.to(depth), size, mode="nearest-exact").to(x.dtype) for x in (depth, mask))
    return small, kept


def box(x: Float[Tensor, "n c h w"], radius: int) -> Float[Tensor, "n c h w"]:
    """Mean over a window of 2 radius + 1 pixels, borders repeated; one direction after the other."""
    width = 2 * radius + 1
    x = F.avg_pool2d(F.pad(x, (radius, radius, 0, 0), mode="replicate"), (1, width), 1)
    return F.avg_pool2d(F.pad(x, (0, 0, radius, radius), mode="replicate"), (width, 1), 1)
