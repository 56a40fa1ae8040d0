"""The LeReS depth network (Yin et al., CVPR 2021), with the parameter names of its official checkpoints.

A residual encoder and a decoder that fuses four of its feature maps, coarse to fine. The published variants are
ResNet-50 and ResNeXt-101 32x8d; `small` is the same design made narrow, trained in `ssmde_lib.prior.train`.
"""

from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.errors import UserError
from ssmde_lib.networks.resnet import ResNetEncoder

VARIANTS = {
    "resnext101": {"layers": 101, "groups": 32, "group_width": 8},
    "resnet50": {"layers": 50},
    "small": {"layers": 18, "width": 32, "decoder": 48},
}
OFFICIAL_SIZE = (448, 448)  # height, width
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the resolution."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def double(x: Tensor) -> Tensor:
    """Twice the resolution, corners on corners."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Refine(nn.Module):
    """A 3x3 convolution and a residual branch (FTB in the official code)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs)
        self.conv_branch = nn.Sequential(
            nn.Identity(),  # in place of the official in-place ReLU, which rectifies the shortcut too (see forward)
            conv3x3(outputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            conv3x3(outputs, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The maps with what the branch adds."""
        x = F.relu(self.conv1(x))
        return F.relu(x + self.conv_branch(x))


class Fuse(nn.Module):
    """Adds an encoder's feature map to the coarser decoder map and doubles the resolution.

    FFM in the official code.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.ftb1, self.ftb2 = Refine(inputs, outputs), Refine(outputs, outputs)

    def forward(self, feature: Tensor, coarse: Tensor) -> Tensor:
        """The fused maps at twice the coarse resolution."""
        return double(self.ftb2(self.ftb1(feature) + coarse))


class Head(nn.Module):
    """From features at half resolution to one channel at full resolution (AO in the official code)."""

    def __init__(self, inputs: int):
        super().__init__()
        middle = inputs // 2
        self.adapt_conv = nn.Sequential(
            conv3x3(inputs, middle), nn.BatchNorm2d(middle), nn.ReLU(inplace=True), conv3x3(middle, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The output at twice the resolution, in float32."""
        x = self.adapt_conv[:3](x)
        with torch.autocast(x.device.type, enabled=False):  # the output needs more than bfloat16's eight bits
            return double(self.adapt_conv[3](x.float()))


class Decoder(nn.Module):
    """Encoder features at 1/4 … 1/32 to one map at full resolution."""

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        self.conv, self.conv1 = Refine(channels[3], 2 * width), conv3x3(2 * width, width)
        self.ffm2, self.ffm1, self.ffm0 = (Fuse(c, width) for c in reversed(channels[:3]))
        self.outconv = Head(width)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Depth from the feature maps of the encoder, fine to coarse."""
        x = double(self.conv1(self.conv(features[3])))
        for fuse, feature in ((self.ffm2, features[2]), (self.ffm1, features[1]), (self.ffm0, features[0])):
            x = fuse(feature, x)
        return self.outconv(x)


class LeReS(nn.Module):
    """Images prepared by `preprocess` to one unbounded map of the same size, far is large.

    The published weights give depth up to scale and shift; ours (`small`) give its logarithm up to a constant.
    `width` is the encoder's first stage, `decoder` the decoder's channels; groups and group width make ResNeXt.
    """

    def __init__(self, layers: int = 50, width: int = 64, groups: int = 1, group_width: int = 64, decoder: int = 256):
        super().__init__()
        self.architecture = {
            "layers": layers,
            "width": width,
            "groups": groups,
            "group_width": group_width,
            "decoder": decoder,
        }
        encoder = ResNetEncoder(layers, width, groups=groups, group_width=group_width)
        self.encoder_modules = nn.ModuleDict({"encoder": encoder})
        self.decoder_modules = Decoder(encoder.channels[1:], decoder)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Sides must be divisible by 32."""
        return self.decoder_modules(self.encoder_modules["encoder"](images)[1:])


def preprocess(images: Float[Tensor, "b 3 h w"], size: tuple[int, ...] = OFFICIAL_SIZE) -> Float[Tensor, "b 3 H W"]:
    """RGB in [0, 1], resized to `size` and normalised.

    Bilinear without anti-aliasing, as OpenCV's default in the original.
    """
    images = F.interpolate(images, size, mode="bilinear", align_corners=False)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images - mean) / std


def load_official(path: str | Path, variant: str) -> LeReS:
    """An official checkpoint (`res101.pth`, `res50.pth`), loaded strictly and without running any pickled code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["depth_model"]
        state = {key.removeprefix("module.").removeprefix("depth_model."): value for key, value in state.items()}
        net = LeReS(**VARIANTS[variant])
        net.load_state_dict(state)
    except (UnpicklingError, RuntimeError, KeyError, TypeError, AttributeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} is not an official LeReS {variant} checkpoint ({reason}): download it again."
        ) from None
    return net.eval()
