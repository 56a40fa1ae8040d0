"""How good a prior is, zero-shot: python -m ssmde_lib.prior.evaluate --help

Held-out clips of the embedded worlds, and the real packs where they lie. A prior is known up to scale and shift, so its
error is given after the best scale and shift of inverse depth, and, harder, after the median's scale alone; the order
of pixel pairs needs neither. Beside them stands what no prior at all would give: the image's own median depth
everywhere (`constant`).
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import numpy as np
import torch

from ssmde_lib.data.layout import Clip
from ssmde_lib.files import write_json
from ssmde_lib.metrics import align, order_accuracy
from ssmde_lib.prior.providers import get_provider
from ssmde_lib.synthetic import render_clip

WORLDS = {"street": ((64, 192), 80.0), "room": ((96, 128), 10.0)}  # size, greatest depth in metres
PACKS = {"kitti_drive_0005_pack": 80.0, "hololens_000_pack": 10.0}
SINGLE_PASS = {"leres_small": {"multi_crop": False}, "dinov2_small": {"fast": True}}  # their fastest settings
TEST = 2  # the split's place in the seeds of world.write_world
Sample = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # rgb uint8 h w 3, depth h w, movers h w


def world_samples(world: str, clips: int, frames: int, every: int, split: int = TEST) -> Iterable[Sample]:
    """Every `every`-th frame of the split's clips, the ones that `write_world(seed=0)` writes."""
    for n in range(clips):
        for i, frame in enumerate(render_clip(world, (0, split, n), frames, *WORLDS[world][0])):
            if i % every == 0:
                yield frame.rgb, frame.depth, frame.dynamic_mask > 0


def pack_samples(path: Path, every: int) -> Iterable[Sample]:
    """Every `every`-th frame of a real clip; dynamic objects are not known."""
    clip = Clip(path)
    for i in range(0, len(clip), every):
        depth = clip.depth(i)
        if depth is not None:
            yield clip.image(i), depth, None


def score(provider: Callable, samples: Iterable, cap: float) -> dict[str, float]:
    """Means over images, of errors and CPU seconds; dynamic errors over the images with at least 30 dynamic pixels."""
    rows = []
    for rgb, depth, dynamic_mask in samples:
        pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        started = time.process_time()
        relative = provider(pixels)[0, 0].cpu().numpy()
        seconds = {"cpu_seconds": time.process_time() - started}
        rows.append(score_image(relative, depth, dynamic_mask, cap) | seconds)
    keys = dict.fromkeys(key for row in rows for key in row)
    means = {key: round(float(np.nanmean([row.get(key, np.nan) for row in rows])), 4) for key in keys}
    return {"images": len(rows), **means}


def score_image(
    relative: np.ndarray, depth: np.ndarray, dynamic_mask: np.ndarray | None, cap: float
) -> dict[str, float]:
    """Errors of one image, by region."""
    known = (depth > 0) & (depth <= cap)
    regions = {"all": known}
    if dynamic_mask is not None:
        regions |= {"static": known & ~dynamic_mask, "movers": known & dynamic_mask}
    row = {}
    for name, kind in (("scale_shift", "least_squares_inverse"), ("scale", "median"), ("constant", "median")):
        predicted = np.ones_like(relative) if name == "constant" else relative
        error = np.abs(align(predicted, depth, known, kind).clip(0.1, cap) - depth) / np.where(known, depth, 1)
        row |= {f"abs_rel_{name}_{region}": error[mask].mean() for region, mask in regions.items() if mask.sum() >= 30}
    row["order_all"] = order_accuracy(relative, depth, known)
    if dynamic_mask is not None and regions["movers"].sum() >= 30:
        row["order_movers"] = order_accuracy(relative, depth, known, first=dynamic_mask)
    return row


@click.command()
@click.option("--provider", default="leres_small", show_default=True)
@click.option("--weights", type=Path, help="the provider's own by default")
@click.option("--single-pass", is_flag=True, help="without test-time augmentation (leres_small, dinov2_small)")
@click.option("--clips", default=12, show_default=True, help="test clips of each world, 50 frames each")
@click.option("--every", default=5, show_default=True, help="take every so many-th frame")
@click.option("--split", type=click.Choice(["val", "test"]), default="test", show_default=True)
@click.option(
    "--packs",
    type=Path,
    default=Path("../shared/data"),
    show_default=True,
    help="folder of the real packs; skipped where absent",
)
@click.option("--out", type=Path, default=Path("results/prior.json"), show_default=True)
def main(
    provider: str, weights: Path | None, single_pass: bool, clips: int, every: int, split: str, packs: Path, out: Path
) -> None:
    """Score a provider on the held-out worlds and the real packs; print and write the figures."""
    if single_pass and provider not in SINGLE_PASS:
        raise click.UsageError(f"--single-pass is for {' and '.join(SINGLE_PASS)}: {provider} has no other setting.")
    prior = get_provider(
        provider, **({"weights": weights} if weights else {}), **(SINGLE_PASS[provider] if single_pass else {})
    )
    results = {"provider": prior.describe(), "split": split}
    for world, (_, cap) in WORLDS.items():
        results[world] = score(
            prior, world_samples(world, clips, 50, every, ["train", "val", "test"].index(split)), cap
        )
        click.echo(f"{world}: {json.dumps(results[world])}")
    for pack, cap in PACKS.items():
        if (packs / pack).is_dir():
            results[pack] = score(prior, pack_samples(packs / pack, every), cap)
            click.echo(f"{pack}: {json.dumps(results[pack])}")
    write_json(out, results)


if __name__ == "__main__":
    main()
