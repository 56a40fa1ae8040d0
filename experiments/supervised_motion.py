"""How well can the pose network learn motion from the truth?

Trains it on the poses of an embedded world and prints JSON.

    OMP_NUM_THREADS=1 python experiments/supervised_motion.py runs/laptop/01_data

The bound of what self-supervision can make of it at this length; rotations in degrees, translations relative to their
length.
"""

import json
import math
from itertools import pairwise
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from truth import METRES, fit, true_motions

from ssmde_lib.data.layout import Clip, find_clips
from ssmde_lib.data.triplets import read_frame
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.networks.pose_net import PoseNet
from ssmde_lib.training.schedule import Schedule


class Pairs(Dataset):
    """Frames that follow each other, both ways round: tgt and src, float 3 h w in [0, 1], and the true T_src_tgt."""

    def __init__(self, clips: list[Clip]):
        self.items = []
        for clip in clips:
            frames = [read_frame(clip, i) for i in range(len(clip))]
            pairs = [pair for a, b in pairwise(range(len(clip))) for pair in ((a, b), (b, a))]
            self.items += [(frames[tgt], frames[src], true_motions(clip, tgt, [src])[0]) for tgt, src in pairs]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        tgt, src, T_src_tgt = self.items[k]
        return tgt.float() / 255, src.float() / 255, T_src_tgt


def axis(R: Tensor) -> Tensor:
    """Axis-angle of small rotations, b 3 3 to b 3."""
    return torch.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1) / 2


def differences(T: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation (b 3, axis-angle) and translation (b 3, units) between two motions."""
    return axis(T[:, :3, :3] @ truth[:, :3, :3].mT), T[:, :3, 3] - truth[:, :3, 3] / METRES


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=500, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(data: Path, steps: int, seed: int) -> None:
    schedule = Schedule(steps=steps, batch_size=12)
    train, test = (Pairs(find_clips(data, split)) for split in ("train", "test"))
    torch.manual_seed(seed)
    net = PoseNet().train()

    def loss_of(step: int, indices: list[int]) -> Tensor:
        tgt, src, truth = default_collate([train[i] for i in indices])
        return sum(difference.abs().sum(1).mean() for difference in differences(rigid(net(tgt, src)), truth))

    fit(net, len(train), schedule, seed, loss_of)
    turned, moved, turns = [], [], []
    with torch.inference_mode():
        for k in range(len(test)):
            tgt, src, truth = default_collate([test[k]])
            rotation, translation = differences(rigid(net.eval()(tgt, src)), truth)
            turned.append(math.degrees(rotation.norm()))
            moved.append(float(translation.norm() * METRES / truth[:, :3, 3].norm().clamp(min=0.2)))
            turns.append(math.degrees(axis(truth[:, :3, :3]).norm()))
    errors = {
        name: round(sum(x) / len(x), 4)
        for name, x in (("rotation_error", turned), ("rotation", turns), ("translation_error", moved))
    }
    print(json.dumps({"steps": steps, "seed": seed} | errors))


if __name__ == "__main__":
    main()
