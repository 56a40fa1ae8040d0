"""What could a student learn at most? The error of labels that could be had in place of the teacher's word, as JSON.

    OMP_NUM_THREADS=1 python benchmarks/labels.py runs/laptop/01_data runs/laptop/06_teacher

Asking the teacher of the picture and its mirror image, or of nearer windows too, as the prior is asked; asking the prior; the mean of both.
A student rarely learns more than its labels know, so what is no better here need not be trained.
"""

import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

from ssmde_lib.datasets.clip import find_clips
from ssmde_lib.evaluation import evaluate_clips, get_protocol
from ssmde_lib.inference import Predictor
from ssmde_lib.prior import get_provider
from ssmde_lib.prior.looks import feather, windows

Label = Callable[[np.ndarray], np.ndarray]  # rgb uint8 b h w 3 to log-depth b h w


def both_ways(look: Label) -> Label:
    return lambda images: (look(images) + look(images[:, :, ::-1])[:, :, ::-1]) / 2


def many_looks(look: Label) -> Label:
    """The mean of the whole and of the four windows of `ManyLooks`, each brought to the whole's mean."""

    def label(images: np.ndarray) -> np.ndarray:
        whole = look(images)
        total, weights = whole.copy(), np.ones_like(whole)
        for window in windows(*whole.shape[1:]):
            near = look(images.transpose(0, 3, 1, 2)[window].transpose(0, 2, 3, 1))
            weight = feather(*near.shape[1:]).numpy()
            total[window] += weight * (near + (whole[window] - near).mean((1, 2), keepdims=True))
            weights[window] += weight
        return total / weights

    return label


def mean_of(one: Label, other: Label) -> Label:
    def label(images: np.ndarray) -> np.ndarray:
        first, second = one(images), other(images)
        return first + (second - second.mean((1, 2), keepdims=True) - first + first.mean((1, 2), keepdims=True)) / 2

    return label


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("stage", type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="val", show_default=True)
@click.option("--clips", default=12, show_default=True, help="so many of the split's first")
def main(data: Path, stage: Path, split: str, clips: int) -> None:
    predictor, provider = Predictor.load(stage / "depth.safetensors", "cpu"), get_provider("leres_small")

    def teacher(images: np.ndarray) -> np.ndarray:
        return np.log(predictor(np.ascontiguousarray(images)))

    def prior(images: np.ndarray) -> np.ndarray:
        return provider(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)[:, 0].log().numpy()

    asked = both_ways(teacher)
    labels = {"the teacher": teacher, "both ways": asked, "many looks": many_looks(asked), "the prior": prior, "mean of both ways and the prior": mean_of(asked, prior)}
    for name, label in labels.items():
        results = evaluate_clips(lambda images, label=label: np.exp(label(images)), find_clips(data, split)[:clips], get_protocol("embedded"))
        print(json.dumps({"label": name} | {region: round(figures["abs_rel"], 4) for region, figures in results.summary().items()}), flush=True)


if __name__ == "__main__":
    main()
