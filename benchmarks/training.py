"""What a run of the tutorial computes: a step of each training, depth of the prior, labels from many views, as JSON.

    OMP_NUM_THREADS=1 python benchmarks/training.py

Steps are those of `ssmde_lib.training` on random frames in memory, with the losses of the notebooks, at the laptop's
size and at 192x640; each in a process of its own, whose peak memory is told. Prior and labels work on one clip of the
street.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import click
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from alone import alone
from gpu_speed import RandomTriplets, network, trained

from ssmde_lib.ablation.variants import DIRECT_POSE, LABELS_ALONE, PRIOR
from ssmde_lib.labels.filters import Filter
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks import checkpoint
from ssmde_lib.pipeline.stages import write_labels
from ssmde_lib.prior.evaluate import SINGLE_PASS
from ssmde_lib.prior.providers import get_provider
from ssmde_lib.prior.pseudo_depth import write_pseudo_depth
from ssmde_lib.synthetic.clips import write_world
from ssmde_lib.training.schedule import Schedule

LOSSES = {
    "base": Losses(),
    "base, direct poses": Losses(**DIRECT_POSE),
    "teacher": Losses(**PRIOR, **DIRECT_POSE),
    "student": Losses(**LABELS_ALONE),
}
SIZES = {"64x192": (24, 64, 192, 6), "192x640": (64, 192, 640, 4)}  # width of the network, height, width, batch
FRAMES = 24


def step(size: str, losses: str, steps: int) -> dict:
    """Seconds of a step of one training, without its first quarter: later every step refines the motion, if told to."""
    width, *picture, batch = SIZES[size]
    schedule = Schedule(steps, batch, log_every=steps)
    *_, rates = trained(RandomTriplets(*picture), network(width, 1), LOSSES[losses], schedule)
    return {"step_s": round(1 / rates["steps_per_s"], 3), "batch": batch}


def prior(name: str, options: dict) -> dict:
    """CPU seconds of a frame."""
    images, predict = torch.rand(FRAMES, 3, 64, 192), get_provider(name, **options)
    predict(images[:1])
    began = time.process_time()
    for image in images:
        predict(image[None])
    return {"cpu_s_a_frame": round((time.process_time() - began) / FRAMES, 4)}


def labels(scale: int) -> dict:
    """CPU seconds of a frame of a clip, on pictures `scale` times as large as the training's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for factor in {1, scale}:
            size = {"height": 64 * factor, "width": 192 * factor}
            write_world(folder / str(factor), "street", {"train": 1, "val": 0, "test": 0}, frames=FRAMES, **size)
        model = network(24, 1).build(0).eval()
        checkpoint.save(model.depth_net, folder / "depth.safetensors", {"size": (64, 192)})
        checkpoint.save(model.pose_net, folder / "pose.safetensors", {})
        pictures, pseudo = folder / str(scale) if scale > 1 else None, folder / "pseudo"
        write_pseudo_depth(get_provider("leres_small"), folder / "1", pseudo)
        began = time.process_time()
        write_labels(folder / "labels", folder / "1", folder, Filter("multi_view"), pseudo=pseudo, pictures=pictures)
        return {"cpu_s_a_frame": round((time.process_time() - began) / FRAMES, 4)}


@click.command()
@click.option("--steps", default=24, show_default=True)
def main(steps: int) -> None:
    jobs = {f"step {size} {losses}": (step, (size, losses, steps)) for size in SIZES for losses in LOSSES}
    jobs |= {f"prior {name}": (prior, (name, {})) for name in SINGLE_PASS}
    jobs |= {f"prior {name}, fast": (prior, (name, options)) for name, options in SINGLE_PASS.items()}
    jobs |= {f"labels, pictures {scale} times as large": (labels, (scale,)) for scale in (1, 2)}
    result = {}
    for name, (job, arguments) in jobs.items():
        result[name] = alone(job, *arguments)
        click.echo(json.dumps({name: result[name]}), err=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
