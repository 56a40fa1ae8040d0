"""An upper bound for a prior of leres_small's size.

The bundled weights, fine-tuned on the true depth of a world's training split.

    python -m ssmde_lib.prior.in_domain --data runs/laptop/01_data --out runs/in_domain.safetensors

It takes five minutes of one core. It has seen the ground truth of the training split, so it is no zero-shot prior and
is named an upper bound wherever it appears.
"""

import dataclasses
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from ssmde_lib.data.layout import find_clips
from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.prior.providers import BUNDLED
from ssmde_lib.prior.train import Views, train


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """Steps and batch of `prior.train.train`; every so many-th frame is used."""

    steps: int = 700
    batch: int = 8
    every: int = 2
    seed: int = 0


def views(data: Path, split: str, every: int) -> dict[str, Tensor]:
    """`images` uint8 n 3 h w, `depths` float16 n 1 h w and `K` float32 n 3 3 of a split.

    Depth is in metres, infinite where unknown.
    """
    found = [(clip, i) for clip in find_clips(data, split) for i in range(0, len(clip), every)]
    depths = [depth for clip, i in found if (depth := clip.depth(i)) is not None]
    if len(depths) < len(found):
        raise UserError(f"{data} has clips without depth/: an in-domain prior learns from the ground truth.")
    depth = np.stack(depths)[:, None]
    return {
        "images": torch.from_numpy(np.stack([clip.image(i) for clip, i in found])).permute(0, 3, 1, 2),
        "depths": torch.from_numpy(np.where(depth > 0, depth, np.inf)).half(),
        "K": torch.from_numpy(np.stack([clip.K for clip, _ in found])).float(),
    }


def fine_tune(data: Path, out: Path, options: FineTuning = FineTuning(), device: str = "cpu") -> list[dict]:
    """Fine-tune the bundled weights on the train split of `data`, write them to `out` and return the curve.

    The curve is measured on the val split.
    """
    began = time.time()
    seen, held_out = (views(data, split, options.every) for split in ("train", "val"))
    height, width = seen["images"].shape[-2:]
    with torch.random.fork_rng(devices=[]):
        net, curve = train(
            [Views(seen, held_out, (height, width))], options.steps, options.batch, options.seed, device, start=BUNDLED
        )
    record = {
        "started_from": BUNDLED.name,
        "trained_on": f"ground truth of {data.as_posix()}/train: an in-domain upper bound, not zero-shot",
        "input_sizes": [[height, width]],
        "training_seconds": round(time.time() - began),
        "torch": torch.__version__,
        **dataclasses.asdict(options),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(net, out, record, half=True)
    return curve


@click.command()
@click.option("--data", type=Path, required=True, help="Data set in the layout, with depth.")
@click.option("--out", type=Path, required=True, help="Weights to write (safetensors).")
@click.option("--steps", default=FineTuning.steps, show_default=True)
@click.option("--batch", default=FineTuning.batch, show_default=True)
@click.option("--every", default=FineTuning.every, show_default=True, help="Take every so many-th frame.")
@click.option("--seed", default=FineTuning.seed, show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(data: Path, out: Path, device: str, **options) -> None:
    """Fine-tune leres_small on a data set's own depth: an upper bound, to be compared with the zero-shot prior."""
    curve = fine_tune(data, out, FineTuning(**options), device)
    errors = [entry["held_out"] for entry in curve if "held_out" in entry]
    click.echo(f"{out}: held-out error {errors[-1] if errors else 'not measured in so few steps'}")


if __name__ == "__main__":
    main()
