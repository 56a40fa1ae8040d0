"""The pinhole camera: pixel grid, back-projection, projection, and what resizing and cropping do to its intrinsics.

Pixel centres are integers and the top-left one is (0, 0); x points right, y down, z forward (docs/design.md,
"Conventions").
"""

from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Matrix = TypeVar("Matrix", Tensor, np.ndarray)

NEAR = 1e-3  # depths below this count as behind the camera


def pixel_grid(
    height: int, width: int, *, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "2 h w"]:
    """The x and y coordinates of every pixel centre."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype), torch.arange(width, device=device, dtype=dtype), indexing="ij"
    )
    return torch.stack([x, y])


def homogeneous_grid(
    height: int, width: int, *, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "3 hw"]:
    """Pixel centres as columns (x, y, 1), row by row."""
    grid = pixel_grid(height, width, device=device, dtype=dtype).flatten(1)
    return torch.cat([grid, torch.ones_like(grid[:1])])


def backproject(depth: Float[Tensor, "b 1 h w"], K: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 h w"]:
    """Points of the camera's frame seen at every pixel, depth * K^-1 (x, y, 1), in the unit of depth."""
    height, width = depth.shape[-2:]
    rays = inverse_intrinsics(K) @ homogeneous_grid(height, width, device=depth.device, dtype=depth.dtype)  # b 3 hw
    return depth * rays.unflatten(2, (height, width))


def inverse_intrinsics(K: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 3"]:
    """K^-1, unchecked: `torch.linalg.inv` waits for the device, to ask whether a matrix was singular."""
    return torch.linalg.inv_ex(K).inverse


def project(
    points: Float[Tensor, "b 3 h w"], K: Float[Tensor, "b 3 3"]
) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
    """Pixels (x, y) and depth (z) of points of the camera's frame.

    Points behind the camera land far outside of the image.
    """
    homogeneous = (K @ points.flatten(2)).unflatten(2, points.shape[-2:])
    return homogeneous[:, :2] / points[:, 2:].clamp(min=NEAR), points[:, 2:]


def normals(depth: Float[Tensor, "b 1 h w"], K: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 3 h w"]:
    """Unit surface normals in the camera's frame, facing the camera, by central differences.

    Borders repeat their neighbours.

    The cross product of the differences of back-projected points, their common factors removed: with a = (Z+ - Z-) /
    (Z+ + Z-) along x and b along y it is (fx a, fy b, -(1 + (x - cx) a + (y - cy) b)): exact on planes and invariant to
    the scale of depth.
    """
    height, width = depth.shape[-2:]
    a = half_relative_difference(depth[..., 1:-1, 2:], depth[..., 1:-1, :-2])
    b = half_relative_difference(depth[..., 2:, 1:-1], depth[..., :-2, 1:-1])
    x, y = pixel_grid(height, width, device=depth.device, dtype=depth.dtype)[:, 1:-1, 1:-1]
    fx, fy, cx, cy = (K[:, i, j, None, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    parts = fx * a, fy * b, -(1 + (x - cx) * a + (y - cy) * b)
    # F.normalize reduces over three channels ten times slower.
    length = (parts[0].square() + parts[1].square() + parts[2].square()).clamp(min=1e-24).sqrt()
    return F.pad(torch.cat([part / length for part in parts], 1), (1, 1, 1, 1), mode="replicate")


def half_relative_difference(after: Float[Tensor, "*s"], before: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """(after - before) / (after + before) of positive values."""
    return (after - before) / (after + before).clamp(min=1e-6)


def resize_intrinsics(K: Matrix, from_size: tuple[int, ...], to_size: tuple[int, ...]) -> Matrix:
    """Intrinsics ("*b 3 3") of the image resized from one (height, width) to another: x moves to (x + 0.5) s - 0.5.

    >>> resize_intrinsics(np.array([[100.0, 0, 49.5], [0, 100, 24.5], [0, 0, 1]]), (50, 100), (25, 50))[0]
    array([50. ,  0. , 24.5])
    """
    sy, sx = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return move_pixels(K, (sx, sy), ((sx - 1) / 2, (sy - 1) / 2))


def crop_intrinsics(K: Matrix, top: int, left: int) -> Matrix:
    """Intrinsics ("*b 3 3") of the image without its first `top` rows and `left` columns."""
    return move_pixels(K, (1, 1), (-left, -top))


def move_pixels(K: Matrix, factors: tuple[float, float], offsets: tuple[float, float]) -> Matrix:
    """Intrinsics where a pixel (x, y) becomes (x, y) * factors + offsets."""
    *axes, last = (K[..., row, :] for row in range(3))
    rows = [factor * axis + offset * last for axis, factor, offset in zip(axes, factors, offsets, strict=True)]
    stack: Any = torch.stack if isinstance(K, Tensor) else np.stack
    return stack([*rows, last], -2)
