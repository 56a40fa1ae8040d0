"""Depth and pose network as the one module that is trained."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.geometry.motion import rigid
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet


@dataclass
class Prediction:
    """Outputs for a triplet: disparities of the target (finest first), depths of its source frames, motions."""

    disparities: list[Float[Tensor, "b 1 _ _"]]
    source_depths: dict[str, Float[Tensor, "b 1 h w"]] | None
    T: dict[str, Float[Tensor, "b 4 4"]]  # "prev": T_prev_tgt, "next": T_next_tgt; empty where none was asked for


class DepthAndPose(nn.Module):
    """Both networks, run together on a triplet so that data-parallel training sees one forward pass."""

    def __init__(self, depth_net: DepthNet, pose_net: PoseNet):
        super().__init__()
        self.depth_net, self.pose_net = depth_net, pose_net

    def forward(
        self,
        tgt: Float[Tensor, "b 3 h w"],
        prev: Float[Tensor, "b 3 h w"],
        next: Float[Tensor, "b 3 h w"],
        source_depths: bool,
        motion: bool = True,
    ) -> Prediction:
        """Depths of the source frames, without gradient, which halves the cost of a step."""
        sources = torch.cat([prev, next])
        T: dict[str, Tensor] = {}
        if motion:
            T_both = rigid(self.pose_net(torch.cat([tgt, tgt]), sources))
            T = dict(zip(("prev", "next"), T_both.chunk(2), strict=True))
        depths: dict[str, Tensor] | None = None
        if source_depths:
            with torch.no_grad():
                finest = self.depth_net(sources)[0]
                depths = dict(zip(("prev", "next"), self.depth_net.depth(finest).chunk(2), strict=True))
        return Prediction(self.depth_net(tgt), depths, T)
