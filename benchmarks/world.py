"""Rendering speed of the embedded worlds as JSON.

CPU seconds a frame with all outputs, and the 640-frame budget on `workers` cores.

    OMP_NUM_THREADS=1 python benchmarks/world.py [--frames 40] [--write]

Without `--write` one process renders in memory and process CPU time counts (robust on a busy machine; building the
scenes included); with it 640 frames of 64x192 are written with all outputs by two workers: wall time, and the CPU time
of each core.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ssmde_lib.synthetic import render_clip, write_world
from ssmde_lib.synthetic.clips import OUTPUTS

SIZES = {
    "64x192": (64, 192, 30.0),
    "192x640": (192, 640, 300.0),
}  # height, width, seconds allowed for 640 frames on 2 cores


def measure(world: str, size: str, frames: int, clips: int = 4) -> dict:
    height, width, allowed = SIZES[size]
    start, count = time.process_time(), 0
    for seed in range(clips):
        count += sum(1 for _ in render_clip(world, seed, max(1, frames // clips), height, width))
    seconds = (time.process_time() - start) / count
    return {
        "world": world,
        "size": size,
        "frames": count,
        "cpu_s_per_frame": round(seconds, 4),
        "fps_per_core": round(1 / seconds, 1),
        "s_640_frames_2_cores": round(640 * seconds / 2, 1),
        "allowed_s": allowed,
    }


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_writing(world: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        start, used = time.perf_counter(), children_cpu()
        write_world(folder, world, {"train": 10, "val": 2, "test": 4}, frames=40, outputs=OUTPUTS, workers=2)
        return {
            "world": world,
            "size": "64x192",
            "written_frames": 640,
            "wall_s": round(time.perf_counter() - start, 1),
            "cpu_s_per_core": round((children_cpu() - used) / 2, 1),
            "allowed_s": 30.0,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write:
        results = [measure_writing(world) for world in ("street", "room")]
    else:
        results = [measure(world, size, options.frames) for world in ("street", "room") for size in SIZES]
    print(json.dumps(results, indent=1))
