"""Means over part of an image that stay finite where nothing is left."""

from jaxtyping import Bool, Float
from torch import Tensor


def masked_mean(x: Float[Tensor, "*s"], mask: Bool[Tensor, "*s"] | Float[Tensor, "*s"]) -> Float[Tensor, ""]:
    """Mean of x where the mask is set, 0 for an empty mask; x must be finite everywhere."""
    return (x * mask).sum() / mask.sum().clamp(min=1)
