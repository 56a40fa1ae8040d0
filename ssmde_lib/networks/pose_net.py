"""The light pose network: six numbers of relative motion from a pair of frames, by way of their correlation.

Zhou et al. (2017) stack the frames and leave it to convolutions to find what moved where. A small network learns that slowly, and
while motion is wrong, depth learns to excuse it. Here local features of both frames are compared at every small displacement (the cost
volume of optical flow networks, Dosovitskiy et al. 2015), and the pixel's place in the image stands beside: the same flow means a turn in the middle and
a drive at the border.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.camera import pixel_grid

FEATURES = 16
RADIUS = 4  # of the displacements compared, in feature pixels: 16 image pixels
LARGEST = 96  # rows or columns of the shorter side; larger frames are halved until it fits, as motion is global


class PoseNet(nn.Module):
    """A small CNN on the correlation of two frames."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.architecture = {"width": width}
        self.features = nn.Sequential(block(3, FEATURES, 7), block(FEATURES, FEATURES, 5))
        correlated = (2 * RADIUS + 1) ** 2 + FEATURES + 2
        self.body = nn.Sequential(block(correlated, 2 * width, 3), block(2 * width, 2 * width, 3), block(2 * width, 4 * width, 3))
        self.head = nn.Conv2d(4 * width, 6, 1)

    def forward(self, tgt: Float[Tensor, "b 3 h w"], src: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 6"]:
        """Axis-angle and translation of T_src_tgt, scaled by 0.01 so that training starts near standstill."""
        pair = torch.cat([tgt, src])
        while min(pair.shape[-2:]) > LARGEST:
            pair = F.avg_pool2d(pair, 2)
        of_tgt, of_src = self.features((pair - 0.45) / 0.225).chunk(2)
        seen = torch.cat([correlation(of_tgt, of_src), of_tgt, places(of_tgt)], 1)
        features = self.body(seen)
        with torch.autocast(features.device.type, enabled=False):
            return 0.01 * self.head(features.float()).mean((2, 3))


def block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution with stride 2, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def correlation(x: Float[Tensor, "b c h w"], y: Float[Tensor, "b c h w"], radius: int = RADIUS) -> Float[Tensor, "b n h w"]:
    """Cosine of each feature of x with those of y around its place, n = (2 radius + 1)²; 0 outside of the image."""
    height, width = x.shape[-2:]
    x, y = F.normalize(x, dim=1), F.pad(F.normalize(y, dim=1), (radius,) * 4)
    shifts = range(2 * radius + 1)
    return torch.stack([(x * y[..., i : i + height, j : j + width]).sum(1) for i in shifts for j in shifts], 1)


def places(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
    """Pixel coordinates from the image's centre, in half widths."""
    height, width = x.shape[-2:]
    centre = x.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    return ((pixel_grid(height, width, device=x.device, dtype=x.dtype) - centre) / (width / 2)).expand(len(x), -1, -1, -1)
