"""What a training step sees: triplets as floats on the device, augmented."""

from typing import NotRequired, TypedDict, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.data.augment import FRAMES, augment


class Batch(TypedDict):
    """Triplets on the device; frames in [0, 1], RGB."""

    tgt: Float[Tensor, "b 3 h w"]
    prev: Float[Tensor, "b 3 h w"]
    next: Float[Tensor, "b 3 h w"]
    tgt_aug: Float[Tensor, "b 3 h w"]  # colour-jittered, for the networks alone: losses compare the clean frames
    prev_aug: Float[Tensor, "b 3 h w"]
    next_aug: Float[Tensor, "b 3 h w"]
    K: Float[Tensor, "b 3 3"]  # pixels of the frames' size
    relative_depth: NotRequired[Float[Tensor, "b 1 h w"]]  # the prior's, far is large
    teacher_depth: NotRequired[Float[Tensor, "b 1 h w"]]  # a label, up to scale
    teacher_mask: NotRequired[Bool[Tensor, "b 1 h w"]]  # where the label counts


def prepare_batch(items: dict[str, Tensor], generator: torch.Generator) -> Batch:
    """The items of `data.Triplets` (frames uint8), collated and on the device, as floats and augmented."""
    return cast(Batch, augment(items | {name: items[name].float() / 255 for name in FRAMES}, generator))
