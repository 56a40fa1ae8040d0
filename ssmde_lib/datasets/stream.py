"""Triplets read from disk when they are asked for, for data sets larger than memory."""

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ssmde_lib.camera import resize_intrinsics
from ssmde_lib.datasets.clip import Clip
from ssmde_lib.errors import UserError


class StreamedTriplets(Dataset):
    """Target frames with their two neighbours `step` frames away, decoded and resized to `size` (height, width) an item.

    Items as those of `clip.Triplets`: `tgt, prev, next` uint8 3 h w, `K` float32 3 3. Frames stay uint8 until the device, and
    `augment` works there on whole batches. Where clip.json lists `targets` (the Eigen-Zhou lists), only those are items.
    """

    def __init__(self, clips: list[Clip], size: tuple[int, int], step: int = 1):
        self.clips, self.size, self.step = clips, size, step
        self.intrinsics = [torch.from_numpy(resize_intrinsics(clip.K, clip.size, size)).float() for clip in clips]
        self.index = [
            (c, i)
            for c, clip in enumerate(clips)
            for i in clip.about.get("targets", range(len(clip)))
            if step <= i < len(clip) - step
        ]
        if not self.index:
            raise UserError(f"the clips have too few frames for triplets with step {step}: use longer clips or a smaller step.")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> dict:
        c, i = self.index[item]
        frames = {"tgt": i, "prev": i - self.step, "next": i + self.step}
        return {name: self.read(self.clips[c], j) for name, j in frames.items()} | {"K": self.intrinsics[c]}

    def read(self, clip: Clip, i: int) -> torch.Tensor:
        image = clip.image(i)
        if image.shape[:2] != self.size:
            image = cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
