"""The one on-disk layout: `<root>/<split>/<clip>/NNNNNN.png` with `cam.txt` and what else is known (docs/design.md)."""

import json
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ssmde_lib.camera import resize_intrinsics
from ssmde_lib.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
IN_MEMORY = 8e9  # bytes of decoded frames that are kept; a larger data set is read from disk, item by item


def read_image(path: str | Path, flags: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Read an image (RGB unless `flags` say otherwise); a missing or broken file is a UserError that names it."""
    path = Path(path)
    data = path.read_bytes() if path.is_file() else b""
    # OpenCV decodes the rest of a cut JPEG as grey without a word.
    whole = data and not (data.startswith(b"\xff\xd8") and ends_early(data))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if whole else None
    if image is None:
        raise UserError(f"{path} is missing, truncated or no image: remove it or write it again.")
    return image


def ends_early(jpeg: bytes) -> bool:
    """Whether the end marker is missing after the picture's scan; the segments before it may hold a thumbnail with its own."""
    position = 2
    while jpeg[position : position + 1] == b"\xff" and jpeg[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return jpeg.find(b"\xff\xd9", position) < 0


class Clip:
    """A folder of consecutive frames of one camera; see docs/design.md for the files it may hold."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.name = self.path.name
        self.frames = sorted(p.name for p in self.path.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.frames:
            raise UserError(f"{self.path} holds no .png or .jpg frames: point to a folder of images.")

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
                    return dict(json.loads((self.path / name).read_text()))
                except ValueError:
                    raise UserError(f"{self.path / name} is damaged: prepare the clip again.") from None
        return {}

    @property
    def depth_units(self) -> float:
        """What a metre is in the 16-bit depth pictures."""
        if "depth_png_units_per_metre" not in self.about:
            raise UserError(f"{self.path} has depth, but no clip.json that names depth_png_units_per_metre: write it there.")
        return self.about["depth_png_units_per_metre"]

    @cached_property
    def K(self) -> np.ndarray:
        """Intrinsics, 3x3 float64, pixels of this clip's image size, pixel centres at integers."""
        path = self.path / "cam.txt"
        try:
            return np.loadtxt(path).reshape(3, 3)
        except (OSError, ValueError):
            raise UserError(f"{path} must hold the 3x3 intrinsics as 9 numbers: write it for this image size.") from None

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.image(0).shape[:2]

    @cached_property
    def poses(self) -> np.ndarray | None:
        """T_world_cam of every frame, n 4 4 float64, metres; None where unknown."""
        path = self.path / "poses_cam_to_world.txt"
        if not path.is_file():
            return None
        try:
            return np.loadtxt(path).reshape(len(self), 4, 4)
        except ValueError:
            raise UserError(f"{path} must hold 16 numbers a line, one line a frame ({len(self)}): prepare the clip again.") from None

    def stem(self, i: int) -> str:
        return Path(self.frames[i]).stem

    def targets(self, step: int) -> list[int]:
        """Frames with both neighbours at distance `step`; of these, those that clip.json names as `targets` (benchmark lists)."""
        chosen = self.about.get("targets", range(len(self)))
        return [i for i in chosen if step <= i < len(self) - step]

    def image(self, i: int) -> np.ndarray:
        """Frame i, uint8 h w 3, RGB."""
        return read_image(self.path / self.frames[i])

    def depth(self, i: int) -> np.ndarray | None:
        """Depth (z) of frame i, float32 h w, metres, 0 where unknown; None where the clip has none."""
        path = self.path / "depth" / f"{self.stem(i)}.png"
        if not path.is_file():
            return None
        return read_image(path, cv2.IMREAD_UNCHANGED).astype(np.float32) / self.depth_units

    def movers(self, i: int) -> np.ndarray | None:
        """Moving instances of frame i, uint8 h w, 0 is static; None where unknown."""
        path = self.path / "movers" / f"{self.stem(i)}.png"
        return read_image(path, cv2.IMREAD_UNCHANGED) if path.is_file() else None


def find_clips(root: str | Path, split: str) -> list[Clip]:
    """All clips of a split, by name; a flat folder of frames counts as the single clip of every split."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: prepare the data first (notebook 01 or data_scripts/).")
    if (root / "cam.txt").is_file():
        return [Clip(root)]
    clips = [Clip(path) for path in sorted((root / split).glob("*")) if path.is_dir()]
    if not clips:
        raise UserError(f"{root / split} holds no clips: prepare the data first (notebook 01 or data_scripts/).")
    return clips


class Frames:
    """What belongs to each frame of a clip, by its index: kept in memory, or read anew each time it is asked for."""

    def __init__(self, read: Callable[[int], object], indices: Iterable[int], held: bool):
        self.read, self.held = read, {i: read(i) for i in indices} if held else None

    def __getitem__(self, i: int):
        return self.read(i) if self.held is None else self.held[i]


class Triplets(Dataset):
    """Target frames with their two neighbours, kept in memory as uint8 where they need at most `memory` bytes, else read when asked for.

    Items: `tgt, prev, next` uint8 3 h w; `K` float32 3 3; with `pseudo` (a folder of the same splits and clips written by
    `prior.write_pseudo_depth`) `relative_depth` float32 1 h w; with `labels` (07_multiview_mask) `teacher_depth` float32 1 h w
    and `teacher_mask` bool 1 h w. `step` is the distance of the neighbours in frames. Frames of another `size` (h, w) are resized to it
    when they are read, with their intrinsics; maps and labels are not.
    """

    def __init__(
        self, clips: list[Clip], step: int = 1, pseudo: Path | None = None, labels: Path | None = None, memory: float = IN_MEMORY,
        size: tuple[int, int] | None = None,
    ):  # fmt: skip
        sizes = {size} if size else {clip.size for clip in clips}
        if len(sizes) != 1:
            raise UserError(f"clips have different sizes {sorted(sizes)}: prepare the data set at one size.")
        self.size = height, width = sizes.pop()
        if height % 32 or width % 32:
            raise UserError(f"image size {height}x{width} of {clips[0].path} is not divisible by 32: resize the frames.")
        self.clips, self.step = clips, step
        self.index = [(c, i) for c, clip in enumerate(clips) for i in clip.targets(step)]
        if not self.index:
            raise UserError(f"{clips[0].path} has too few frames for triplets with step {step}: use longer clips or a smaller step.")
        bytes_a_pixel = 3 + 4 * bool(pseudo) + 3 * bool(labels)
        held = height * width * sum(map(len, clips)) * bytes_a_pixel <= memory
        self.images = [Frames(partial(read_frame, clip, size=self.size), range(len(clip)), held) for clip in clips]
        self.intrinsics = [torch.from_numpy(resize_intrinsics(clip.K, clip.size, self.size)).float() for clip in clips]
        self.pseudo = [Frames(partial(read_pseudo_frame, clip, pseudo), clip.targets(step), held) for clip in clips] if pseudo else None
        self.labels = [Frames(partial(read_label, clip, labels), clip.targets(step), held) for clip in clips] if labels else None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> dict:
        c, i = self.index[item]
        images = self.images[c]
        sample = {"tgt": images[i], "prev": images[i - self.step], "next": images[i + self.step], "K": self.intrinsics[c]}
        if self.pseudo:
            sample["relative_depth"] = self.pseudo[c][i][None]
        if self.labels:
            depth, mask = self.labels[c][i]
            sample |= {"teacher_depth": depth.float()[None], "teacher_mask": mask[None]}
        return sample


def read_frame(clip: Clip, i: int, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Frame i, uint8 3 h w, resized where it is not of the `size` (h, w) that is asked for."""
    image = clip.image(i)
    if size and image.shape[:2] != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(image).permute(2, 0, 1)


def clip_folder(clip: Clip, root: str | Path) -> Path:
    """Where a stage keeps its files of a clip: `<root>/<split>/<clip>`, or `<root>/<clip>` for a flat clip."""
    nested = Path(root) / clip.path.parent.name / clip.name
    return nested if nested.is_dir() else Path(root) / clip.name


def read_pseudo_depth(path: str | Path) -> np.ndarray:
    """Relative depth of one frame in (0, 1], float32 h w, far is large (written by `prior.write_pseudo_depth`)."""
    return read_image(path, cv2.IMREAD_UNCHANGED).astype(np.float32) / 65535


def read_pseudo_frame(clip: Clip, root: Path, i: int) -> torch.Tensor:
    """Relative depth of frame i, float32 h w."""
    return torch.from_numpy(read_pseudo_depth(clip_folder(clip, root) / f"{clip.stem(i)}.png"))


def read_pseudo_clip(clip: Clip, root: Path) -> torch.Tensor:
    """Relative depth of every frame, float32 n h w."""
    return torch.stack([read_pseudo_frame(clip, root, i) for i in range(len(clip))])


def read_label(clip: Clip, root: Path, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The teacher's depth of frame i, float16 h w, and its mask, bool h w."""
    with np.load(clip_folder(clip, root) / f"{clip.stem(i)}.npz") as arrays:
        return torch.from_numpy(arrays["depth"]), torch.from_numpy(arrays["mask"])


def read_label_clip(clip: Clip, root: Path, step: int) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    return {i: read_label(clip, root, i) for i in clip.targets(step)}
