"""Depth of every frame of a clip, and motion between its frames, as tensors on the network's device."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssmde_lib.data.layout import Clip
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet


@torch.inference_mode()
def predict_clip(depth_net: DepthNet, clip: Clip, batch: int = 16) -> Float[Tensor, "n 1 h w"]:
    """Depth of every frame of a clip, on the network's device."""
    device = next(depth_net.parameters()).device
    depths = []
    for first in range(0, len(clip), batch):
        images = np.stack([clip.image(i) for i in range(first, min(first + batch, len(clip)))])
        images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2) / 255
        depths.append(depth_net.depth(depth_net(images)[0]))
    return torch.cat(depths)


@torch.inference_mode()
def predict_motion(pose_net: PoseNet, clip: Clip, frame_stride: int, batch: int = 16) -> Float[Tensor, "n 4 4"]:
    """T_next_tgt from every frame i to frame i + step, i = 0 … len(clip) - step - 1."""
    device = next(pose_net.parameters()).device
    images = torch.from_numpy(np.stack([clip.image(i) for i in range(len(clip))])).to(device).permute(0, 3, 1, 2)
    pairs = [
        (images[i : i + batch], images[i + frame_stride : i + frame_stride + batch])
        for i in range(0, len(clip) - frame_stride, batch)
    ]
    return rigid(torch.cat([pose_net(tgt[: len(nxt)] / 255, nxt / 255) for tgt, nxt in pairs]))
