"""Depth of every frame of a clip, and motion between its frames, as tensors on the network's device."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssmde_lib.data.layout import Clip
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet


def read_images(clip: Clip, device: torch.device | str = "cpu") -> Float[Tensor, "n 3 h w"]:
    """Every frame of a clip, in [0, 1]."""
    return torch.from_numpy(np.stack([clip.image(i) for i in range(len(clip))])).to(device).permute(0, 3, 1, 2) / 255


def predict_clip(depth_net: DepthNet, clip: Clip, batch: int = 16) -> Float[Tensor, "n 1 h w"]:
    """Depth of every frame of a clip, at its size (multiples of 32), on the network's device."""
    predictor = Predictor(depth_net, clip.size, next(depth_net.parameters()).device)
    groups = [range(first, min(first + batch, len(clip))) for first in range(0, len(clip), batch)]
    return torch.cat([predictor.tensor(np.stack([clip.image(i) for i in group])) for group in groups])


@torch.inference_mode()
def predict_motion(pose_net: PoseNet, clip: Clip, frame_stride: int, batch: int = 16) -> Float[Tensor, "n 4 4"]:
    """T_next_tgt from every frame i to frame i + frame_stride, i = 0 … len(clip) - frame_stride - 1."""
    device, motions = next(pose_net.parameters()).device, []
    for first in range(0, max(1, len(clip) - frame_stride), batch):
        images = read_images(clip.part(first, min(first + batch + frame_stride, len(clip))), device)
        motions.append(pose_net(images[:-frame_stride], images[frame_stride:]))
    return rigid(torch.cat(motions))
