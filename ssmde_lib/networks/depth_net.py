"""The depth network: residual encoder and U-Net decoder with disparity heads at four scales.

The design is that of Monodepth2 (2019).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.networks.efficientnet import EfficientNetLite0Encoder
from ssmde_lib.networks.resnet import ResNetEncoder

DECODER_CHANNELS = (16, 32, 64, 128, 256)  # at 1/1, 1/2, … 1/16, for width 64


class ReflectedConv(nn.Conv2d):
    """3x3 convolution with reflected borders; maps of one row or column, which have nothing to reflect, repeat it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the maps with their borders."""
        return super().forward(F.pad(x, (1, 1, 1, 1), mode="reflect" if min(x.shape[-2:]) > 1 else "replicate"))


class ConvBlock(nn.Sequential):
    """Convolution with reflected borders, then ELU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(ReflectedConv(inputs, outputs), nn.ELU(inplace=True))


class DenseSkip(nn.Module):
    """All encoder stages, projected and resized to one decoder stage's resolution, summed.

    Xiang et al. 2024, in our reading.
    """

    def __init__(self, inputs: Sequence[int], outputs: int):
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(c, outputs, 1) for c in inputs)

    def forward(self, features: list[Tensor], size: torch.Size) -> Tensor:
        """The sum of all stages at `size` (h, w)."""
        resized = [
            F.interpolate(project(feature), size, mode="bilinear", align_corners=False)
            for project, feature in zip(self.project, features, strict=True)
        ]
        return torch.stack(resized).sum(0)


class DepthNet(nn.Module):
    """Images to disparities in (0, 1) at `scales` resolutions.

    `width` scales all channels (64 is ResNet's own); `skips` is "unet" or "dense"; `upsample` is "nearest" (Monodepth2)
    or "bilinear" (SC-Depth). `depth` turns disparity into depth between `min_depth` and `max_depth`: 1 / (a disparity +
    b), which is 1 / (10 disparity + 0.01) for the defaults (SC-Depth).
    """

    def __init__(
        self,
        layers: int = 18,
        width: int = 64,
        scales: int = 4,
        skips: str = "unet",
        min_depth: float = 0.1,
        max_depth: float = 100.0,
        upsample: str = "nearest",
        encoder: str = "resnet",
    ):
        super().__init__()
        self.architecture = {
            "layers": layers,
            "width": width,
            "scales": scales,
            "skips": skips,
            "min_depth": min_depth,
            "max_depth": max_depth,
            "upsample": upsample,
            "encoder": encoder,
        }
        self.encoder = EfficientNetLite0Encoder() if encoder == "efficientnet_lite0" else ResNetEncoder(layers, width)
        self.upsample = nn.Upsample(scale_factor=2, mode=upsample)
        channels = [c * width // 64 for c in DECODER_CHANNELS]
        enc = self.encoder.channels
        below = [*channels[1:], enc[-1]]
        skip = [0, *enc[:-1]]
        self.before = nn.ModuleList(ConvBlock(below[i], channels[i]) for i in range(5))
        self.after = nn.ModuleList(ConvBlock(channels[i] + skip[i], channels[i]) for i in range(5))
        self.heads = nn.ModuleList(ReflectedConv(channels[i], 1) for i in range(scales))
        self.dense = nn.ModuleList(DenseSkip(enc, skip[i]) for i in range(1, 5)) if skips == "dense" else None

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b 1 _ _"]]:
        """Disparities, finest first, at 1/2^s of the input's size; sides must be divisible by 32."""
        features = self.encoder((images - 0.45) / 0.225)
        x, disparities = features[-1], []
        for i in reversed(range(5)):
            x = self.upsample(self.before[i](x))
            if i > 0:
                skip = features[i - 1] if self.dense is None else self.dense[i - 1](features, x.shape[-2:])
                x = torch.cat([x, skip], 1)
            x = self.after[i](x)
            if i < len(self.heads):
                disparities.insert(0, self.disparity(self.heads[i], x))
        return disparities

    @staticmethod
    def disparity(head: nn.Module, x: Tensor) -> Tensor:
        """A head's output in (0, 1)."""
        # Eight bits of mantissa are too few for the output: the heads stay in float32 under autocast.
        with torch.autocast(x.device.type, enabled=False):
            return torch.sigmoid(head(x.float()))

    def depth(self, disparity: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """Depth between min_depth and max_depth."""
        near, far = 1 / self.architecture["min_depth"], 1 / self.architecture["max_depth"]
        return 1 / ((near - far) * disparity + far)
