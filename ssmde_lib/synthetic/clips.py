"""Renders the worlds: frames in memory (`render_clip`), and data sets on disk (`write_world`).

The layout is that of docs/design.md.
"""

import inspect
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ssmde_lib import opencv as cv2
from ssmde_lib.data.layout import SPLITS

from ..errors import UserError
from .engine import Frame
from .failure_cases import FAILURE_CASES
from .objects import FPS
from .room import room
from .sensor import Sensor, render_with_sensor
from .street import street

WORLDS = {"street": street, "room": room}
DEPTH_UNITS = 256  # per metre in depth/NNNNNN.png
OUTPUTS = ("depth", "movers", "instance", "normal", "flow")


def render_clip(
    world: str = "street",
    seed: int | Sequence[int] = 0,
    frames: int = 50,
    height: int = 64,
    width: int = 192,
    difficulty: str | None = None,
    **options,
) -> Iterator[Frame]:
    """Frames of one clip, deterministic by `seed` (an integer or a sequence of integers).

    `difficulty` is a name in DIFFICULTIES, which brings its own world and options. Other `options`: `noise`,
    `exposure`, `motion_blur` of `sensor.Sensor`, and those of the world's builder, `street.street` or `room.room`
    (movers, camera motion). Raises UserError for an unknown world, difficulty or option, and for sizes that are not
    positive.
    """
    if difficulty is not None:
        case = _known("difficulty", difficulty, FAILURE_CASES)
        world, options = case.world, case.options | options
    builder = _known("world", world, WORLDS)
    if min(frames, height, width) < 1:
        raise UserError(f"frames, height and width must be at least 1, got {frames}, {height}, {width}")
    sensor = Sensor(**{k: options.pop(k) for k in list(options) if k in Sensor.__dataclass_fields__})
    for option in options:
        _known("option", option, [*inspect.signature(builder).parameters][4:])
    seeds = np.atleast_1d(seed)
    shot = builder(np.random.default_rng(seeds), frames, height, width, **options)
    return (render_with_sensor(shot, sensor, height, width, t, seeds) for t in range(frames))


def _known(kind: str, name: str, choices) -> Any:
    """choices[name], or a UserError that lists them."""
    if name not in choices:
        raise UserError(f"{kind} {name!r} is unknown; choose among {', '.join(choices)}")
    return choices[name] if isinstance(choices, dict) else name


def write_world(
    root,
    world: str = "street",
    split_clips=None,
    frames: int = 50,
    height: int = 64,
    width: int = 192,
    seed: int = 0,
    outputs=("depth", "movers"),
    workers: int = 2,
    **options,
) -> list[Path]:
    """Writes `split_clips` = {"train": 10, "val": 2, "test": 4} clips below `root`; returns their folders.

    Clip n of a split is seeded by (seed, split, n): splits share no scene, whatever their sizes. A clip is written
    aside and moved into place when whole, so that a second call continues where the first was interrupted. `options`
    are those of `render_clip`; of the `outputs`, normal, flow and instance are large and left out unless asked for.
    Raises UserError when a finished clip there was made with other settings.
    """
    split_clips = {"train": 10, "val": 2, "test": 4} if split_clips is None else split_clips
    for kind, names, choices in (("split", split_clips, SPLITS), ("output", outputs, OUTPUTS)):
        for name in names:
            _known(kind, name, choices)
    jobs = []
    for split, clips in split_clips.items():
        for n in range(clips):
            record = {
                "source": f"ssmde_lib.synthetic {world}",
                "licence": "MIT",
                "fps": FPS,
                "size": [width, height],
                "frames": frames,
                "depth_png_units_per_metre": DEPTH_UNITS,
                "seed": [seed, SPLITS.index(split), n],
                "outputs": sorted(outputs),
                "options": options,
            }
            jobs.append((Path(root) / split / f"{world}_{n:03d}", world, record))
    todo = [job for job in jobs if not _finished(*job)]
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        written = (pool.map if pool else map)(_write_clip, *zip(*todo, strict=True)) if todo else ()
        for _ in tqdm(written, f"{world} clips", len(todo), disable=not todo):
            pass
    return [folder for folder, _, _ in jobs]


def _finished(folder: Path, world: str, record: dict) -> bool:
    if not folder.exists():
        return False
    path = folder / "clip.json"
    if not path.exists() or json.loads(path.read_text()) != record:
        raise UserError(f"{folder} holds a clip made with other settings; delete it or choose another folder")
    return True


def _write_clip(folder: Path, world: str, record: dict) -> None:
    partial = folder.parents[1] / ".partial" / folder.parent.name / folder.name
    width, height = record["size"]
    for sub in ("", *record["outputs"]):
        (partial / sub).mkdir(parents=True, exist_ok=True)
    poses = []
    for n, frame in enumerate(render_clip(world, record["seed"], record["frames"], height, width, **record["options"])):
        _write_png(partial / f"{n:06d}.png", frame.rgb[..., ::-1])
        for output in record["outputs"]:
            _WRITERS[output](partial / output / f"{n:06d}", frame)
        poses.append(frame.T_world_cam.ravel())
    np.savetxt(partial / "cam.txt", frame.K, "%.9g")
    np.savetxt(partial / "poses_cam_to_world.txt", poses, "%.9g")
    (partial / "clip.json").write_text(json.dumps(record, indent=1))
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, folder)


def _write_png(path: Path, image) -> None:
    if not cv2.imwrite(str(path), image):
        raise UserError(f"{path} could not be written; is the disk full?")


def _write_depth(stem: Path, frame: Frame) -> None:
    units = np.where(np.isfinite(frame.depth), np.rint(frame.depth * DEPTH_UNITS), 0)
    _write_png(
        stem.with_suffix(".png"), np.where(units <= 65535, units, 0).astype(np.uint16)
    )  # beyond 256 m: no measurement


def _write_normal(stem: Path, frame: Frame) -> None:
    _write_png(stem.with_suffix(".png"), np.rint((frame.normal[..., ::-1] + 1) * 32767.5).astype(np.uint16))


def _write_flow(stem: Path, frame: Frame) -> None:
    height, width = frame.depth.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    assert frame.flow is not None  # rendered with the next frame's camera
    u, v = x + frame.flow[..., 0], y + frame.flow[..., 1]
    valid = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
    np.savez(stem.with_suffix(".npz"), flow=np.where(valid[..., None], frame.flow, 0).astype(np.float16), valid=valid)


_WRITERS = {
    "depth": _write_depth,
    "movers": lambda stem, frame: _write_png(stem.with_suffix(".png"), frame.dynamic_mask),
    "instance": lambda stem, frame: _write_png(stem.with_suffix(".png"), frame.instance.astype(np.uint16)),
    "normal": _write_normal,
    "flow": _write_flow,
}
