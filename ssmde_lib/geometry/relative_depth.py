"""Comparing depths that share no scale."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CONFIDENT = 1.15  # ratio of relative depths from which their order is trusted
SMALLEST = 1e-6  # of depth inside of a logarithm


def log_ratio(depth: Float[Tensor, "b ..."], other: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """log depth - log other."""
    return depth.clamp(min=SMALLEST).log() - other.clamp(min=SMALLEST).log()


def centred_log_ratio(
    depth: Float[Tensor, "b ..."], other: Float[Tensor, "b ..."], mask: Bool[Tensor, "b ..."] | None = None
) -> Float[Tensor, "b ..."]:
    """The log ratio without each image's median over `mask` (0 where that is empty): invariant to scale.

    The median has no gradient.
    """
    ratio = log_ratio(depth, other)
    counted = ratio.detach() if mask is None else ratio.detach().masked_fill(~mask, torch.nan)
    median = counted.flatten(1).nanmedian(1).values.nan_to_num()
    return ratio - median.view(-1, *[1] * (ratio.ndim - 1))


def at_scale_of(
    depth: Float[Tensor, "b ..."], relative_depth: Float[Tensor, "b ..."], mask: Bool[Tensor, "b ..."] | None = None
) -> Float[Tensor, "b ..."]:
    """The relative depth, brought to the scale of `depth` by each image's median ratio over `mask`."""
    return depth * (-centred_log_ratio(depth, relative_depth, mask)).exp()
