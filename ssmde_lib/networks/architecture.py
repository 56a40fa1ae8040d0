"""Sizes of the two networks, and building them from a seed."""

import dataclasses
from pathlib import Path

import torch

from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_and_pose import DepthAndPose
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.efficientnet import EfficientNetLite0Encoder
from ssmde_lib.networks.pose_net import PoseNet


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Sizes of the two networks; the published ones are width 64."""

    layers: int = 18
    width: int = 24
    scales: int = 4
    skips: str = "unet"
    pose_width: int = 32
    min_depth: float = 0.1
    max_depth: float = 100.0
    encoder: str = "resnet"  # or "efficientnet_lite0", from ImageNet weights; `layers` is then without meaning

    def build(self, seed: int) -> DepthAndPose:
        """Freshly initialised networks, a function of the seed; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            depth_net = DepthNet(
                self.layers, self.width, self.scales, self.skips, self.min_depth, self.max_depth, encoder=self.encoder
            )
            if isinstance(depth_net.encoder, EfficientNetLite0Encoder):
                depth_net.encoder.load_imagenet()
            return DepthAndPose(depth_net, PoseNet(self.pose_width))


def same_architecture(net: DepthNet | PoseNet, path: Path) -> DepthNet | PoseNet:
    """The network of the checkpoint `path`, which must be built as `net` is."""
    loaded = checkpoint.load(path)
    if differing := [key for key, value in net.architecture.items() if loaded.architecture[key] != value]:
        raise UserError(
            f"a training cannot start from {path}: it has another {' and '.join(differing)}; set warm_start to False, "
            "or choose the same."
        )
    return loaded
