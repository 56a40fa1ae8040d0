"""Augmentation of mixture views, batched on the device: geometry with its intrinsics, resolution, colour, noise."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b 3 h w"]


def augment(
    images: Images,
    depths: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    size: tuple[int, int],
    lowest: float = 0.5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Random crops, aspects and flips at `size` with the intrinsics that belong to them.

    Then blur, colour and noise on the images alone; they are coarsened to `lowest` of `size` at most.
    """
    images, depths, K = crop(images, depths, K, size)
    return photograph(coarsen(images, lowest)), depths, K


def crop(
    images: Images, depths: Tensor, K: Tensor, size: tuple[int, int], smallest: float = 0.75
) -> tuple[Tensor, Tensor, Tensor]:
    """A random window of each image, half of them mirrored, resampled to `size`.

    Colour bilinearly, depth by the nearest pixel.
    """
    b, device = len(images), images.device
    h, w = images.shape[-2:]
    zoom = torch.empty(b, 2, device=device).uniform_(smallest, 1)
    zoom[:, 1] = (zoom[:, 0] * torch.empty(b, device=device).uniform_(0.8, 1.25)).clamp(smallest, 1)
    centre = (1 - zoom) * torch.empty(b, 2, device=device).uniform_(-1, 1)  # of the window, in [-1, 1]
    mirror = torch.where(torch.rand(b, device=device) < 0.5, -1.0, 1.0)
    window = torch.zeros(b, 2, 3, device=device)
    window[:, 0, 0], window[:, 1, 1], window[:, :, 2] = zoom[:, 0] * mirror, zoom[:, 1], centre
    grid = F.affine_grid(window, [b, 1, *size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    depths = F.grid_sample(depths, grid, mode="nearest", padding_mode="border", align_corners=False)
    K = K.clone()
    for axis, (old, new) in enumerate(((w, size[1]), (h, size[0]))):
        turn = mirror if axis == 0 else 1.0
        scale = new / (zoom[:, axis] * old) * turn  # new pixel = scale (old pixel + 0.5) + shift - 0.5
        middle = (K[:, axis, 2] + 0.5) / old * 2 - 1  # the principal point in the old image, in [-1, 1]
        K[:, axis, 2] = ((middle - centre[:, axis]) / (zoom[:, axis] * turn) + 1) / 2 * new - 0.5
        K[:, axis, axis] *= scale.abs()
    return images, depths, K


def coarsen(images: Images, lowest: float) -> Images:
    """Half of the batch as if taken at a lower resolution."""
    h, w = images.shape[-2:]
    low = [max(16, int(side * float(torch.empty((), device="cpu").uniform_(lowest, 1)))) for side in (h, w)]
    half = len(images) // 2
    coarse = F.interpolate(images[:half], low, mode="bilinear", antialias=True, align_corners=False)
    return torch.cat([F.interpolate(coarse, (h, w), mode="bilinear", align_corners=False), images[half:]])


def photograph(images: Images) -> Images:
    """Random exposure, contrast, gamma, white balance, saturation, channel order and noise.

    The colours of the mixture have no meaning.
    """
    b, device = len(images), images.device

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(b, channels, 1, 1, device=device).uniform_(low, high)

    swapped = images[:, torch.randperm(3, device=device)]
    images = torch.where(draw(0, 1) < 0.3, swapped, images)
    grey = images.mean(1, keepdim=True)
    images = grey + draw(0, 1.5) * (images - grey)
    level = images.mean((1, 2, 3), keepdim=True).clamp(min=0.02)
    exposure = torch.where(
        draw(0, 1) < 0.6, draw(0.25, 0.6) / level, draw(0.6, 1.5)
    )  # most cameras expose for the mean
    images = images * exposure.clamp(max=6) * draw(0.85, 1.15, 3)
    images = images.clamp(0, 1).pow(draw(-0.3, 0.3).exp())
    images = 0.5 + draw(0.7, 1.2) * (images - 0.5) + draw(-0.08, 0.08)
    noise = torch.randn_like(images) * (draw(0, 1) - 0.3).clamp(min=0) * 0.05
    return (images + noise).clamp(0, 1)
