"""Do prepared K, poses and depth belong together? Measured sparsely and independently of the library's warp."""

import cv2
import numpy as np
from scipy.ndimage import map_coordinates


def grey_errors(clip, i: int, j: int) -> tuple[float, float]:
    """Mean grey difference of frame i's measured pixels to frame j, at their projections and at the same pixels."""
    here, there = (
        cv2.GaussianBlur(cv2.cvtColor(clip.image(k), cv2.COLOR_RGB2GRAY), (3, 3), 0).astype(np.float32) for k in (i, j)
    )
    depth = clip.depth(i).astype(np.float64)
    y, x = np.nonzero(depth)
    points = np.linalg.inv(clip.K) @ np.stack([x, y, np.ones_like(x)]) * depth[y, x]
    T = np.linalg.inv(clip.poses[j]) @ clip.poses[i]
    moved = clip.K @ (T[:3, :3] @ points + T[:3, 3:])
    u, v = moved[:2] / moved[2]
    seen = (moved[2] > 0) & (u >= 0) & (u <= clip.size[1] - 1) & (v >= 0) & (v <= clip.size[0] - 1)
    warped = map_coordinates(there, (v, u), order=1, mode="nearest")
    return np.abs(warped - here[y, x])[seen].mean(), np.abs(there[y, x] - here[y, x])[seen].mean()


def mean_grey_errors(clip, step: int = 1) -> tuple[float, float]:
    """(warped, not warped), mean over all pairs t, t + step."""
    return tuple(np.mean([grey_errors(clip, i, i + step) for i in range(len(clip) - step)], axis=0))
