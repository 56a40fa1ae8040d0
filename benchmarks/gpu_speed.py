"""Images a second and memory on a GPU, one JSON line each as soon as it is measured; parts of benchmarks/gpu_check.py.

python benchmarks/gpu_speed.py steps      the step of benchmarks/step.py in all its settings, beside the literal one
python benchmarks/gpu_speed.py recipes    the trainings of configs/gpu.yaml and of the laptop, on random frames
python benchmarks/gpu_speed.py kitti      the recipe gpu-kitti for some iterations on real frames, and a picture
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
import yaml
from PIL import Image
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests")]
from reference.step import LiteralStep
from step import make, random_data

from ssmde_lib.data.layout import find_clips
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.devices import best_device, device_name
from ssmde_lib.inference.colours import colourise
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.synthetic.clips import write_world
from ssmde_lib.training.loop import train
from ssmde_lib.training.objective import Objective
from ssmde_lib.training.schedule import Schedule

BF16 = {"precision": "bf16", "channels_last": True}
EAGER = {  # options of the step
    "fp32": {},
    "tf32": {},
    "tf32, channels_last": {"channels_last": True},
    "bf16": {"precision": "bf16"},
    "bf16, channels_last": BF16,
}
COMPILED = {  # a minute each to begin with
    "bf16, channels_last, compiled": BF16 | {"compile": "default"},
    "bf16, channels_last, reduce-overhead": BF16 | {"compile": "reduce-overhead"},
}
FULL = Losses(ranking=0.1, normal=0.1, edge_normal=0.1, geometry=0.1, distillation=0.5, direct_pose_iterations=2)
DEVICE = best_device()


def say(**result) -> None:
    print(json.dumps(result), flush=True)


def wait() -> None:
    """Until the device has done what it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def peak_mib() -> float | None:
    """Most memory that tensors took since the last call."""
    if DEVICE.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return round(peak)


def seconds_a_call(function, repeats: int) -> float:
    """Mean of some calls after up to three to warm up; only their end is waited for, as in a training."""
    for _ in range(min(3, repeats)):
        function()
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        function()
    wait()
    return (time.perf_counter() - began) / repeats


def busy(function, repeats: int = 5) -> dict:
    """Share of the time in which the GPU computes, kernels a call, and the five operations that take longest."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        began = time.perf_counter()
        for _ in range(repeats):
            function()
        wait()
        wall = time.perf_counter() - began
    kernels = [event for event in found.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    operations = sorted(found.key_averages(), key=lambda event: -event.self_device_time_total)
    return {
        "busy": round(sum(event.device_time for event in kernels) * 1e-6 / wall, 3),
        "kernels": len(kernels) // repeats,
        "longest_ms": {e.key[:60]: round(e.self_device_time_total / repeats / 1000, 3) for e in operations[:5]},
    }


@click.group()
def main() -> None:
    """Measure on the GPU, or where there is none on the CPU."""
    say(device=device_name(), torch=torch.__version__)


@main.command()
@click.option("--batch", default=12)
@click.option("--height", default=192)
@click.option("--width", default=640)
@click.option("--network-width", default=64)
@click.option("--repeats", default=30)
@click.option("--compiled", is_flag=True, help="The settings of torch.compile, in place of the others.")
def steps(batch: int, height: int, width: int, network_width: int, repeats: int, compiled: bool) -> None:
    """The base and the full step in every setting, each beside the literal reference in full precision."""
    data = {name: value.to(DEVICE) for name, value in random_data(batch, height, width).items()}
    reference = {}
    for loss in ("base", "full"):
        use_tf32(False)
        seconds = seconds_a_call(LiteralStep(data, loss).step, repeats // 3 + 1)
        reference[loss] = batch / seconds
        say(step="literal reference", loss=loss, images_per_s=round(reference[loss], 1), peak_mib=peak_mib())
    for name, options in (COMPILED if compiled else EAGER).items():
        for loss in ("base", "full"):
            use_tf32(name != "fp32")
            try:
                step = make(batch, height, width, data, loss=loss, network_width=network_width, **options)
                rate = batch / seconds_a_call(step.step, repeats)
                rates = {"images_per_s": round(rate, 1), "times_the_reference": round(rate / reference[loss], 2)}
                say(step=name, loss=loss, **rates, peak_mib=peak_mib())
                if DEVICE.type == "cuda":
                    say(step=name, loss=loss, **busy(step.step))
            except Exception as error:  # a setting that fails says so, and the next one is measured
                say(step=name, loss=loss, failed=f"{type(error).__name__}: {str(error)[:300]}")


def use_tf32(yes: bool) -> None:
    """Whether matrix products and convolutions may round to ten bits."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = yes


class RandomTriplets(torch.utils.data.Dataset):
    """Random frames, maps of a prior and labels of a teacher, at the size of a recipe."""

    def __init__(self, height: int, width: int, items: int = 32):
        generator = torch.Generator().manual_seed(0)
        self.frames = torch.randint(256, (items, 3, height, width), dtype=torch.uint8, generator=generator)
        self.depth = 1 + torch.rand(1, height, width, generator=generator)
        self.K = torch.tensor([[0.6 * width, 0, width / 2], [0, 1.9 * height, height / 2], [0, 0, 1]])

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, i: int) -> dict:
        frames = {name: self.frames[(i + k) % len(self)] for k, name in enumerate(("tgt", "prev", "next"))}
        return frames | {
            "K": self.K,
            "relative_depth": self.depth,
            "teacher_depth": self.depth,
            "teacher_mask": self.depth > 1.1,
        }


def gpu_recipes() -> dict[str, dict]:
    """Height, width and batch of each real set's recipe."""
    sets = yaml.safe_load((ROOT / "configs/gpu.yaml").read_text())["sets"]
    sizes = {name: {side: one["01_data"][side] for side in ("height", "width")} for name, one in sets.items()}
    return {name: size | {"batch": sets[name]["common"]["batch_size"]} for name, size in sizes.items()}


def network(width: int, shrink: int) -> Architecture:
    """The network of the recipes; a small one where the sizes are divided."""
    return Architecture(width=width, encoder="efficientnet_lite0") if shrink == 1 else Architecture(width=8)


def trained(data, architecture: Architecture, losses: Losses, schedule: Schedule):
    """A training as the notebooks do it: model, log, rates; the rates leave out its first quarter."""
    times, model = [], architecture.build(0)

    def watch(model, records, step):
        if step in (schedule.steps // 4, schedule.steps):
            wait()
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        log = train(model, Objective(losses, model), data, schedule, seed=0, folder=Path(folder), watch=watch)
    rate = (schedule.steps - schedule.steps // 4) / (times[1] - times[0])
    rates = {"steps_per_s": round(rate, 4), "images_per_s": round(rate * schedule.batch_size, 1)}
    return model, log, rates | {"peak_mib": peak_mib()}


@main.command()
@click.option("--precision", type=click.Choice(["no", "bf16"]), default="bf16")
@click.option("--iterations", default=60)
@click.option("--shrink", default=1, help="Divide the sizes, for a machine without a GPU.")
def recipes(precision: str, iterations: int, shrink: int) -> None:
    """Memory and speed of every recipe with all its losses, its frames through eight loader processes."""
    found = {name: (64, one) for name, one in gpu_recipes().items()}
    found |= {"laptop": (24, {"height": 64, "width": 192, "batch": 6})}
    for name, (network_width, one) in found.items():
        height, width = (max(32, one[side] // shrink // 32 * 32) for side in ("height", "width"))
        options = {"precision": precision, "workers": 8 // shrink, "log_every": iterations}
        schedule = Schedule(iterations, one["batch"], warmup=0.0, **options)
        _, _, rates = trained(RandomTriplets(height, width), network(network_width, shrink), FULL, schedule)
        say(recipe=name, size=[height, width], batch=one["batch"], precision=precision, **rates)


@main.command()
@click.option("--data", type=click.Path(path_type=Path), help="A prepared set; where it is not there, the street.")
@click.option("--picture", type=click.Path(path_type=Path), required=True)
@click.option("--iterations", default=300)
@click.option("--shrink", default=1, help="Divide the size, for a machine without a GPU.")
def kitti(data: Path | None, picture: Path, iterations: int, shrink: int) -> None:
    """The base training of PROFILE=gpu-kitti in bf16, its few frames on the device."""
    one = gpu_recipes()["kitti"]
    size = one["height"] // shrink // 32 * 32, one["width"] // shrink // 32 * 32
    with tempfile.TemporaryDirectory() as folder:
        if not (data and data.is_dir()):
            data = Path(folder) / "street"
            splits = {"train": 1, "val": 0, "test": 0}
            write_world(data, "street", splits, frames=12, height=size[0], width=size[1])
        clips = find_clips(data, "train")
        triplets = Triplets(clips, size=size)
        schedule = Schedule(iterations, one["batch"], 1e-4, precision="bf16", log_every=iterations)
        model, log, rates = trained(triplets, network(64, shrink), Losses(direct_pose_iterations=2), schedule)
        frame = triplets[0]["tgt"]
        with torch.inference_mode():
            net = model.depth_net.eval()
            depth = net.depth(net(frame[None].to(DEVICE).float() / 255)[0])[0]
    Image.fromarray(np.vstack([frame.permute(1, 2, 0).numpy(), colourise(depth)])).save(picture)
    say(
        recipe="gpu-kitti",
        data=clips[0].name,
        iterations=iterations,
        size=list(size),
        loss=log[-1]["photometric"],
        **rates,
    )


if __name__ == "__main__":
    main()
