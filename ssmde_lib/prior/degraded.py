"""A stand-in for a poor prior: another provider's maps, blurred and bent by a smooth error.

The error is a function of the image alone.
"""

import zlib
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssmde_lib.prior.providers import DepthPrior


@dataclass(frozen=True)
class Degradation:
    """How much worse: blur as a share of the picture's width.

    Standard deviation of the error of log-depth, and its cells a side.
    """

    blur: float = 0.04
    error: float = 0.35
    cells: int = 4


class Degraded:
    """`provider` made worse; same interface.

    The same picture always gets the same error, another one an unrelated one.
    """

    def __init__(self, provider: DepthPrior, degradation: Degradation = Degradation()):
        self.provider, self.degradation, self.device = provider, degradation, provider.device

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Relative depth, positive, far is large."""
        log_depth = self.provider(images).log()
        blurred = blur(log_depth, self.degradation.blur * images.shape[-1])
        errors = torch.cat([self.error(image) for image in images]).to(log_depth.device)
        return (blurred + errors).exp()

    def error(self, image: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 1 h w"]:
        """Normal numbers on a coarse grid, interpolated; seeded by the picture's bytes."""
        pixels = (image * 255).round().byte().contiguous().cpu().numpy()
        generator = torch.Generator("cpu").manual_seed(zlib.crc32(pixels.tobytes()))
        cells = torch.randn(1, 1, self.degradation.cells, self.degradation.cells, generator=generator, device="cpu")
        return self.degradation.error * F.interpolate(cells, image.shape[-2:], mode="bicubic", align_corners=True)

    def describe(self) -> dict:
        """The provider's description, with the degradation."""
        about = self.provider.describe()
        return about | {
            "provider": f"{about['provider']}, degraded (a stand-in for a poor prior)",
            "degradation": asdict(self.degradation),
        }


def blur(maps: Float[Tensor, "b 1 h w"], sigma: float) -> Float[Tensor, "b 1 h w"]:
    """Gaussian, borders repeated."""
    radius = int(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
