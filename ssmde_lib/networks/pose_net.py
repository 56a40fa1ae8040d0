"""The light pose network: six numbers of relative motion from a pair of frames (Zhou et al. 2017, with batch norm)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PoseNet(nn.Module):
    """A small CNN on a concatenated pair, seen at half resolution (motion is global; it costs a quarter)."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.architecture = {"width": width}
        channels = [6, width // 2, width, 2 * width, 4 * width, 8 * width]
        kernels = [7, 5, 3, 3, 3]
        blocks = []
        for inputs, outputs, kernel in zip(channels, channels[1:], kernels, strict=False):
            blocks += [nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Conv2d(channels[-1], 6, 1)

    def forward(self, tgt: Float[Tensor, "b 3 h w"], src: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 6"]:
        """Axis-angle and translation of T_src_tgt, scaled by 0.01 so that training starts near standstill."""
        pair = F.interpolate(torch.cat([tgt, src], 1), scale_factor=0.5, mode="bilinear", align_corners=False, antialias=True)
        features = self.body((pair - 0.45) / 0.225)
        with torch.autocast(features.device.type, enabled=False):
            return 0.01 * self.head(features.float()).mean((2, 3))
