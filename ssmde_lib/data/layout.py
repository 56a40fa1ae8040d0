"""The one on-disk layout: `<root>/<split>/<clip>/NNNNNN.png` with `cam.txt` and what else is known (docs/design.md)."""

import copy
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import list_frames, read_image, same_size, tell_once
from ssmde_lib.data.intrinsics import read_intrinsics, same_shape
from ssmde_lib.errors import UserError
from ssmde_lib.files import atomic

SPLITS = ("train", "val", "test")
LEVELS = 65535  # of a pseudo-depth picture; each frame is scaled by its own maximum

DEPTH_SHAPE = 1.3  # greatest factor between the aspect ratios of a depth map and its frame (sides rounded to 32)
LONGEST = 200  # frames of a clip that are in memory at once
METRES = 0.05, 1000.0  # between these lies the median depth of any scene; outside of them the unit is another one


class Clip:
    """A folder of consecutive frames of one camera; see docs/design.md for the files it may hold."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.name = self.path.name
        self.first = 0  # number of its first frame in the folder; more in a part
        self.frames = [path.name for path in list_frames(self.path)]
        if not self.frames:
            raise UserError(f"{self.path} holds no pictures (.png, .jpg, …): point to a folder of images.")

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"Clip({str(self.path)!r}, frames={len(self)}, size={self.size})"

    @cached_property
    def about(self) -> dict:
        """What clip.json (or SOURCE.json) says."""
        for name in ("clip.json", "SOURCE.json"):
            if (self.path / name).is_file():
                try:
                    return dict(json.loads((self.path / name).read_text("utf-8-sig")))
                except (ValueError, TypeError):
                    raise UserError(f"{self.path / name} is damaged: prepare the clip again.") from None
        return {}

    @property
    def depth_units(self) -> float:
        """What a metre is in the 16-bit depth pictures."""
        units = self.about.get("depth_png_units_per_metre")
        if isinstance(units, bool) or not isinstance(units, int | float) or not 0 < units < 1e6:
            raise UserError(
                f"{self.path} has depth, but no clip.json that names depth_png_units_per_metre "
                f'(such as {{"depth_png_units_per_metre": 256}}; 1000 for millimetres): write it there.'
            )
        return units

    @cached_property
    def K(self) -> np.ndarray:
        """Intrinsics, 3x3 float64, pixels of this clip's image size, pixel centres at integers; checked."""
        return read_intrinsics(self.path / "cam.txt", self.size)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return read_image(self.path / self.frames[0]).shape[:2]

    @cached_property
    def poses(self) -> np.ndarray | None:
        """T_world_cam of every frame, n 4 4 float64, metres; None where unknown."""
        path = self.path / "poses_cam_to_world.txt"
        if not path.is_file():
            return None
        try:
            return np.loadtxt(path, encoding="utf-8-sig").reshape(len(self), 4, 4)
        except ValueError:
            raise UserError(
                f"{path} must hold 16 numbers a line, one line a frame ({len(self)}): prepare the clip again."
            ) from None

    def part(self, first: int, stop: int) -> "Clip":
        """Frames `first` to `stop` - 1 as a clip of its own, with their poses and targets."""
        part = copy.copy(self)
        part.first, part.frames = self.first + first, self.frames[first:stop]
        part.size = self.size  # that of the first frame of all
        part.poses = None if self.poses is None else self.poses[first:stop]
        if "targets" in self.about:
            part.about = self.about | {"targets": [i - first for i in self.about["targets"] if first <= i < stop]}
        return part

    def stem(self, i: int) -> str:
        """Name of frame i without its suffix."""
        return Path(self.frames[i]).stem

    def targets(self, frame_stride: int) -> list[int]:
        """Frames with both source frames at distance `step`.

        Of these, those that clip.json names as `targets` (benchmark lists).
        """
        if frame_stride < 1:
            raise UserError(f"the source frames' distance to the target is {frame_stride} frames: give 1 or more.")
        chosen = self.about.get("targets", range(len(self)))
        return [i for i in chosen if frame_stride <= i < len(self) - frame_stride]

    def image(self, i: int) -> np.ndarray:
        """Frame i, uint8 h w 3, RGB; a frame of another size than the first is a UserError."""
        path = self.path / self.frames[i]
        return same_size(read_image(path), self.size, path)

    def depth(self, i: int) -> np.ndarray | None:
        """Depth (z) of frame i, float32 h w, metres, 0 where unknown; None where the clip has none."""
        return self.read_depth("depth", i)

    def read_depth(self, folder: str, i: int) -> np.ndarray | None:
        """Depth of frame i as `depth`, from `depth/` or at full resolution `gt_depth/`.

        Raises:
            UserError: it is no 16-bit map, of another shape than the frame, or not metres by its unit.
        """
        path = self.path / folder / f"{self.stem(i)}.png"
        if not path.is_file():
            return None
        values, units = read_map(path, "depth"), self.depth_units
        if not same_shape(values.shape, self.size, DEPTH_SHAPE):
            raise UserError(
                f"{path} has {values.shape[1]}x{values.shape[0]} pixels, its frame {self.size[1]}x{self.size[0]}: "
                "write the depth of this frame, in its shape."
            )
        depth = values.astype(np.float32) / units
        median = float(np.median(depth[depth > 0])) if values.any() else 1.0
        if not METRES[0] < median < METRES[1]:
            raise UserError(
                f"{path} has a median depth of {median:g} m by the {units:g} units per metre of clip.json: correct "
                "depth_png_units_per_metre (256 in KITTI, 1000 for millimetres, 5000 in TUM)."
            )
        return depth

    def dynamic_mask(self, i: int) -> np.ndarray | None:
        """Moving instances of frame i, uint8 h w, 0 is static; None where unknown."""
        path = self.path / "movers" / f"{self.stem(i)}.png"
        if not path.is_file():
            return None
        mask = read_image(path, cv2.IMREAD_UNCHANGED)
        if mask.shape != tuple(self.size):
            raise UserError(
                f"{path} has the shape {mask.shape}: write one channel of {self.size[1]}x{self.size[0]} pixels, "
                "0 where nothing moves."
            )
        return mask


def find_clips(root: str | Path, split: str) -> list[Clip]:
    """All clips of a split, by name; a flat folder of frames counts as the single clip of every split."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: prepare the data first (notebook 01 or data_scripts/).")
    if (root / "cam.txt").is_file():
        return [Clip(root)]
    if not (root / split).is_dir() and list_frames(root):
        tell_once(f"{root} is taken as one clip; it has no cam.txt with its 3x3 intrinsics, which training needs.")
        return [Clip(root)]
    clips = [Clip(path) for path in sorted((root / split).glob("*")) if path.is_dir()]
    if not clips:
        raise UserError(f"{root / split} holds no clips: prepare the data first (notebook 01 or data_scripts/).")
    return clips


def parts_of(clip: Clip, margin: int, length: int = LONGEST) -> Iterator[tuple[Clip, range]]:
    """A clip in parts that fit into memory.

    Yields a part and its `length` own frames: before and after them it has `margin` others, their neighbours.
    """
    for first in range(0, len(clip), length):
        stop, before = min(first + length, len(clip)), min(margin, first)
        yield clip.part(first - before, min(stop + margin, len(clip))), range(before, before + stop - first)


def clip_folder(clip: Clip, root: str | Path) -> Path:
    """Folder of a stage for a clip: `<root>/<split>/<clip>`, or `<root>/<clip>` of a clip without a split."""
    split = clip.path.parent.name
    return Path(root) / split / clip.name if split in SPLITS else Path(root) / clip.name


def write_pseudo_depth_map(path: Path, depth: np.ndarray) -> None:
    """Relative depth of one frame, positive, h w, as a 16-bit PNG: scaled to its maximum, whole or not there at all."""
    levels = np.clip(np.round(depth / depth.max() * LEVELS), 1, LEVELS).astype(np.uint16)
    with atomic(path) as draft:
        draft.write_bytes(cv2.imencode(".png", levels)[1])


def read_pseudo_depth(path: str | Path) -> np.ndarray:
    """Relative depth of one frame in (0, 1], float32 h w, far is large (written by `write_pseudo_depth_map`)."""
    values = read_map(Path(path), "relative depth")
    if values.min() == values.max():
        raise UserError(f"{path} has the same value, {values.max()}, everywhere: make the prior's map anew.")
    return values.astype(np.float32) / LEVELS


def read_map(path: Path, what: str) -> np.ndarray:
    """A 16-bit map of one channel; a picture of 8 bits or in colours is a UserError: its values are not the depth."""
    values = read_image(path, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2 or values.dtype != np.uint16:
        channels = "one channel" if values.ndim == 2 else f"{values.shape[2]} channels (coloured for viewing?)"
        raise UserError(
            f"{path} holds {channels} of {values.dtype}, not {what} in 16 bits and one channel: "
            "write the values themselves as 16-bit PNG."
        )
    return values


def read_pseudo_frame(clip: Clip, root: Path, i: int) -> torch.Tensor:
    """Relative depth of frame i, float32 h w; of another size than the clip's it is a UserError."""
    path = clip_folder(clip, root) / f"{clip.stem(i)}.png"
    relative_depth = read_pseudo_depth(path)
    if relative_depth.shape != tuple(clip.size):
        raise UserError(
            f"{path} has {relative_depth.shape[1]}x{relative_depth.shape[0]} pixels, "
            f"its frame {clip.size[1]}x{clip.size[0]}: make the prior's maps of these frames."
        )
    return torch.from_numpy(relative_depth)


def read_pseudo_clip(clip: Clip, root: Path) -> torch.Tensor:
    """Relative depth of every frame, float32 n h w."""
    return torch.stack([read_pseudo_frame(clip, root, i) for i in range(len(clip))])


def write_label(clip: Clip, root: Path, i: int, depth: np.ndarray, mask: np.ndarray) -> None:
    """The label of frame i: depth h w up to scale, kept in half precision, and the mask h w of where it counts."""
    folder = clip_folder(clip, root)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{clip.stem(i)}.npz", depth=depth.astype(np.float16), mask=mask)


def read_label(clip: Clip, root: Path, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The teacher's depth of frame i, float16 h w, and its mask, bool h w."""
    with np.load(clip_folder(clip, root) / f"{clip.stem(i)}.npz") as arrays:
        return torch.from_numpy(arrays["depth"]), torch.from_numpy(arrays["mask"])


def read_label_clip(clip: Clip, root: Path, frame_stride: int) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Label and mask of every target of a clip, by its frame number."""
    return {i: read_label(clip, root, i) for i in clip.targets(frame_stride)}
