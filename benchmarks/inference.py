"""Time of one depth map: the predictor beside the plain network, taken in turns in one process, as JSON.

    OMP_NUM_THREADS=2 python benchmarks/inference.py --size 192 640 --width 64

`plain` is the trained network in evaluation mode: batch norm apart, all four heads, PyTorch's default memory layout.
Times are medians in milliseconds; on a busy machine compare the ratios, or the CPU times with one thread.
"""

import json
import statistics
import time

import click
import numpy as np
import torch

from ssmde_lib.inference.predictor import Predictor, fold_batch_norm
from ssmde_lib.networks.depth_net import DepthNet


@click.command()
@click.option("--size", type=(int, int), default=(192, 640), show_default=True)
@click.option("--layers", default=18, show_default=True)
@click.option("--width", default=64, show_default=True)
@click.option("--batch", default=1, show_default=True)
@click.option("--repeats", default=15, show_default=True)
def main(size: tuple[int, int], layers: int, width: int, batch: int, repeats: int) -> None:
    torch.manual_seed(0)
    net = DepthNet(layers, width).eval()
    folded, predictor = fold_batch_norm(net), Predictor(net, size, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (batch, *size, 3), np.uint8)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    ways = {"plain": lambda: net(tensor), "folded": lambda: folded(tensor), "predictor": lambda: predictor(images)}
    wall, cpu = ({name: [] for name in ways} for _ in range(2))
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for name, run in ways.items():
                start_wall, start_cpu = time.perf_counter(), time.process_time()
                run()
                wall[name].append(time.perf_counter() - start_wall)
                cpu[name].append(time.process_time() - start_cpu)
    wall_ms, cpu_ms = (
        {name: round(1000 * statistics.median(times[1:]), 1) for name, times in clock.items()} for clock in (wall, cpu)
    )
    facts = {
        "size": size,
        "layers": layers,
        "width": width,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "wall_ms": wall_ms,
        "best_wall_ms": {name: round(1000 * min(times[1:]), 1) for name, times in wall.items()},
        "cpu_ms": cpu_ms,
        "speed_up_of_cpu_time": {name: round(cpu_ms["plain"] / cpu_ms[name], 3) for name in ways},
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
