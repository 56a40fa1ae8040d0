"""Time to evaluate KITTI's 697 test images from depth PNGs at 375x1242 and predictions at 192x640, as JSON.

    OMP_NUM_THREADS=2 python benchmarks/evaluation.py

The truth is as sparse as a projected LiDAR scan (5 % of the pixels) and is decoded for every image; `literal` is the
loop on full maps in tests/reference/evaluation.py, run on fewer images of the same kind.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from ssmde_lib.evaluation import Sample, evaluate, get_protocol
from tests.reference.evaluation import evaluate_literally

DIFFERENT = 20  # PNGs; more would only fill the memory


def make_samples(count: int) -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    maps = []
    for _ in range(DIFFERENT):
        depth = rng.uniform(2, 70, (375, 1242)) * (rng.random((375, 1242)) < 0.05)
        maps.append(cv2.imencode(".png", np.round(depth * 256).astype(np.uint16))[1])
    preds = rng.uniform(0.05, 2, (DIFFERENT, 192, 640)).astype(np.float32)
    for i in range(count):
        gt = cv2.imdecode(maps[i % DIFFERENT], cv2.IMREAD_UNCHANGED).astype(np.float32) / 256
        yield Sample(f"drive{i // 50}", f"{i:06d}", preds[i % DIFFERENT], gt)


def timed(run) -> tuple[float, float, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


@click.command()
@click.option("--images", default=697, show_default=True)
@click.option("--literal-images", default=60, show_default=True)
def main(images: int, literal_images: int) -> None:
    protocol = get_protocol("kitti")
    wall, cpu, results = timed(lambda: evaluate(make_samples(images), protocol))
    intervals_wall, _, _ = timed(results.intervals)
    literal_wall, literal_cpu, _ = timed(lambda: evaluate_literally(make_samples(literal_images), protocol))
    facts = {
        "images": images,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "ms_per_image_cpu": round(1000 * cpu / images, 2),
        "bootstrap_wall_s": round(intervals_wall, 3),
        "literal": {
            "images": literal_images,
            "wall_s": round(literal_wall, 2),
            "ms_per_image_cpu": round(1000 * literal_cpu / literal_images, 2),
        },
        "speed_up_of_cpu_time": round((literal_cpu / literal_images) / (cpu / images), 2),
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
