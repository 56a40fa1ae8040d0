"""Contribution of depth and of motion to the photometric error: the truth replaces each in turn; prints JSON.

    OMP_NUM_THREADS=1 python experiments/photometric_floor.py runs/laptop/01_data runs/laptop/04_pose_and_depth

Mean over the static pixels of the test clips that are visible in both source frames. True depth and motion still
leave an error at occlusions, on specular surfaces and between pixels.
"""

import json
from pathlib import Path
from statistics import mean

import click
import torch
from torch import Tensor
from truth import true_motions

from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.triplets import read_frame
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.inference.clips import predict_clip, predict_motion
from ssmde_lib.losses import Losses
from ssmde_lib.losses.photometric import window_statistics
from ssmde_lib.losses.self_supervised import look
from ssmde_lib.networks import checkpoint

SKY = 1000.0  # metres, where no depth is known


def error(tgt: Tensor, sources: list[Tensor], depth: Tensor, K: Tensor, motions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The smaller error of the two views, and where both see the pixel."""
    statistics, alpha = window_statistics(tgt), Losses().alpha
    views = [
        look(tgt, statistics, depth, source, None, K, T, alpha) for source, T in zip(sources, motions, strict=True)
    ]
    return torch.minimum(*(view.error for view in views)), views[0].valid & views[1].valid


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("stage", type=click.Path(exists=True, path_type=Path))
@click.option("--every", default=4, show_default=True, help="frames between two that are measured")
@torch.inference_mode()
def main(data: Path, stage: Path, every: int) -> None:
    depth_net, pose_net = (checkpoint.load(stage / f"{name}.safetensors") for name in ("depth", "pose"))
    found: dict[str, list[float]] = {}
    for clip in find_clips(data, "test"):
        depths, T_next_tgt = predict_clip(depth_net, clip), predict_motion(pose_net, clip, 1)
        K = torch.from_numpy(clip.K).float()[None]
        for i in clip.targets(1)[::every]:
            prev, tgt, following = (read_frame(clip, j)[None].float() / 255 for j in (i - 1, i, i + 1))
            truth = torch.from_numpy(clip.depth(i))[None, None]
            static = (truth > 0) & (torch.from_numpy(clip.dynamic_mask(i)) == 0)
            true_T = list(true_motions(clip, i, [i - 1, i + 1]).split(1))
            own_T = [inverse(T_next_tgt[[i - 1]]), T_next_tgt[[i]]]
            metres = true_T[1][0, :3, 3].norm() / own_T[1][0, :3, 3].norm()  # of a unit of the network's motion
            true_depth = truth.where(truth > 0, SKY)
            cases = {
                "network": (depths[[i]], own_T),
                "true depth, own motion": (true_depth / metres, own_T),
                "own depth, true motion": (depths[[i]] * (truth[static] / depths[[i]][static]).median(), true_T),
                "truth": (true_depth, true_T),
            }
            maps = {name: error(tgt, [prev, following], depth, K, T) for name, (depth, T) in cases.items()}
            counted = static & torch.stack([seen for _, seen in maps.values()]).all(0)
            for name, (values, _) in maps.items():
                found.setdefault(name, []).append(float(values[counted].mean()))
    print(json.dumps({"stage": stage.as_posix()} | {name: round(mean(values), 4) for name, values in found.items()}))


if __name__ == "__main__":
    main()
