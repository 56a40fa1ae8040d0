"""CPU time of a training item: three 1242x375 JPEGs to 640x192, augmentation included, beside the literal loader.

Prints JSON.

python benchmarks/loader.py [--items 40]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from reference.loader import load

from ssmde_lib.data.augment import FRAMES, augment
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.geometry.camera import resize_intrinsics

SIZE, FULL, BATCH = (192, 640), (375, 1242), 4
KITTI = ROOT.parent / "shared/data/kitti_raw/2011_09_26/2011_09_26_drive_0005_sync/image_02/data"


def write_clip(folder: Path, size: tuple[int, int]) -> str:
    """Frames of the real slice where it is there, else of noise smoothed to a picture's JPEG size."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = [cv2.imread(str(path)) for path in sorted(KITTI.glob("*.png"))]
    source = "KITTI 0005" if images else "smoothed noise"
    images = images or [cv2.GaussianBlur(rng.integers(0, 255, (*FULL, 3), np.uint8), (0, 0), 1.5) for _ in range(20)]
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:06d}.jpg"), cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))
    K = np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]])
    np.savetxt(folder / "cam.txt", resize_intrinsics(K, FULL, size))
    return source


def cpu_ms(function, repeats: int) -> tuple[float, float]:
    """Median and least CPU milliseconds of a call, all threads counted.

    Other processes slow the median, hardly the least.
    """
    times = []
    for i in range(repeats):
        start = time.process_time()
        function(i)
        times.append(time.process_time() - start)
    return round(1000 * float(np.median(times)), 2), round(1000 * min(times), 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=40)
    items = parser.parse_args().items
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        full, prepared = Path(folder) / "full", Path(folder) / "prepared"
        source = write_clip(full, FULL)
        write_clip(prepared, SIZE)
        raw, streamed = Triplets([Clip(full)], memory=0, size=SIZE), Triplets([Clip(prepared)], memory=0)
        memory = Triplets([Clip(prepared)])
        batch = {key: torch.stack([raw[i][key] for i in range(BATCH)]) for key in ("tgt", "prev", "next", "K")}
        paths = sorted(full.glob("*.jpg"))
        rng = np.random.default_rng(0)

        def on_device(_):
            floats = {name: batch[name].float() / 255 for name in FRAMES}
            augment(floats | {"K": batch["K"]}, generator)

        read = cpu_ms(lambda i: raw[i % len(raw)], items)
        augmentation = [round(ms / BATCH, 2) for ms in cpu_ms(on_device, items)]
        result = {
            "frames": source,
            "values": ["median", "least"],
            "read_1242x375_jpeg_ms": read,
            "augment_ms": augmentation,
            "item_ms": [round(sum(parts), 2) for parts in zip(read, augmentation, strict=True)],
            "read_prepared_640x192_jpeg_ms": cpu_ms(lambda i: streamed[i % len(streamed)], items),
            "read_memory_ms": cpu_ms(lambda i: memory[i % len(memory)], items),
            "literal_item_ms": cpu_ms(
                lambda i: load(paths[i % 10 : i % 10 + 3], SIZE, rng.random(4)), max(3, items // 10)
            ),
            "goal_item_ms": 25,
            "threads": 1,
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
