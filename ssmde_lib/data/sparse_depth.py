"""Depth maps of single measurements: no pixel is interpolated, the nearest point of a pixel counts."""

import numpy as np
from jaxtyping import Float

from ssmde_lib import opencv as cv2


def project_points(
    points: Float[np.ndarray, "n 3"], K: Float[np.ndarray, "3 3"], size: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Depth map of points in the camera's frame: the nearest point at each nearest pixel, 0 elsewhere."""
    points = points[points[:, 2] > 0.1]
    x, y = np.rint((points @ K.T)[:, :2] / points[:, 2:]).astype(np.int64).T
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    return splat(x[inside], y[inside], points[inside, 2], size)


def splat(x: np.ndarray, y: np.ndarray, z: np.ndarray, size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """The least z at every pixel, 0 where there is none."""
    depth = np.full(size, np.inf, np.float32)
    np.minimum.at(depth, (y, x), z)
    return np.where(np.isinf(depth), np.float32(0), depth)


def scatter_depth(depth: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "h2 w2"]:
    """A sparse depth map at a smaller size: measurements move to their nearest pixel, and the nearest one wins."""
    y, x = np.nonzero(depth)
    small_x = np.rint((x + 0.5) * size[1] / depth.shape[1] - 0.5).astype(np.int64)
    small_y = np.rint((y + 0.5) * size[0] / depth.shape[0] - 0.5).astype(np.int64)
    return splat(small_x.clip(0, size[1] - 1), small_y.clip(0, size[0] - 1), depth[y, x], size)


def nearest_depth(depth: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "h2 w2"]:
    """A dense depth map at another size, its values taken, never mixed: a mean across an edge is on neither side."""
    return cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
