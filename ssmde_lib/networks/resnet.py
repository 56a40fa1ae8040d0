"""Residual encoders with torchvision's parameter names, without its classifier.

ResNet: He et al. 2016; ResNeXt: Xie et al. 2017.
"""

from jaxtyping import Float
from torch import Tensor, nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the resolution, but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


class Shortcut(nn.Sequential):
    """1x1 projection where shape changes; torchvision calls its parts `downsample.0` and `downsample.1`."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = Shortcut(inputs, planes, stride) if stride != 1 or inputs != planes else None

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions, added to the input."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, (grouped) 3x3, 1x1 around an identity; `planes * group_width * groups / 64` channels inside."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, groups: int = 1, group_width: int = 64):
        super().__init__()
        inner, outputs = planes * group_width // 64 * groups, planes * self.expansion
        self.conv1, self.bn1 = conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride, groups), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = Shortcut(inputs, outputs, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Narrow, filter, widen; added to the input."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class ResNetEncoder(nn.Module):
    """Five feature maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input.

    `width` is the first stage's (64 in the published networks); `images` is how many RGB images are concatenated at the
    input; `groups`, `group_width` make ResNeXt of the bottleneck variants. `channels` lists the outputs' channels.
    """

    def __init__(self, layers: int = 18, width: int = 64, images: int = 1, groups: int = 1, group_width: int = 64):
        super().__init__()
        block = BasicBlock if layers < 50 else Bottleneck
        options = {} if block is BasicBlock else {"groups": groups, "group_width": group_width}
        self.conv1, self.bn1 = nn.Conv2d(3 * images, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = [width]
        for stage, count in enumerate(DEPTHS[layers]):
            planes, inputs = width * 2**stage, self.channels[-1]
            first = block(inputs, planes, 1 if stage == 0 else 2, **options)
            outputs = planes * block.expansion
            rest = [block(outputs, planes, 1, **options) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, *rest))
            self.channels.append(outputs)

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Feature maps at 1/2, 1/4, … 1/32, fine to coarse."""
        features = [self.relu(self.bn1(self.conv1(images)))]
        x = self.maxpool(features[0])
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            features.append(x)
        return features
