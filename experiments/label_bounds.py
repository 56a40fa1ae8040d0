"""Upper bounds for a student: the error of alternative labels in place of the teacher's depth, as JSON.

    OMP_NUM_THREADS=1 python experiments/label_bounds.py runs/laptop/01_data runs/laptop/06_teacher

Asking the teacher of the picture and its mirror image, or of nearer windows too, as the prior is asked; asking the
prior; the mean of both. A student rarely learns more than its labels know, so what is no better here need not be
trained.
"""

import json
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssmde_lib.data.layout import find_clips
from ssmde_lib.evaluation import evaluate_clips, get_protocol
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.prior import get_provider
from ssmde_lib.prior.test_time_augmentation import FlipAverage, MultiCrop, resize


class LogDepth(nn.Module):
    """A depth network with the interface of MultiCrop: output in log-depth."""

    def __init__(self, net: DepthNet):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.depth(self.net(images)[0]).log()


class TeacherCrops(MultiCrop):
    """MultiCrop without the normalisation of the prior's images."""

    def look(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(self.net(F.interpolate(images, size, mode="bilinear", align_corners=False)), images)


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("stage", type=click.Path(exists=True, path_type=Path))
@click.option("--split", default="val", show_default=True)
@click.option("--clips", default=12, show_default=True, help="Number of clips, the first of the split.")
@torch.inference_mode()
def main(data: Path, stage: Path, split: str, clips: int) -> None:
    teacher, prior = LogDepth(checkpoint.load(stage / "depth.safetensors")), get_provider("leres_small")
    asked = FlipAverage(teacher)
    crops = TeacherCrops(asked, [tuple(checkpoint.read_record(stage / "depth.safetensors")["size"])])

    def mean_of_both(images: Tensor) -> Tensor:
        mine, its = (depth - depth.mean((2, 3), keepdim=True) for depth in (asked(images), prior(images).log()))
        return (mine + its) / 2

    labels = {
        "the teacher": teacher, "flip_average": asked, "multi_crop": lambda images: crops(images).log(),
        "the prior": lambda images: prior(images).log(), "mean of flip_average and the prior": mean_of_both,
    }  # fmt: skip

    for name, label in labels.items():

        def predict(images: np.ndarray, label=label) -> np.ndarray:
            return label(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).exp()[:, 0].numpy()

        results = evaluate_clips(predict, find_clips(data, split)[:clips], get_protocol("embedded"))
        print(
            json.dumps(
                {"label": name}
                | {region: round(figures["abs_rel"], 4) for region, figures in results.summary().items()}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
