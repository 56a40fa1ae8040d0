"""What all preparations share: from a recording at full resolution to a clip of the one on-disk layout (docs/data.md).

An adapter describes its data set as `Sequence` objects. `prepare` leaves near-static frames out, undistorts, resizes,
and writes the clips, over several processes. A clip is built aside and moved into place when it is whole: what an
interrupted run left is taken up again.
"""

import json
import multiprocessing
import shutil
from collections.abc import Collection
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce, wraps
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from ssmde_lib import opencv as cv2
from ssmde_lib.data.layout import SPLITS
from ssmde_lib.data.sparse_depth import nearest_depth, scatter_depth
from ssmde_lib.errors import UserError
from ssmde_lib.files import atomic, make_folder, write_text
from ssmde_lib.geometry.camera import resize_intrinsics
from ssmde_lib.threads import cores

MIN_MOTION = 0.3  # median optical flow below which a frame is near-static, pixels of a 160 pixel wide picture
THUMBNAIL_WIDTH = 160
JPEG_QUALITY = 95


@dataclass
class Sequence:
    """One camera's recording; an adapter overrides the facts and says how frame i is read at full resolution.

    `frames` are the source's names in order of time, `K` 3x3 pixels, `poses` T_world_cam n 4 4 metres, `distortion`
    OpenCV's k1 k2 p1 p2 k3. Where `targets` is given only those frames are meant to be targets of triplets, the others
    source frames.
    """

    SOURCE: ClassVar[str] = ""
    LICENCE: ClassVar[str] = ""
    URL: ClassVar[str]  # of the official server
    SIZE: ClassVar[tuple[int, int]]  # (height, width) that it is trained at
    FPS: ClassVar[float] = 10.0
    STEP: ClassVar[int] = 1  # distance of the source frames to a training target
    DEPTH_UNITS: ClassVar[int] = 256  # of the 16-bit depth PNG, a metre
    SPARSE: ClassVar[bool] = False  # LiDAR: points between empty pixels; else a dense map

    name: str
    split: str
    frames: list[str]
    K: Float[np.ndarray, "3 3"]
    poses: Float[np.ndarray, "n 4 4"] | None = None
    distortion: tuple[float, ...] | None = None
    targets: set[str] | None = None
    rejected: dict[str, list[str]] = field(default_factory=dict)  # reason: frames the adapter left out
    origin: str = field(kw_only=True, default="")  # path of the recording, where names alone do not tell it

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        raise NotImplementedError

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        """Depth (z) of frame i in metres, 0 where not measured; None without a measurement."""

    def dynamic_mask(
        self, i: int, K: Float[np.ndarray, "3 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w"] | None:
        """Moving instances of frame i, seen by a camera K with (height, width) pixels; None where unknown."""


def prepare(
    sequences: Collection[Sequence],
    out: str | Path,
    size: tuple[int, int],
    min_motion: float = MIN_MOTION,
    limit: int | None = None,
    processes: int = 1,
) -> dict:
    """Write every sequence as a clip of `size` (height, width) under `out`, and return and write `summary.json`.

    Frames of the test split and of sequences with given targets are all kept; elsewhere a frame that moved less than
    `min_motion` since the last kept one is dropped. `limit` caps the frames a sequence. Raises UserError where a clip
    of that name was prepared with other settings.
    """
    if size[0] % 32 or size[1] % 32 or min(size) <= 0:
        raise UserError(
            f"size {size[0]}x{size[1]} must be divisible by 32 in height and width: change --height and --width."
        )
    if not min_motion >= 0:
        raise UserError(f"--min-motion is {min_motion}: give 0 (keep all frames) or more pixels.")
    if not sequences:
        raise UserError("nothing to prepare: no sequence was found or selected.")
    out = Path(out)
    make_folder(out)
    total = sum(len(sequence.frames[:limit]) for sequence in sequences)
    with workers(processes) as run, tqdm(total=total, unit="frame") as bar:
        clips = [prepare_clip(sequence, out, size, min_motion, limit, run, bar) for sequence in sequences]
    shutil.rmtree(out / ".part", ignore_errors=True)
    summary = {"clips": clips, "kept": sum(clip["kept"] for clip in clips), "rejected": {}}
    for clip in clips:
        for reason, frames in clip["rejected"].items():
            summary["rejected"][reason] = summary["rejected"].get(reason, 0) + len(frames)
    summary["depth_lost"] = sum(len(clip.get("depth_lost", [])) for clip in clips)
    reasons = [f"{count} {reason}" for reason, count in summary["rejected"].items()]
    reasons += [f"the depth of {summary['depth_lost']} damaged"] * bool(summary["depth_lost"])
    click.echo(f"{out}: {summary['kept']} frames kept; {', '.join(reasons) or 'none'} left out", err=True)
    write_text(out / "summary.json", json.dumps(summary, indent=1))
    return summary


@contextmanager
def workers(processes: int):
    """A lazy, ordered `map` over `workers` spawned processes.

    Spawned, because a fork of a process that has run OpenCV or torch can hang.
    """
    if processes <= 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes, cv2.setNumThreads, (1,)) as pool:
        yield partial(pool.imap, chunksize=4)


def prepare_clip(sequence: Sequence, out: Path, size, min_motion: float, limit: int | None, run, bar) -> dict:
    """Write one clip, unless it is there, and return its record."""
    settings = {
        "size": list(size),
        "min_motion": min_motion,
        "limit": limit,
        "frames": sequence.frames[:limit],
        "K": sequence.K.round(6).tolist(),
    }
    folder, part = out / sequence.split / sequence.name, out / ".part" / sequence.split / sequence.name
    if (folder / "prepared.json").is_file():
        record = json.loads((folder / "prepared.json").read_text())
        if settings | record.pop("settings") == settings:
            bar.update(len(settings["frames"]))
            return record
        click.echo(f"{folder} was prepared with other settings or frames: it is prepared anew.", err=True)
    if (part / "settings.json").is_file() and json.loads((part / "settings.json").read_text()) != settings:
        shutil.rmtree(part)
    write_text(part / "settings.json", json.dumps(settings))

    kept, rejected = select_frames(sequence, min_motion, limit, run)
    bar.update(len(settings["frames"]) - len(kept))
    rejected |= sequence.rejected
    record = {"split": sequence.split, "clip": sequence.name, "kept": len(kept), "rejected": rejected}
    if not kept:
        return record
    for i, whole in zip(kept, run(partial(write_frame, sequence, part, size), enumerate(kept)), strict=True):
        bar.update()
        if not whole:
            record.setdefault("depth_lost", []).append(sequence.frames[i])
    describe_clip(sequence, part, size, kept)
    write_text(part / "prepared.json", json.dumps(record | {"settings": settings}, indent=1))
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    (folder / "settings.json").unlink()
    return record


def select_frames(
    sequence: Sequence, min_motion: float, limit: int | None, run
) -> tuple[list[int], dict[str, list[str]]]:
    """Indices of the frames to keep, and the names of the others by reason."""
    keep_all = sequence.split == "test" or sequence.targets is not None
    kept, rejected, last = [], {}, None
    indices = range(len(sequence.frames[:limit]))
    for i, thumbnail in zip(indices, run(partial(read_thumbnail, sequence), indices), strict=False):
        if thumbnail is None:
            rejected.setdefault("unreadable", []).append(sequence.frames[i])
        elif keep_all or last is None or motion(last, thumbnail) >= min_motion:
            kept.append(i)
            last = thumbnail
        else:
            rejected.setdefault("static", []).append(sequence.frames[i])
    return kept, rejected


def read_thumbnail(sequence: Sequence, i: int) -> UInt8[np.ndarray, "h w"] | None:
    """The small grey picture of frame i; None where it cannot be read."""
    try:
        return thumbnail(sequence.image(i))
    except UserError:
        return None


def thumbnail(image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "h w"]:
    """The grey, THUMBNAIL_WIDTH wide picture on which motion is measured."""
    height = round(image.shape[0] * THUMBNAIL_WIDTH / image.shape[1])
    return cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)


def motion(before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> float:
    """Median length of the optical flow in pixels.

    The median, so that a car that passes a standing camera does not count as camera motion.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(before, after, None)
    return float(np.median(np.linalg.norm(flow, axis=-1)))


def write_frame(sequence: Sequence, folder: Path, size: tuple[int, int], task: tuple[int, int]) -> bool:
    """Write frame `task` = (number, index in the sequence) with what is known of it; False where its depth is damaged.

    The image last, as a sign that all is there.
    """
    number, i = task
    path = folder / f"{number:06d}.jpg"
    if path.is_file():
        return True
    image = sequence.image(i)
    K_full, undistort = undistortion(sequence, image.shape[:2])
    depth, lost = None, False
    try:
        depth = sequence.depth(i)
    except UserError:  # one lost record costs one frame's depth, not the recording
        lost = True
    if depth is not None:
        depth = undistort(depth, cv2.INTER_NEAREST)
        shrink = scatter_depth if sequence.SPARSE else nearest_depth
        write_depth(folder / "gt_depth" / f"{number:06d}.png", depth, sequence.DEPTH_UNITS)
        write_depth(folder / "depth" / f"{number:06d}.png", shrink(depth, size), sequence.DEPTH_UNITS)
    dynamic_mask = sequence.dynamic_mask(i, resize_intrinsics(K_full, image.shape[:2], size), size)
    if dynamic_mask is not None:
        write_image(folder / "movers" / f"{number:06d}.png", dynamic_mask)
    image = cv2.resize(undistort(image, cv2.INTER_LINEAR), size[::-1], interpolation=cv2.INTER_AREA)
    write_image(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return not lost


def undistortion(sequence: Sequence, size: tuple[int, int]):
    """Intrinsics of the undistorted image, scaled so that all its pixels are known, and the function that makes it."""
    if sequence.distortion is None:
        return sequence.K, lambda image, interpolation: image
    distortion = np.array(sequence.distortion)
    K, _ = cv2.getOptimalNewCameraMatrix(sequence.K, distortion, size[::-1], 0)
    maps = cv2.initUndistortRectifyMap(sequence.K, distortion, None, K, size[::-1], cv2.CV_32FC1)
    return K, lambda image, interpolation: cv2.remap(image, *maps, interpolation)


def describe_clip(sequence: Sequence, folder: Path, size: tuple[int, int], kept: list[int]) -> None:
    """Write intrinsics, poses and clip.json."""
    full_size = sequence.image(kept[0]).shape[:2]
    K, _ = undistortion(sequence, full_size)
    np.savetxt(folder / "gt_cam.txt", K)
    np.savetxt(folder / "cam.txt", resize_intrinsics(K, full_size, size))
    if sequence.poses is not None:
        np.savetxt(folder / "poses_cam_to_world.txt", sequence.poses[kept].reshape(-1, 16), fmt="%.9g")
    about = {
        "source": f"{sequence.SOURCE} {sequence.name}",
        "licence": sequence.LICENCE,
        "fps": sequence.FPS,
        "step": sequence.STEP,
        "size": [size[1], size[0]],
        "full_size": [full_size[1], full_size[0]],
        "depth_png_units_per_metre": sequence.DEPTH_UNITS,
        "source_frames": [sequence.frames[i] for i in kept],
    }
    if sequence.origin:
        about["origin"] = sequence.origin
    if sequence.targets is not None:
        about["targets"] = [number for number, i in enumerate(kept) if sequence.frames[i] in sequence.targets]
    write_text(folder / "clip.json", json.dumps(about, indent=1))


def write_depth(path: Path, depth: Float[np.ndarray, "h w"], units: int) -> None:
    """Write metres as 16-bit PNG; what does not fit is no measurement."""
    values = np.rint(depth * units)
    write_image(path, np.where(values < 2**16, values, 0).astype(np.uint16))


def write_image(path: Path, image: np.ndarray, options: tuple[int, ...] = ()) -> None:
    """Write an image so that a file of that name is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix, image, options)[1]
    with atomic(path) as draft:
        draft.write_bytes(encoded.tobytes())


def split_by_rule(frames: list, split: str | None) -> list[tuple[str, list]]:
    """(split, frames) of a recording: all in the named split, else its last tenth is `val` and the rest `train`."""
    if split:
        return [(split, frames)]
    cut = len(frames) - len(frames) // 10
    return [(name, part) for name, part in (("train", frames[:cut]), ("val", frames[cut:])) if part]


def script_options(kind: type[Sequence], fetched: str):
    """The command-line options that the preparation scripts of all benchmarks share; --download fetches `fetched`."""
    options = [
        click.option("--raw", required=True, help="Folder of the official files, as they unpack."),
        click.option("--out", required=True, help="Folder to write the prepared data set to."),
        click.option("--height", default=kind.SIZE[0], show_default=True),
        click.option("--width", default=kind.SIZE[1], show_default=True),
        click.option("--limit", type=click.IntRange(1), help="At most so many frames a sequence."),
        click.option(
            "--min-motion", default=MIN_MOTION, show_default=True, help="Drop frames that moved less, pixels of 160."
        ),
        click.option("--processes", default=cores(), show_default=True, type=click.IntRange(1)),
        click.option("--split", type=click.Choice(SPLITS), help="Put all into this split, instead of by rule."),
        click.option("--download", is_flag=True, help=f"Fetch {fetched} into RAW first."),
        click.option("--url", default=kind.URL, show_default=True, help="Server or mirror to download from."),
    ]

    def decorate(command):
        @wraps(command)
        def checked(**settings):
            cv2.require()  # what it lacks is told before anything is downloaded
            return command(**settings)

        return reduce(lambda decorated, option: option(decorated), reversed(options), checked)

    return decorate


def choose(found: list[Path], names: tuple[str, ...], raw: str | Path, is_named) -> list[Path]:
    """The found folders that the user named, or all; a name without a folder is a UserError."""
    for name in names:
        if not any(is_named(path.name, name) for path in found):
            raise UserError(f"{name} is not under {raw}: download it first (--download) or check its name.")
    return [path for path in found if not names or any(is_named(path.name, name) for name in names)]


def read_table(path: str | Path, columns: int) -> Float[np.ndarray, "n columns"]:
    """Numbers of a text file, `columns` a line, # starts a comment."""
    try:
        table = np.loadtxt(path, ndmin=2, encoding="utf-8-sig")
    except (OSError, ValueError):
        table = np.empty((0, 0))
    if table.shape[1] != columns or not len(table):
        raise UserError(f"{path} must hold {columns} numbers a line: download or copy it again.")
    return table
