"""What does depth learn where motion is known?

Trains the depth network on an embedded world with its true poses and prints JSON lines.

    OMP_NUM_THREADS=1 python experiments/true_motion.py runs/laptop/01_data [--noise 0.2]

The gap to the base network (notebook 04) is what the pose network costs. `--noise` adds random rotations of about so
many degrees.
"""

import json
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.utils.data import default_collate
from truth import METRES, fit, true_motions

from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.evaluation import evaluate_clips, get_protocol
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.losses import Losses, self_supervised_loss
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.training.schedule import Schedule, seeded

WEIGHTS = Losses(geometry=0.1)


def source_motions(triplets: Triplets, index: int) -> Tensor:
    """T_prev_tgt and T_next_tgt of a triplet, "2 4 4", in network units."""
    clip, i = triplets.index[index]
    T = true_motions(triplets.clips[clip], i, [i - triplets.step, i + triplets.step])
    T[:, :3, 3] /= METRES
    return T


def random_rotations(count: int, degrees: float, generator: torch.Generator) -> Tensor:
    """Rotations by `degrees` on average, "2 count 4 4"."""
    axis_angle = torch.deg2rad(torch.tensor(degrees / 1.6)) * torch.randn(2 * count, 3, generator=generator)
    return rigid(torch.cat([axis_angle, torch.zeros_like(axis_angle)], 1)).unflatten(0, (2, count))


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=600, show_default=True)
@click.option("--learning-rate", default=8e-4, show_default=True)
@click.option("--noise", default=0.0, show_default=True, help="degrees of random rotation added to every motion")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, steps: int, learning_rate: float, noise: float, seed: int) -> None:
    schedule = Schedule(steps=steps, learning_rate=learning_rate)
    triplets, held_out = Triplets(find_clips(data, "train")), find_clips(data, "val")
    net = Architecture().build(seed).depth_net.to(memory_format=torch.channels_last)
    photometric = []

    def loss_of(step: int, indices: list[int]) -> Tensor:
        batch = default_collate([triplets[i] for i in indices])
        images = {name: batch[name].float() / 255 for name in ("tgt", "prev", "next")}
        turns = random_rotations(len(indices), noise, seeded(seed, step, torch.device("cpu")))
        T = dict(
            zip(("prev", "next"), turns @ torch.stack([source_motions(triplets, i) for i in indices], 1), strict=True)
        )
        disparities = net(images["tgt"])
        terms = self_supervised_loss(
            images, disparities, [net.depth(d) for d in disparities], None, batch["K"], T, WEIGHTS
        ).terms
        photometric.append(terms["photometric"].item())
        return sum(terms.values())

    def measure(step: int) -> None:
        if (step + 1) % (steps // 3) == 0:
            summary = evaluate_clips(Predictor(net.eval()), held_out, get_protocol("embedded")).summary()
            net.train()
            print(
                json.dumps(
                    {"step": step + 1, "photometric": photometric[-1]} | {r: s["abs_rel"] for r, s in summary.items()}
                ),
                flush=True,
            )

    fit(net, len(triplets), schedule, seed, loss_of, measure)


if __name__ == "__main__":
    main()
