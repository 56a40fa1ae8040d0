"""Test-time augmentation: a network of few input sizes applied to images of any size, in one pass or by crops."""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.networks.leres import preprocess

WINDOW = 0.7  # of the picture's sides
FEATHER = 0.15  # of the window's sides, over which its weight rises from its border
Images = Float[Tensor, "b 3 h w"]
Maps = Float[Tensor, "b 1 h w"]


class SinglePass(nn.Module):
    """Relative depth of images by one pass.

    Images are resized to the nearest shape of `sizes` (h, w), the output is made relative and resized back.
    """

    def __init__(self, net: nn.Module, sizes: list[tuple[int, int]], to_relative: Callable[[Tensor], Tensor]):
        super().__init__()
        self.net, self.sizes, self.to_relative = net, sizes, to_relative

    def forward(self, images: Images) -> Maps:
        """Relative depth at the images' size."""
        output = self.net(preprocess(images, nearest_shape(self.sizes, images.shape[-2:]))).float()
        return resize(self.to_relative(output), images)


class FlipAverage(nn.Module):
    """A network's mean output of a picture and of its mirror image: errors that depend on left and right cancel."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """The mean of both outputs."""
        return (self.net(images) + self.net(images.flip(-1)).flip(-1)) / 2


class MultiCrop(nn.Module):
    """Relative depth of images as the mean over crops, by a network of log-depth.

    The whole image is processed in the nearest shape of `sizes` and in the taller ones, and four overlapping windows
    show the content 1.4 times as large. The log-depth of a window is aligned by a constant to the mean of the whole
    image there. Independent errors average out; Miangoleh et al. (2021) extend the idea to many patches.
    """

    def __init__(self, net: nn.Module, sizes: list[tuple[int, int]]):
        super().__init__()
        self.net, self.sizes = net, sizes

    def forward(self, images: Images) -> Maps:
        """Relative depth at the images' size."""
        own = nearest_shape(self.sizes, images.shape[-2:])
        whole = torch.stack([self.look(images, size) for size in self.sizes if size[0] >= own[0]]).mean(0)
        total, weights = whole.clone(), torch.ones_like(whole)
        for window in windows(*images.shape[-2:]):
            near = self.look(images[window], own)
            near = near + (whole[window] - near).mean((2, 3), keepdim=True)
            weight = feather(*near.shape[-2:]).to(near)
            total[window] += weight * near
            weights[window] += weight
        return (total / weights).exp()

    def look(self, images: Images, size: tuple[int, int]) -> Maps:
        """Log-depth of pictures squashed to `size`, at their own size."""
        return resize(self.net(preprocess(images, size)).float(), images)


def resize(maps: Float[Tensor, "b 1 _ _"], images: Images) -> Maps:
    """To the images' size."""
    return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)


def nearest_shape(sizes: list[tuple[int, int]], size: tuple[int, ...]) -> tuple[int, int]:
    """The one of `sizes` (h, w) to which `size` is squashed least."""
    return min(sizes, key=lambda known: abs(math.log(known[1] * size[0] / (known[0] * size[1]))))


def windows(height: int, width: int) -> Iterator[tuple]:
    """Indices "b c h w" of the four windows in a picture's corners."""
    for rows in (slice(0, round(WINDOW * height)), slice(height - round(WINDOW * height), height)):
        for columns in (slice(0, round(WINDOW * width)), slice(width - round(WINDOW * width), width)):
            yield (..., rows, columns)


def feather(height: int, width: int) -> Float[Tensor, "h w"]:
    """1 inside, falling linearly towards the border, so that a window leaves no seam."""

    def ramp(n: int) -> Tensor:
        middle = torch.arange(n, device="cpu") + 0.5
        return (torch.minimum(middle, n - middle) / (FEATHER * n)).clamp(max=1)

    return ramp(height)[:, None] * ramp(width)
