"""View synthesis: the target frame from a source frame by depth and motion; the consistency of two depth maps.

(Zhou et al. 2017; the consistency of depths is SC-Depth's, Bian et al. 2019.) The sampling grid is normalised by
(w - 1, h - 1) and sampled with `align_corners=True`, so that the identity warp is exact up to the borders.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssmde_lib.geometry.camera import NEAR, homogeneous_grid, inverse_intrinsics

BORDER = 0.01  # pixels: rounding must not make the outermost pixels invalid


class Warp(NamedTuple):
    """A source frame seen from the target camera, and where each target pixel was found."""

    image: Float[Tensor, "b c h w"]
    valid: Bool[Tensor, "b 1 h w"]  # the point lies in front of the source camera and inside of its image
    depth: Float[Tensor, "b 1 h w"]  # of the target's points, in the source camera's frame
    pixels: Float[Tensor, "b 2 h w"]  # x, y in the source image


def reproject(
    depth_tgt: Float[Tensor, "b 1 h w"], K: Float[Tensor, "b 3 3"], T_src_tgt: Float[Tensor, "b 4 4"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the target's pixels lie in the source: pixels "b 2 h w", depth "b 1 h w", valid "b 1 h w".

    project(T backproject(depth)) with its matrices multiplied first: (K R K^-1) (x, y, 1) depth + K t.
    """
    height, width = depth_tgt.shape[-2:]
    grid = homogeneous_grid(height, width, device=depth_tgt.device, dtype=depth_tgt.dtype)
    rays = (K @ T_src_tgt[:, :3, :3] @ inverse_intrinsics(K) @ grid).unflatten(2, (height, width))  # b 3 h w
    points = depth_tgt * rays + (K @ T_src_tgt[:, :3, 3:])[..., None]
    depth = points[:, 2:]
    pixels = points[:, :2] / depth.clamp(min=NEAR)
    x, y = pixels.detach().split(1, 1)
    inside = (x >= -BORDER) & (x <= width - 1 + BORDER) & (y >= -BORDER) & (y <= height - 1 + BORDER)
    return pixels, depth, inside & (depth.detach() > NEAR)


def sample(image: Float[Tensor, "b c h w"], pixels: Float[Tensor, "b 2 h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
    """Bilinear values of an image at pixel coordinates; outside of it, the nearest border value."""
    height, width = image.shape[-2:]
    x, y = pixels.unbind(1)
    grid = torch.stack([x / ((width - 1) / 2) - 1, y / ((height - 1) / 2) - 1], -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def synthesize(
    source: Float[Tensor, "b c h w"],
    depth_tgt: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
) -> Warp:
    """Rebuild the target frame from the source: each target pixel takes the source's value where its point is seen."""
    pixels, depth, valid = reproject(depth_tgt, K, T_src_tgt)
    return Warp(sample(source, pixels), valid, depth, pixels)


def relative_difference(a: Float[Tensor, "*s"], b: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """|a - b| / (a + b) of positive depths: symmetric, in [0, 1] (SC-Depth, Bian et al. 2019, D_diff)."""
    return (a - b).abs() / (a + b)


def depth_difference(
    depth_tgt: Float[Tensor, "b 1 h w"],
    depth_src: Float[Tensor, "b 1 h w"],
    K: Float[Tensor, "b 3 3"],
    T_src_tgt: Float[Tensor, "b 4 4"],
) -> tuple[Float[Tensor, "b 1 h w"], Bool[Tensor, "b 1 h w"]]:
    """Geometric inconsistency D_diff in [0, 1], and where it is valid (Bian et al. 2019).

    It compares the target's depth, moved into the source's frame, with the source's own depth there.
    """
    sampled, valid, computed, _ = synthesize(depth_src, depth_tgt, K, T_src_tgt)
    return relative_difference(computed.clamp(min=NEAR), sampled), valid
