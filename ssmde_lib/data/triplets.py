"""Target frames with their two source frames, for training."""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import tell_once
from ssmde_lib.data.layout import Clip, read_label, read_pseudo_frame
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics

IN_MEMORY = 8e9  # bytes of decoded frames that are kept; a larger data set is read from disk, item by item


class FrameCache:
    """What belongs to each frame of a clip, by its index: kept in memory, or read anew each time it is asked for."""

    def __init__(self, read: Callable[[int], Any], indices: Iterable[int], held: bool):
        self.read, self.held = read, {i: read(i) for i in indices} if held else None

    def __getitem__(self, i: int):
        return self.read(i) if self.held is None else self.held[i]


class Triplets(Dataset):
    """Target frames with their two source frames, as items for a loader.

    They are kept in memory as uint8 where they need at most `memory` bytes, else read on demand.

    Items: `tgt, prev, next` uint8 3 h w; `K` float32 3 3; with `pseudo` (a folder of the same splits and clips written
    by `prior.write_pseudo_depth`) `relative_depth` float32 1 h w; with `labels` (07_multiview_mask) `teacher_depth`
    float32 1 h w and `teacher_mask` bool 1 h w. `step` is the distance of the source frames. Frames of another
    `size` (h, w) are resized to it when they are read, with their intrinsics; maps and labels are not.
    """

    def __init__(
        self,
        clips: list[Clip],
        frame_stride: int = 1,
        pseudo: Path | None = None,
        labels: Path | None = None,
        memory: float = IN_MEMORY,
        size: tuple[int, int] | None = None,
    ):
        sizes = {size} if size else {clip.size for clip in clips}
        if len(sizes) != 1:
            raise UserError(f"clips have different sizes {sorted(sizes)}: prepare the data set at one size.")
        self.size = height, width = sizes.pop()
        if height % 32 or width % 32:
            raise UserError(
                f"image size {height}x{width} of {clips[0].path} is not divisible by 32: resize the frames."
            )
        self.clips, self.frame_stride = clips, frame_stride
        self.index = [(c, i) for c, clip in enumerate(clips) for i in clip.targets(frame_stride)]
        if not self.index:
            raise UserError(
                f"{clips[0].path} has too few frames for triplets with step {frame_stride}: "
                "use longer clips or a smaller step."
            )
        if pseudo:
            tell_inverse_depth(clips, self.index, pseudo)
        bytes_a_pixel = 3 + 4 * bool(pseudo) + 3 * bool(labels)
        self.bytes = height * width * sum(map(len, clips)) * bytes_a_pixel
        self.held = held = self.bytes <= memory
        self.images = [FrameCache(partial(read_frame, clip, size=self.size), range(len(clip)), held) for clip in clips]
        self.intrinsics = [torch.from_numpy(resize_intrinsics(clip.K, clip.size, self.size)).float() for clip in clips]
        self.pseudo = (
            [FrameCache(partial(read_pseudo_frame, clip, pseudo), clip.targets(frame_stride), held) for clip in clips]
            if pseudo
            else None
        )
        self.labels = (
            [FrameCache(partial(read_label, clip, labels), clip.targets(frame_stride), held) for clip in clips]
            if labels
            else None
        )

    def __len__(self) -> int:
        return len(self.index)

    def describe(self) -> dict:
        """What tells this data set from another: counts, size, and a hash of the frames' names and lengths in bytes."""
        frames = [clip.path / frame for clip in self.clips for frame in clip.frames]
        listing = "\n".join(f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in frames)
        return {
            "clips": len(self.clips),
            "frames": len(frames),
            "size": list(self.size),
            "frame_stride": self.frame_stride,
            "files": hashlib.sha256(listing.encode()).hexdigest()[:12],
        }

    def __getitem__(self, item: int) -> dict:
        c, i = self.index[item]
        images = self.images[c]
        sample = {
            "tgt": images[i],
            "prev": images[i - self.frame_stride],
            "next": images[i + self.frame_stride],
            "K": self.intrinsics[c],
        }
        if self.pseudo:
            sample["relative_depth"] = self.pseudo[c][i][None]
        if self.labels:
            depth, mask = self.labels[c][i]
            sample |= {"teacher_depth": depth.float()[None], "teacher_mask": mask[None]}
        return sample


def tell_inverse_depth(clips: list[Clip], index: list[tuple[int, int]], pseudo: Path) -> None:
    """Say where the maps look like inverse depth: in most of them the lower third, usually the ground, is farthest."""
    maps = [read_pseudo_frame(clips[c], pseudo, i) for c, i in index[:: 1 + len(index) // 20]]
    third = len(maps[0]) // 3
    far_below = sum(bool(depth[-third:].median() > depth[:third].median()) for depth in maps)
    if far_below > 0.8 * len(maps):
        tell_once(
            f"{pseudo}: in {far_below} of {len(maps)} maps the lower third is farther than the upper one. If they hold "
            "inverse depth (near is large), write its reciprocal: far must be large."
        )


def read_frame(clip: Clip, i: int, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Frame i, uint8 3 h w, resized where it is not of the `size` (h, w) that is asked for."""
    image = clip.image(i)
    if size and image.shape[:2] != size:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(image).permute(2, 0, 1)
