"""The depth of several networks, side by side, on one frame of each of some clips.

    python experiments/compare_depth.py CLIPS "30 clips=A/depth.safetensors" "60 clips=B/depth.safetensors" -o OUT.webp

CLIPS is a data set with a test split, its pictures as large as those of the largest network.
"""

import sys
from pathlib import Path

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ssmde_lib.data.layout import find_clips
from ssmde_lib.display.figures import image_grid
from ssmde_lib.display.pictures import coloured
from ssmde_lib.inference.predictor import Predictor


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("networks", nargs=-1, required=True, metavar="TITLE=WEIGHTS ...")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True)
@click.option("--clip", "numbers", type=int, multiple=True, default=(0, 1, 2, 3), show_default=True)
def main(data: Path, networks: tuple[str, ...], out: Path, numbers: tuple[int, ...]) -> None:
    clips = find_clips(data, "test")
    shown = [clips[number] for number in numbers]
    images = np.stack([clip.image(len(clip) // 2) for clip in shown])
    truth = np.stack([clip.depth(len(clip) // 2) for clip in shown])
    columns = {"image": list(images), "truth": coloured(np.where(truth > 0, truth, truth.max()))}
    for network in networks:
        title, weights = network.split("=", 1)
        columns[title] = coloured(Predictor.load(weights)(images))
    rows = list(zip(*columns.values(), strict=True))
    image_grid(rows, list(columns), width=len(rows[0]) * (images.shape[2] + 9) / 100).savefig(out)


if __name__ == "__main__":
    main()
