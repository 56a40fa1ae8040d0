"""The literal loader: one frame, one pixel box, one colour operation after the other, as the definitions read."""

import numpy as np
import torch
from PIL import Image

YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def overlap(length: int, target: int) -> np.ndarray:
    """Share of every source pixel in every target pixel, as boxes on a line: target x source, rows sum to 1."""
    edges = np.arange(target + 1) * length / target
    low, high = np.maximum(edges[:-1, None], np.arange(length)), np.minimum(edges[1:, None], np.arange(1, length + 1))
    return np.clip(high - low, 0, None) * target / length


def read_frame(path, size: tuple[int, int]) -> np.ndarray:
    """RGB in [0, 1], each target pixel the mean of the source area that it covers, h w 3 float64."""
    image = np.asarray(Image.open(path).convert("RGB"), np.float64)
    return (
        np.einsum(
            "yh,xw,hwc->yxc", overlap(image.shape[0], size[0]), overlap(image.shape[1], size[1]), image, optimize=True
        )
        / 255
    )


def jitter(
    frames: list[np.ndarray], brightness: float, contrast: float, saturation: float, angle: float
) -> list[np.ndarray]:
    """Hue and saturation in YIQ, then brightness, then contrast about the mean grey of the three frames."""
    out = []
    for frame in frames:
        y, i, q = np.moveaxis(frame @ YIQ.T, -1, 0)
        turned = np.stack(
            [
                y,
                saturation * (np.cos(angle) * i - np.sin(angle) * q),
                saturation * (np.sin(angle) * i + np.cos(angle) * q),
            ],
            -1,
        )
        out.append(brightness * (turned @ np.linalg.inv(YIQ).T))
    grey = np.mean([(frame @ YIQ[0]).mean() for frame in out])
    return [np.clip(contrast * frame + (1 - contrast) * grey, 0, 1) for frame in out]


def load(paths: list, size: tuple[int, int], draw: np.ndarray) -> list[torch.Tensor]:
    """Three frames, resized and jittered by four uniform numbers, 3 h w float32."""
    brightness, contrast, saturation = 0.8 + 0.4 * draw[:3]
    frames = jitter(
        [read_frame(path, size) for path in paths], brightness, contrast, saturation, 0.2 * np.pi * (2 * draw[3] - 1)
    )
    return [torch.from_numpy(frame.transpose(2, 0, 1).astype(np.float32)) for frame in frames]
