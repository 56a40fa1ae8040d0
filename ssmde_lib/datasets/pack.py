"""A clip that lies in the one layout already, at another size; for a KITTI drive also the masks of what moves."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib.camera import resize_intrinsics
from ssmde_lib.datasets.clip import Clip
from ssmde_lib.datasets.kitti import mover_masks
from ssmde_lib.datasets.prepare import Sequence, prepare
from ssmde_lib.errors import UserError


@dataclass
class Pack(Sequence):
    """A clip of the one layout; `masks` of its movers at the size to be written, where they come from elsewhere."""

    clip: Clip = field(kw_only=True)
    masks: list[UInt8[np.ndarray, "h w"]] | None = field(kw_only=True, default=None)

    def __post_init__(self):
        about, first = self.clip.about, self.clip.depth(0)
        self.SOURCE, self.LICENCE = about.get("source", self.clip.name), about.get("licence", "unknown")
        self.FPS = about.get("fps", Sequence.FPS)
        self.DEPTH_UNITS = about.get("depth_png_units_per_metre", Sequence.DEPTH_UNITS)
        self.SPARSE = first is not None and (first > 0).mean() < 0.5

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        return self.clip.image(i)

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        return self.clip.depth(i)

    def movers(self, i: int, K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"] | None:
        if self.masks is not None:
            return self.masks[i]
        mask = self.clip.movers(i)
        return mask if mask is None else cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def import_clip(folder: str | Path, out: str | Path, size: tuple[int, int], limit: int | None = None, tracklets: str | Path | None = None) -> None:
    """Write one clip of the layout as the train, val and test split of `out`, at `size` (height, width).

    All frames are kept, at most `limit`; sparse depth moves to its nearest pixel, none is interpolated. `tracklets` is the
    tracklet_labels.xml of the same KITTI raw drive, in its official place beside the day's calibration: movers at box level.
    Raises UserError where something is missing.
    """
    clip = Clip(folder)
    masks = None
    if tracklets:
        if clip.poses is None:
            raise UserError(f"{clip.path} has no poses_cam_to_world.txt, which tracklets need: leave the tracklets out.")
        K = resize_intrinsics(clip.K, clip.size, size)
        masks = mover_masks(tracklets, Path(tracklets).parents[1], clip.poses, K, size)
    pack = Pack(clip.name, "train", clip.frames, clip.K, clip.poses, clip=clip, masks=masks)
    prepare([pack], out, size, min_motion=0, limit=limit)
    for split in ("val", "test"):
        link = Path(out) / split
        if not link.is_symlink():
            link.symlink_to("train", target_is_directory=True)
