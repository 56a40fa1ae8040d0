"""Data that is in the layout already: a prepared set as it is, or one clip resized, with masks of moving objects."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.kitti_tracklets import tracklet_masks
from ssmde_lib.data.layout import SPLITS, Clip, find_clips
from ssmde_lib.data.prepare import Sequence, prepare
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics


@dataclass
class Pack(Sequence):
    """A clip of the common layout; `masks` of dynamic objects at the size to be written, from another source."""

    clip: Clip = field(kw_only=True)
    masks: list[UInt8[np.ndarray, "h w"]] | None = field(kw_only=True, default=None)

    def __post_init__(self):
        about, first = self.clip.about, self.clip.depth(0)
        vars(self).update(  # facts that other sequences share with their class
            SOURCE=about.get("source", self.clip.name),
            LICENCE=about.get("licence", "unknown"),
            FPS=about.get("fps", Sequence.FPS),
            DEPTH_UNITS=about.get("depth_png_units_per_metre", Sequence.DEPTH_UNITS),
            SPARSE=first is not None and (first > 0).mean() < 0.5,
        )

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return self.clip.image(i)

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        """Depth of frame i in metres, 0 where unknown."""
        return self.clip.depth(i)

    def dynamic_mask(
        self, i: int, K: Float[np.ndarray, "3 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w"] | None:
        """The masks that were given, else those of the clip."""
        if self.masks is not None:
            return self.masks[i]
        mask = self.clip.dynamic_mask(i)
        return mask if mask is None else cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def import_data(folder: str | Path, out: str | Path, size: tuple[int, int], **options) -> None:
    """Make `folder` the data set `out`: a prepared set (train/, val/, test/) by links, a single clip by `import_clip`.

    `options` are those of `import_clip`, and say nothing to a prepared set.

    Raises UserError where the folder is absent, lacks a split, or was prepared at another size than `size` (height,
    width).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not there: prepare the data first (docs/data.md), "
            "or set data_folder of 01_data to where it lies."
        )
    if any((folder / split).is_dir() for split in SPLITS):
        link_splits(folder, Path(out), size)
    else:
        import_clip(folder, out, size, **options)


def link_splits(folder: Path, out: Path, size: tuple[int, int]) -> None:
    """Link the splits of a prepared set, whose size must be right, into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        if not (folder / split).is_dir():
            raise UserError(
                f"{folder} has no {split}/: prepare_video.py makes train, val and test of 15 frames or more; "
                "or set data_folder to one clip in it, which then is all three."
            )
        for clip in find_clips(folder, split):
            if clip.size != size:
                there, wanted = ("{}x{}".format(*each) for each in (clip.size, size))
                raise UserError(
                    f"{clip.path} was prepared at {there}, not at {wanted}: set height and width of 01_data, "
                    "or prepare it again."
                )
        link(out / split, (folder / split).resolve())


def link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, also where it was one to another folder."""
    if path.is_symlink() and path.readlink() != target:
        path.unlink()
    elif path.is_dir() and not path.is_symlink():
        raise UserError(f"{path} holds the data of an earlier run: remove it, or choose another run.")
    if not path.is_symlink():
        path.symlink_to(target, target_is_directory=True)


def import_clip(
    folder: str | Path,
    out: str | Path,
    size: tuple[int, int],
    limit: int | None = None,
    tracklets: str | Path | None = None,
) -> None:
    """Write one clip of the layout as the train, val and test split of `out`, at `size` (height, width).

    All frames are kept, at most `limit`; sparse depth moves to its nearest pixel, none is interpolated. `tracklets` is
    the tracklet_labels.xml of the same KITTI raw drive, in its official place beside the day's calibration: dynamic
    masks at box level. Raises UserError where something is missing.
    """
    clip = Clip(folder)
    masks = None
    if tracklets:
        if clip.poses is None:
            raise UserError(
                f"{clip.path} has no poses_cam_to_world.txt, which tracklets need: leave the tracklets out."
            )
        K = resize_intrinsics(clip.K, clip.size, size)
        masks = tracklet_masks(tracklets, Path(tracklets).parents[1], clip.poses, K, size)
    pack = Pack(clip.name, "train", clip.frames, clip.K, clip.poses, clip=clip, masks=masks)
    prepare([pack], out, size, min_motion=0, limit=limit)
    for split in SPLITS[1:]:
        link(Path(out) / split, Path("train"))
