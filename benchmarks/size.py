"""Time and memory of large input: a 4K video with point clouds, and recordings of 20,000 frames, as JSON.

    OMP_NUM_THREADS=2 python benchmarks/size.py

Every job runs in a process of its own, on a part of the frames and on all of them: the seconds of a frame are the
difference of the two times over that of the frames, so that no start is counted, and memory is flat where the peaks are
alike. 20,000 frames are 96x64 pixels large, their networks small: the number of frames is what is tried.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from alone import alone

SMALL, LARGE = (64, 96), (2160, 3840)


def write_film(path: Path, size: tuple[int, int], frames: int) -> None:
    """A wall that passes by, three pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 48, 3), np.uint8)
    wall = cv2.resize(np.tile(noise, (1, 2, 1)), (2 * size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, size[::-1])
    for i in range(frames):
        start = 3 * i % size[1]
        writer.write(np.ascontiguousarray(wall[:, start : start + size[1]]))
    writer.release()


def write_networks(folder: Path) -> None:
    from ssmde_lib.networks import checkpoint
    from ssmde_lib.networks.architecture import Architecture

    model = Architecture(width=8).build(0).eval()
    checkpoint.save(model.depth_net, folder / "depth.safetensors", {"size": SMALL})
    checkpoint.save(model.pose_net, folder / "pose.safetensors", {})


def ssmde_predict(folder: Path, film: str, frames: int, *options: str) -> float:
    """Megabytes written a frame."""
    from ssmde_lib.cli import main

    out = folder / f"{film}_{frames}"
    main.main(
        ["predict", str(folder / f"{film}.mp4"), "-o", str(out), "--limit", str(frames), *options],
        standalone_mode=False,
    )
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / frames / 1e6


def predict_4k_with_clouds(folder: Path, frames: int) -> float:
    return ssmde_predict(folder, "4k", frames, "--ply")


def predict(folder: Path, frames: int) -> float:
    return ssmde_predict(folder, "long", frames, "--checkpoint", str(folder / "depth.safetensors"))


def prepare(folder: Path, frames: int) -> None:
    from data_scripts.prepare_video import main

    options = ["--fov", "60", "--height", "64", "--width", "96", "--split", "train"]
    main.main(
        [str(folder / "long.mp4"), "--out", str(folder / f"set{frames}"), "--limit", str(frames), *options],
        standalone_mode=False,
    )


def label(folder: Path, frames: int) -> None:
    from ssmde_lib.labels.filters import Filter
    from ssmde_lib.pipeline.stages import write_labels

    write_labels(folder / f"labels{frames}", folder / f"set{frames}", folder, Filter("plain"))


def measure_consistency(folder: Path, frames: int) -> None:
    from ssmde_lib.data.layout import find_clips
    from ssmde_lib.inference import consistency
    from ssmde_lib.networks import checkpoint

    networks = [checkpoint.load(folder / f"{name}.safetensors") for name in ("depth", "pose")]
    consistency.measure_consistency(*networks, find_clips(folder / f"set{frames}", "train"))


def measured(job, folder: Path, frames: int) -> dict:
    """Seconds and CPU seconds of a job."""
    wall, cpu = time.perf_counter(), time.process_time()
    megabytes = job(folder, frames)
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "mb_a_frame": megabytes}


def compare(job, folder: Path, few: int, many: int) -> dict:
    """A job on few and on many frames, each in a new process."""
    runs = [alone(measured, job, folder, frames) for frames in (few, many)]
    facts = {
        f"{clock}_s_a_frame": round((runs[1][f"{clock}_s"] - runs[0][f"{clock}_s"]) / (many - few), 4)
        for clock in ("wall", "cpu")
    }
    facts |= {"frames": [few, many], "peak_mib": [run["peak_mib"] for run in runs]}
    return facts | ({"mb_a_frame": round(runs[1]["mb_a_frame"], 1)} if runs[1]["mb_a_frame"] else {})


JOBS = {job.__name__: job for job in (predict_4k_with_clouds, prepare, predict, label, measure_consistency)}


@click.command()
@click.option("--job", "jobs", type=click.Choice(list(JOBS)), multiple=True, default=list(JOBS), show_default=True)
@click.option("--frames", default=20_000, show_default=True)
@click.option("--frames-4k", default=48, show_default=True)
def main(jobs: tuple[str, ...], frames: int, frames_4k: int) -> None:
    result = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_film(folder / "4k.mp4", LARGE, frames_4k)
        write_film(folder / "long.mp4", SMALL, frames)
        write_networks(folder)
        for job in jobs:
            few, many = (frames_4k // 3, frames_4k) if "4k" in job else (frames // 10, frames)
            result[job] = compare(JOBS[job], folder, few, many)
            click.echo(json.dumps(result), err=True)  # what is known so far
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
