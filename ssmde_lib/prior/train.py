"""Train a prior on the mixture, `leres_small` or the head of `dinov2_small`: python -m ssmde_lib.prior.train --help

The records beside the bundled weights say what they took.
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.dinov2 import load_backbone
from ssmde_lib.networks.dinov2_depth import DepthHead
from ssmde_lib.networks.leres import VARIANTS, LeReS, preprocess
from ssmde_lib.prior.augment import augment
from ssmde_lib.prior.loop import Shape, abs_rel, fit
from ssmde_lib.prior.losses import leres_loss
from ssmde_lib.prior.tokens import TokenViews, token_shards
from ssmde_lib.synthetic.close_up import CLOSE
from ssmde_lib.synthetic.mixture_shards import load_shards, render_shards

SHAPES = {
    (64, 192): (72, 216),
    (96, 128): (108, 144),
}  # of leres_small's input: as rendered, a little larger for random crops
GRIDS = {
    (8, 24): (144, 432),
    (12, 16): (216, 288),
    (12, 36): (144, 432),
    (18, 24): (216, 288),
}  # of dinov2_small's tokens: as rendered
VALIDATION = 1_000_000  # first seed of the mixture's held-out views
TRAINED_ON = "mixture of procedural scenes (ssmde_lib.synthetic.mixture); neither street nor room"


@dataclass(frozen=True)
class Views:
    """Views of one shape, as `load_shards` returns them, for a network of pictures of `size` (h, w)."""

    train: dict[str, Tensor]
    held_out: dict[str, Tensor]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.train["images"])

    def loss(self, net: nn.Module, indices: Tensor, device: str) -> dict[str, Tensor]:
        """`leres_loss` of freshly augmented views."""
        images, depths, K = augment(*batch_of(self.train, indices, device), self.size)
        inputs = preprocess(images, images.shape[-2:]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16):
            log_depth = net(inputs)
        return leres_loss(log_depth.float(), depths, images, K)

    def errors(self, net: nn.Module, device: str) -> Iterator[float]:
        """AbsRel of each held-out view as rendered, without augmentation."""
        for indices in torch.arange(len(self.held_out["images"]), device="cpu").split(16):
            images, depths, _ = batch_of(self.held_out, indices, device)
            with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
                predicted = net(preprocess(images, self.size)).float().exp()
            yield from abs_rel(predicted, depths)


def batch_of(data: dict[str, Tensor], indices: Tensor, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Images in [0, 1], depths and intrinsics of the chosen views."""
    images, depths, K = (data[key][indices].to(device) for key in ("images", "depths", "K"))
    return images.float() / 255, depths.float(), K


def small_leres() -> LeReS:
    """A fresh narrow LeReS."""
    return LeReS(**VARIANTS["small"])


def train(
    shapes: list[Views], steps: int, batch: int, seed: int, device: str, start: Path | None = None
) -> tuple[nn.Module, list[dict]]:
    """`leres_small` from scratch, or gone on from the checkpoint `start`; see `fit`."""
    return fit((lambda: checkpoint.load(start)) if start else small_leres, shapes, steps, batch, seed, device)


def rendered_views(cache: Path, views: int, held_out: int = 250) -> list[Views]:
    """`views` training views of the mixture, as many of each shape, and `held_out` others of each, kept in `cache`."""
    each = views // len(SHAPES)
    return [
        Views(
            load_shards(render_shards(cache, 0, each, rendered)),
            load_shards(render_shards(cache, VALIDATION, held_out, rendered)),
            size,
        )
        for size, rendered in SHAPES.items()
    ]


def token_views(
    cache: Path, views: int, seed: int, device: str, tokens: tuple[int, ...], held_out: int = 125
) -> list[TokenViews]:
    """The same as tokens of the frozen backbone, on grids of so many `tokens`, augmented for each."""
    each = views // len(set(GRIDS.values()))
    backbone, _ = load_backbone()
    return [
        TokenViews(
            token_shards(backbone, render_shards(cache, 0, each, rendered, CLOSE), grid, seed, device),
            token_shards(backbone, render_shards(cache, VALIDATION, held_out, rendered, CLOSE), grid, None, device),
        )
        for grid, rendered in grids_of(tokens).items()
    ]


def grids_of(tokens: tuple[int, ...]) -> dict[tuple[int, int], tuple[int, int]]:
    """Those of `GRIDS` with so many tokens; a UserError where there are none."""
    grids = {grid: rendered for grid, rendered in GRIDS.items() if prod(grid) in tokens}
    if not grids:
        raise UserError(f"--tokens {tokens[0]} is not trained on: choose of {sorted({prod(grid) for grid in GRIDS})}.")
    return grids


@dataclass(frozen=True)
class Recipe:
    """What the command trains: network, views, default numbers, facts for the record (by the numbers of tokens).

    `prepare` takes the folder, the number of views, the seed, the device and the numbers of tokens.
    """

    build: Callable[[], nn.Module]
    prepare: Callable[[Path, int, int, str, tuple[int, ...]], Sequence[Shape]]
    facts: Callable[[tuple[int, ...]], dict]
    views: int
    steps: int


RECIPES = {
    "leres_small": Recipe(
        build=small_leres,
        prepare=lambda cache, views, seed, device, tokens: rendered_views(cache, views),
        facts=lambda _: {"trained_on": TRAINED_ON, "input_sizes": list(SHAPES)},
        views=12_000,
        steps=36_000,
    ),
    "dinov2_small": Recipe(
        build=DepthHead,
        prepare=token_views,
        facts=lambda tokens: {
            "trained_on": f"{TRAINED_ON}; close indoor views",
            "grids": list(grids_of(tokens)),
            **load_backbone()[1],
        },
        views=3_500,
        steps=2_000,
    ),
}


@click.command()
@click.option("--network", type=click.Choice(list(RECIPES)), default="leres_small", show_default=True)
@click.option("--out", type=Path, help="weights to write; default: weights/NETWORK.safetensors")
@click.option("--cache", type=Path, help="where views are kept; default: runs/NETWORK")
@click.option(
    "--views", type=int, help="training views, half of them wide, half 4:3; default: the bundled weights' number"
)
@click.option("--steps", type=int, help="default: the bundled weights' number")
@click.option("--tokens", multiple=True, type=int, default=(192,), show_default=True, help="of dinov2_small's grids")
@click.option("--batch", default=8, show_default=True)
@click.option("--start", type=Path, help="weights to go on from, instead of from scratch")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(
    network: str,
    out: Path | None,
    cache: Path | None,
    views: int | None,
    steps: int | None,
    tokens: tuple[int, ...],
    batch: int,
    start: Path | None,
    seed: int,
    device: str,
) -> None:
    """Render the mixture (kept in --cache), train a network on it, write the weights and their record beside them."""
    recipe, out, cache = (
        RECIPES[network],
        out or WEIGHTS / f"{network}.safetensors",
        cache or Path(f"runs/{network}"),
    )
    views, steps = views or recipe.views, steps or recipe.steps
    started = time.time()
    shapes = recipe.prepare(cache, views, seed, device, tokens)
    prepared = time.time()
    record = {
        "started_from": checkpoint.read_record(start) if start else "scratch",
        **recipe.facts(tokens),
        "command": " ".join(["python -m ssmde_lib.prior.train", *sys.argv[1:]]),
        "views": views,
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "rendering_seconds": round(prepared - started),
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "checkpoint": "the last step",
    }
    out.parent.mkdir(parents=True, exist_ok=True)

    def keep(net: nn.Module, curve: list[dict]) -> None:
        now = record | {"steps_done": curve[-1]["step"], "training_seconds": round(time.time() - prepared)}
        checkpoint.save(net, out, now, half=True)
        out.with_suffix(".json").write_text(json.dumps(now | {"curve": curve}, indent=1))

    build = (lambda: checkpoint.load(start, device)) if start else recipe.build
    keep(*fit(build, shapes, steps, batch, seed, device, keep))
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; its record: {out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
