"""Depth as a colour picture."""

import numpy as np
from matplotlib import colormaps

from ssmde_lib import opencv as cv2

DEPTH_MAP = "magma"  # near is bright


def to_image(image) -> np.ndarray:
    """`h w` or `h w 3` array for `imshow`; the channels of a tensor may come first."""
    if hasattr(image, "detach"):
        image = image.detach().to("cpu", copy=False).numpy()
    image = np.squeeze(np.asarray(image))
    return np.moveaxis(image, 0, -1) if image.ndim == 3 and image.shape[0] == 3 and image.shape[-1] != 3 else image


def colourise(depth, near: float | None = None, far: float | None = None, colour_map: str = DEPTH_MAP) -> np.ndarray:
    """Depth `h w` as uint8 RGB `h w 3`, coloured by inverse depth (near is bright); 0, inf and nan are grey.

    `near` and `far`, in the unit of the depth, fix the range; by default it is the 2nd to 98th percentile.
    """
    depth = to_image(depth).astype(np.float32)
    known = np.isfinite(depth) & (depth > 0)
    inverse = np.divide(1, depth, where=known, out=np.zeros_like(depth))
    values = inverse[known] if known.any() and not (near and far) else np.array([0.0, 1.0])
    low = 1 / far if far else np.percentile(values, 2)
    high = 1 / near if near else np.percentile(values, 98)
    levels = np.clip((inverse - low) * np.float32(256 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    palette = np.ascontiguousarray(colormaps[colour_map](np.arange(256), bytes=True)[:, None, :3])
    colours = cv2.applyColorMap(levels, palette)
    colours[~known] = 128
    return colours
