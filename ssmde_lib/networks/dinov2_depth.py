"""Depth from frozen DINOv2 tokens by a light convolutional decoder.

The design follows DPT (Ranftl et al. 2021) and Depth Anything V2 (Yang et al. 2024); the decoder is much smaller.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.networks.dinov2 import PATCH, WIDTH, DinoV2
from ssmde_lib.networks.leres import conv3x3, preprocess

PICTURE = 16  # pixels a token, a side, of the picture that the network takes
OUTPUT = 8  # of the log-depth that it returns


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = conv3x3(channels, channels), conv3x3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """The input with what the two convolutions add."""
        return x + self.conv2(F.gelu(self.conv1(F.gelu(x))))


class DepthHead(nn.Module):
    """Tokens of blocks 3, 6, 9 and 12 and the picture to log-depth up to a constant; 0.72 million parameters.

    Blocks 9 and 12 and the class token are joined at one pixel a token a side. Block 6 enters at two pixels, block 3 at
    four; strided convolutions of the picture enter at four and at eight, where the output is made.
    `channels` are those of the four resolutions.
    """

    def __init__(self, channels: Sequence[int] = (96, 80, 56, 28)):
        super().__init__()
        self.architecture = {"channels": list(channels)}
        one, two, four, eight = channels
        self.taps = nn.ModuleList(nn.Conv2d(WIDTH, width, 1) for width in (four, two, one, one))
        self.whole = nn.Linear(WIDTH, one)
        self.refine1, self.refine2, self.refine4 = (
            nn.Sequential(Residual(one), Residual(one)),
            Residual(two),
            Residual(four),
        )
        self.up2, self.up4, self.up8 = nn.Conv2d(one, two, 1), nn.Conv2d(two, four, 1), conv3x3(four, eight)
        self.picture8 = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.GELU(), conv3x3(16, eight))
        self.picture4 = nn.Sequential(nn.GELU(), nn.Conv2d(eight, four, 3, stride=2, padding=1))
        self.out, self.last = nn.Sequential(nn.GELU(), conv3x3(eight, eight), nn.GELU()), conv3x3(eight, 1)

    def forward(
        self, tokens: Float[Tensor, "b 4 n d"], picture: Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b 1 H//2 W//2"]:
        """`picture` is whitened and has 16 h w pixels a side; there are n = 1 + h w tokens, the class token first."""
        h, w = (side // PICTURE for side in picture.shape[-2:])
        maps = [
            tap(block[:, 1:].transpose(1, 2).unflatten(2, (h, w)))
            for tap, block in zip(self.taps, tokens.unbind(1), strict=True)
        ]
        eight = self.picture8(picture)
        x = self.refine1(maps[3] + maps[2] + self.whole(tokens[:, 3, 0])[..., None, None])
        x = self.refine2(resize(self.up2(x), (2 * h, 2 * w)) + resize(maps[1], (2 * h, 2 * w)))
        x = self.refine4(resize(self.up4(x), (4 * h, 4 * w)) + resize(maps[0], (4 * h, 4 * w)) + self.picture4(eight))
        x = self.out(resize(self.up8(x), (8 * h, 8 * w)) + eight)
        with torch.autocast(x.device.type, enabled=False):  # the output needs more than bfloat16's eight bits
            return self.last(x.float())


class DinoDepth(nn.Module):
    """Pictures at 16 pixels a token to log-depth at 8 pixels a token, up to a constant."""

    def __init__(self, backbone: DinoV2, head: DepthHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 1 H//2 W//2"]:
        """Log-depth up to a constant."""
        return self.head(self.tokens(images), preprocess(images, images.shape[-2:]))

    def tokens(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 4 n d"]:
        """The backbone's tokens of the pictures, resized to its patch size."""
        size = tuple(side // PICTURE * PATCH for side in images.shape[-2:])
        return self.backbone(preprocess(resize(images, size, antialias=True), size))


def resize(maps: Float[Tensor, "b c h w"], size: tuple[int, ...], antialias: bool = False) -> Float[Tensor, "b c H W"]:
    """Bilinear."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=antialias)
