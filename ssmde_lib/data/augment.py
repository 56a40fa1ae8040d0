"""Augmentation of a whole batch on its device: mirroring (with the intrinsics) and colour jitter, drawn per triplet."""

from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FRAMES = ("tgt", "prev", "next")
MAPS = ("relative_depth", "teacher_depth", "teacher_mask")
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def augment(batch: dict, generator: torch.Generator, flip: float = 0.5, jitter: float = 0.5) -> dict:
    """The batch, some triplets mirrored, with colour-jittered copies for the networks' input.

    The copies are `tgt_aug, prev_aug, next_aug`.

    batch: `tgt, prev, next` float b 3 h w in [0, 1], `K` b 3 3 pixels, optionally `relative_depth, teacher_depth,
    teacher_mask` b 1 h w, which are mirrored along. `flip` and `jitter` are the probabilities a triplet. Losses compare
    the clean frames: the jitter is there for the networks alone (Godard et al. 2019, section 4).
    """
    draw = torch.rand(6, len(batch["K"]), generator=generator, device=generator.device)
    batch = mirror(batch, draw[0] < flip)
    draw = draw.to(batch["tgt"].device)
    mean = torch.stack([batch[name].mean((2, 3)) for name in FRAMES]).mean(0)  # b 3, one for the triplet
    matrix, offset = colour_transform(draw[2:], mean, draw[1] < jitter)
    for name in FRAMES:
        jittered = torch.baddbmm(offset[:, None, None], matrix, batch[name].flatten(2))  # b 3 hw
        batch[f"{name}_aug"] = jittered.clamp_(0, 1).view_as(batch[name])
    return batch


def mirror(batch: dict, mirrored: Bool[Tensor, " b"]) -> dict:
    """A copy of the batch with the chosen triplets mirrored left to right: images, maps and intrinsics alike."""
    batch, width, mirrored = dict(batch), batch["tgt"].shape[-1], mirrored.to(batch["K"].device)
    column = torch.arange(width, device=mirrored.device)
    taken = torch.where(mirrored[:, None], width - 1 - column, column)[:, None, None]  # b 1 1 w
    for name in (*FRAMES, *MAPS):
        if name in batch:
            batch[name] = batch[name].gather(-1, taken.expand_as(batch[name]))
    K = batch["K"].clone()
    K[:, 0, 2] = torch.where(mirrored, width - 1 - K[:, 0, 2], K[:, 0, 2])
    return batch | {"K": K}


@cache
def yiq(device: torch.device) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3 3"]]:
    """From RGB to YIQ and back; kept, since a copy to the device is waited for."""
    to_yiq = torch.tensor(RGB_TO_YIQ, device="cpu")
    return to_yiq.to(device), torch.linalg.inv(to_yiq).to(device)


def colour_transform(
    draw: Float[Tensor, "4 b"], mean: Float[Tensor, "b 3"], jittered: Bool[Tensor, " b"]
) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, " b"]]:
    """Random brightness, contrast, saturation (0.8 to 1.2) and hue (±0.1 turns), as `matrix @ rgb + offset`.

    Contrast stretches about the grey of the mean colour; hue rotates the chroma plane of YIQ. All are affine, so that
    the whole jitter is one product a batch. Where not `jittered`, the identity.
    """
    factors = torch.where(jittered, 0.8 + 0.4 * draw[:3], 1.0)
    brightness, contrast, saturation = factors
    angle = torch.where(jittered, 0.2 * torch.pi * (2 * draw[3] - 1), 0.0)
    cos, sin, one, zero = (
        saturation * angle.cos(),
        saturation * angle.sin(),
        torch.ones_like(angle),
        torch.zeros_like(angle),
    )
    chroma = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos]).T.reshape(-1, 3, 3)
    to_yiq, to_rgb = yiq(draw.device)
    matrix = brightness[:, None, None] * (to_rgb @ chroma @ to_yiq)
    grey = ((to_yiq[0] @ matrix) * mean).sum(1)  # b
    return contrast[:, None, None] * matrix, (1 - contrast) * grey
