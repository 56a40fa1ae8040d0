"""Train `leres_small` from scratch on the mixture: python -m ssmde_lib.prior.train --help

One core renders ten to twenty views a second and learns from about fifty; the shipped weights' record says what they
took.
"""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import click
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ssmde_lib.errors import translate_errors
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.leres import VARIANTS, LeReS, preprocess
from ssmde_lib.prior.augment import augment
from ssmde_lib.prior.losses import leres_loss
from ssmde_lib.synthetic.mixture_shards import load_shards, render_shards

SHAPES = {
    (64, 192): (72, 216),
    (96, 128): (108, 144),
}  # of the network's input: as rendered, a little larger for random crops
PEAK_RATE = 1e-3
VALIDATION = 1_000_000  # first seed of the mixture's held-out views
TRAINED_ON = "mixture of procedural scenes (ssmde_lib.synthetic.mixture); neither street nor room"


@dataclass(frozen=True)
class Views:
    """Views of one shape, as `load_shards` returns them, to train on at `size` (h, w) and to measure by."""

    train: dict[str, Tensor]
    held_out: dict[str, Tensor]
    size: tuple[int, int]


@translate_errors("the weights", "the batch", "run it again")
def train(
    shapes: list[Views],
    steps: int,
    batch: int,
    seed: int,
    device: str,
    start: Path | None = None,
    keep: Callable[[LeReS, list[dict]], None] | None = None,
) -> tuple[LeReS, list[dict]]:
    """A trained network and its curve; AdamW with one cycle of the learning rate, bfloat16 networks, float32 losses.

    The shapes take turns, a batch each. The network returned is the moving average of the weights; `start` is a
    checkpoint to go on from (another cycle of the rate); `keep(network, curve)` is called ten times on the way.
    """
    torch.manual_seed(seed)
    net = checkpoint.load(start) if start else LeReS(**VARIANTS["small"])
    net = net.to(device, memory_format=torch.channels_last).train()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps, pct_start=0.05)
    curve, sums, every = [], {}, max(steps // 40, 1)
    orders = [endless_permutations(len(views.train["images"]), batch, seed) for views in shapes]
    for step in (bar := tqdm(range(1, steps + 1), desc="leres_small", mininterval=10)):
        views, order = shapes[step % len(shapes)], orders[step % len(shapes)]
        losses = loss_of(net, *augment(*batch_of(views.train, next(order), device), views.size))
        optimizer.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        sums = {key: sums.get(key, 0.0) + float(value.detach()) for key, value in losses.items()}
        if step % every == 0:
            curve.append({"step": step, **{key: round(value / every, 4) for key, value in sums.items()}})
            if step % (4 * every) == 0:
                curve[-1]["held_out"] = round(held_out_error(average.module, shapes, device), 4)
                if keep:
                    keep(average.module, curve)
            bar.set_postfix(curve[-1])
            sums = {}
    return average.module.eval(), curve


def endless_permutations(count: int, batch: int, seed: int):
    """Batches of indices, every view once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator, device="cpu").split(batch)[: max(count // batch, 1)]


def batch_of(data: dict[str, Tensor], indices: Tensor, device: str) -> tuple[Tensor, Tensor, Tensor]:
    images, depths, K = (data[key][indices].to(device) for key in ("images", "depths", "K"))
    return images.float() / 255, depths.float(), K


def loss_of(net: LeReS, images: Tensor, depths: Tensor, K: Tensor) -> dict[str, Tensor]:
    inputs = preprocess(images, images.shape[-2:]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16):
        log_depth = net(inputs)
    return leres_loss(log_depth.float(), depths, images, K)


def held_out_error(net: LeReS, shapes: list[Views], device: str) -> float:
    """AbsRel on held-out mixture views of all shapes after median scaling, as rendered, without augmentation."""
    net.eval()
    return mean([error for views in shapes for error in errors_of(net, views.held_out, views.size, device)])


def errors_of(net: LeReS, data: dict[str, Tensor], size: tuple[int, int], device: str) -> Iterator[float]:
    """AbsRel of each view that is not all sky."""
    for indices in torch.arange(len(data["images"]), device="cpu").split(16):
        images, depths, _ = batch_of(data, indices, device)
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
            predicted = net(preprocess(images, size)).float().exp()
        predicted = nn.functional.interpolate(predicted, depths.shape[-2:], mode="bilinear", align_corners=False)
        for depth, truth in zip(predicted, depths, strict=True):
            known = truth.isfinite()
            if known.any():
                ratio = depth[known] / truth[known]
                yield float((ratio / ratio.median() - 1).abs().mean())


def rendered_views(cache: Path, views: int, held_out: int = 250) -> list[Views]:
    """`views` training views of the mixture, as many of each shape, and `held_out` others of each.

    Rendered into `cache` where missing.
    """
    each = views // len(SHAPES)
    return [
        Views(
            load_shards(render_shards(cache, 0, each, rendered)),
            load_shards(render_shards(cache, VALIDATION, held_out, rendered)),
            size,
        )
        for size, rendered in SHAPES.items()
    ]


@click.command()
@click.option("--out", type=Path, default=WEIGHTS / "leres_small.safetensors", show_default=True)
@click.option(
    "--cache",
    type=Path,
    default=Path("runs/leres_small"),
    show_default=True,
    help="where rendered views are kept (80 kB each)",
)
@click.option("--views", default=12_000, show_default=True, help="training views: half of them wide, half 4:3")
@click.option("--steps", default=36_000, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--start", type=Path, help="weights to go on from, instead of from scratch")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(
    out: Path, cache: Path, views: int, steps: int, batch: int, start: Path | None, seed: int, device: str
) -> None:
    """Render the mixture (kept in --cache), train leres_small on it, write the weights and their record beside them."""
    started = time.time()
    shapes = rendered_views(cache, views)
    rendered = time.time()
    record = {
        "started_from": checkpoint.read_record(start) if start else "scratch",
        "trained_on": TRAINED_ON,
        "input_sizes": list(SHAPES),
        "command": " ".join(["python -m ssmde_lib.prior.train", *sys.argv[1:]]),
        "views": views,
        "steps": steps,
        "batch": batch,
        "seed": seed,
        "rendering_seconds": round(rendered - started),
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "checkpoint": "the last step",
    }
    out.parent.mkdir(parents=True, exist_ok=True)

    def keep(net: LeReS, curve: list[dict]) -> None:
        now = record | {"steps_done": curve[-1]["step"], "training_seconds": round(time.time() - rendered)}
        checkpoint.save(net, out, now, half=True)
        out.with_suffix(".json").write_text(json.dumps(now | {"curve": curve}, indent=1))

    keep(*train(shapes, steps, batch, seed, device, start, keep))
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB; its record: {out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
