"""What can be measured without true depth: how well neighbouring frames explain each other."""

from collections.abc import Iterator

import numpy as np
import torch

from ssmde_lib.data.layout import Clip, parts_of
from ssmde_lib.geometry.warp import depth_difference, synthesize
from ssmde_lib.inference.clips import predict_clip, predict_motion
from ssmde_lib.losses.photometric import photometric_error
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet


@torch.inference_mode()
def measure_consistency(depth_net: DepthNet, pose_net: PoseNet, clips: list[Clip]) -> dict[str, float]:
    """Means over the valid pixels of all neighbouring frames, the next one warped to the present one.

    `photometric` is the photometric error of the warp, `unwarped` that of the next frame as it is, `depth_difference`
    the relative difference of the two depths (Bian et al. 2019). They say that depth and motion fit together, not that
    depth is right: a wall that is painted on a screen at infinity scores well.
    """
    parts = (part for clip in clips for part in parts_of(clip, 1))
    rows = [row for part in parts for row in pair_errors(depth_net, pose_net, *part)] or [[np.nan] * 3]
    return dict(zip(("photometric", "unwarped", "depth_difference"), np.mean(rows, 0).tolist(), strict=True))


def pair_errors(depth_net: DepthNet, pose_net: PoseNet, clip: Clip, frames: range) -> Iterator[list[float]]:
    """The three means of each of the `frames` and its next one."""
    depth, T_next_tgt = predict_clip(depth_net, clip), predict_motion(pose_net, clip, 1)
    K = torch.from_numpy(clip.K).to(depth)[None]
    for i in range(frames.start, min(frames.stop, len(clip) - 1)):
        tgt, following = (torch.from_numpy(clip.image(j)).to(depth).permute(2, 0, 1)[None] / 255 for j in (i, i + 1))
        warped = synthesize(following, depth[[i]], K, T_next_tgt[[i]]).image
        differences, valid = depth_difference(depth[[i]], depth[[i + 1]], K, T_next_tgt[[i]])
        maps = photometric_error(warped, tgt), photometric_error(following, tgt), differences
        if valid.any():
            yield [float(each[valid].mean()) for each in maps]
