"""What can the depth network learn from the truth itself? Trains it on an embedded world's own depth, as JSON lines.

    OMP_NUM_THREADS=1 python experiments/supervised.py runs/laptop/01_data

The bound of every prior and teacher at this length, width and number of clips: no label is better than the truth.
"""

import json
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.utils.data import default_collate
from truth import fit

from ssmde_lib.data.augment import augment
from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.evaluation import evaluate_clips, get_protocol
from ssmde_lib.inference.predictor import Predictor
from ssmde_lib.losses import distillation_loss, upsample
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.training.schedule import Schedule, seeded


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--steps", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--encoder",
    type=click.Choice(["efficientnet_lite0", "resnet"]),
    default="efficientnet_lite0",
    show_default=True,
    help="From ImageNet or random weights.",
)
def main(data: Path, steps: int, seed: int, encoder: str) -> None:
    schedule = Schedule(steps=steps)
    triplets, test = Triplets(find_clips(data, "train")), find_clips(data, "test")
    net = Architecture(encoder=encoder).build(seed).depth_net.to(memory_format=torch.channels_last).train()

    def loss_of(step: int, indices: list[int]) -> Tensor:
        batch = default_collate([triplets[i] for i in indices])
        truth = torch.stack(
            [torch.from_numpy(triplets.clips[clip].depth(i)) for clip, i in (triplets.index[k] for k in indices)]
        )
        images = {name: batch[name].float() / 255 for name in ("tgt", "prev", "next")}
        batch = augment(
            batch | images | {"teacher_depth": truth[:, None].float()}, seeded(seed, step, torch.device("cpu"))
        )
        known = batch["teacher_depth"] > 0
        disparities = upsample(net(batch["tgt_aug"]), known.shape[-2:])
        return sum(distillation_loss(net.depth(d), batch["teacher_depth"], known, "log_l1") for d in disparities)

    fit(net, len(triplets), schedule, seed, loss_of)
    summary = evaluate_clips(Predictor(net.eval()), test, get_protocol("embedded")).summary()
    print(
        json.dumps(
            {"clips": len(triplets.clips), "steps": steps, "encoder": encoder, "seed": seed}
            | {region: row["abs_rel"] for region, row in summary.items()}
        )
    )


if __name__ == "__main__":
    main()
