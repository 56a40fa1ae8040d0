"""The light pose network: six numbers of relative motion from a pair of frames.

Its input is the change of brightness between the frames beside the slope of the brightness.

Zhou et al. (2017) stack the frames and leave it to convolutions to find what moved where. A small network learns that
slowly, and while motion is wrong, depth learns to excuse it. A turn of a fifth of a degree moves every pixel by less
than half: too little for a search of the best match, but not for calculus. A slope g of brightness that moves by u
changes the brightness of a pixel by -g u (Horn and Schunck 1981); products of slopes and changes, from which Lucas and
Kanade (1981) compute u, are what this network sees, at three scales, since the equation holds for motions of about a
pixel. The pixel's place stands beside: the same flow means a turn in the middle and a drive at the border.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.geometry.camera import pixel_grid

FEATURES = 32  # of each scale, all at a quarter of the resolution
LARGEST = 96  # rows or columns of the shorter side; larger frames are halved until it fits, as motion is global
MULTIPLE = 8  # of the sides, so that the scales meet
NOISE = 2.5e-4  # squared slope of brightness below which there is nothing to follow
BOUND = 3.0  # of the equations' entries, in slopes of their neighbourhood: brightness that jumps obeys no slope


class PoseNet(nn.Module):
    """A small CNN on the motion equations of two frames."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.architecture = {"width": width}
        self.scales = nn.ModuleList(
            [
                nn.Sequential(block(6, FEATURES // 2, 5), block(FEATURES // 2, FEATURES, 5)),
                block(6, FEATURES, 5),
                block(6, FEATURES, 5, stride=1),
            ]
        )
        self.body = nn.Sequential(
            block(3 * FEATURES + 2, 2 * width, 3), block(2 * width, 2 * width, 3), block(2 * width, 4 * width, 3)
        )
        self.head = nn.Conv2d(4 * width, 6, 1)

    def forward(self, tgt: Float[Tensor, "b 3 h w"], src: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 6"]:
        """Axis-angle and translation of T_src_tgt, scaled by 0.01 so that training starts near standstill."""
        grey = small(torch.stack([tgt.mean(1), src.mean(1)], 1))  # b 2 h w
        features = []
        for scale in self.scales:
            features.append(scale(motion_equations(*grey.split(1, 1))))
            grey = F.avg_pool2d(grey, 2)
        seen = self.body(torch.cat([*features, coordinate_channels(features[0])], 1))
        with torch.autocast(seen.device.type, enabled=False):
            return 0.01 * self.head(seen.float()).mean((2, 3))


def block(inputs: int, outputs: int, kernel: int, stride: int = 2) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def small(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    """Halved until the shorter side is at most LARGEST, both sides multiples of MULTIPLE."""
    factor = 1
    while min(images.shape[-2:]) > factor * LARGEST:
        factor *= 2
    size = [max(1, round(side / (factor * MULTIPLE))) * MULTIPLE for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="area") if size != list(images.shape[-2:]) else images


def motion_equations(tgt: Float[Tensor, "b 1 h w"], src: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 6 h w"]:
    """Motion equations of each pixel, g·u = -d, for its small motion u from target to source.

    The channels are g_x², g_x g_y, g_y², g_x d, g_y d and d itself.

    g is the slope of the brightness, d its change from target to source, both smoothed over 3x3 pixels; all are divided
    by the mean slope around. Summed over a window, the first five are the normal equations of Lucas and Kanade (1981).
    """
    tgt, src = (F.avg_pool2d(x, 3, 1, 1) for x in (tgt, src))
    d, mean = src - tgt, (src + tgt) / 2
    x = F.pad(mean[..., 2:] - mean[..., :-2], (1, 1)) / 2
    y = F.pad(mean[..., 2:, :] - mean[..., :-2, :], (0, 0, 1, 1)) / 2
    energy = F.avg_pool2d(x * x + y * y, 5, 1, 2) + NOISE
    return torch.cat(
        [x * x / energy, x * y / energy, y * y / energy, x * d / energy, y * d / energy, d / energy.sqrt()], 1
    ).clamp(-BOUND, BOUND)


def coordinate_channels(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
    """Pixel coordinates from the image's centre, in half widths."""
    height, width = x.shape[-2:]
    across, down = pixel_grid(height, width, device=x.device, dtype=x.dtype)
    centred = torch.stack([across - (width - 1) / 2, down - (height - 1) / 2])
    return (centred / (width / 2)).expand(len(x), -1, -1, -1)
