"""What needs no learning: a method must beat these before its figures mean anything."""

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.layout import Clip
from ssmde_lib.errors import UserError


def constant(images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w"]:
    """Depth 1 everywhere; alignment makes it the image's median depth."""
    return np.ones(images.shape[:3], np.float32)


def training_median(clips: list[Clip], frames: int = 200):
    """A predictor that answers every image with the per-pixel median depth of at most `frames` training frames.

    Pixels that were never measured get the median of all the others. Needs ground truth, as no self-supervised method
    does.
    """
    index = [(clip, i) for clip in clips if (clip.path / "depth").is_dir() for i in range(len(clip))]
    chosen = [index[k] for k in np.linspace(0, len(index) - 1, min(frames, len(index))).astype(int)]
    maps = [depth for clip, i in chosen if (depth := clip.depth(i)) is not None]
    if not maps:
        raise UserError(f"{clips[0].path} has no depth/ folder: the per-pixel median needs training depth.")
    stack = np.ma.masked_equal(np.stack(maps), 0)
    median = np.ma.median(stack, axis=0).filled(np.ma.median(stack)).astype(np.float32)

    def predict(images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w"]:
        resized = cv2.resize(median, images.shape[2:0:-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.broadcast_to(resized, images.shape[:3])

    return predict
