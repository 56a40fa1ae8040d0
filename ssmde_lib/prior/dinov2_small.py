"""Relative depth of pictures of any size from frozen DINOv2 features: the network of the provider `dinov2_small`."""

from pathlib import Path

import pooch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.dinov2 import load_backbone
from ssmde_lib.networks.dinov2_depth import PICTURE, DepthHead, DinoDepth, resize

BUNDLED_HEAD = WEIGHTS / "dinov2_small.safetensors"  # the backbone comes with its package
FAST, BEST = 192, 432  # tokens of a picture, about
RANGE = 0.9  # exponent of the depth: the head exaggerates the range of unknown scenes; chosen on the worlds' val clips


class TokenGrid(nn.Module):
    """Relative depth of pictures by a grid of about `tokens` tokens in the pictures' own shape."""

    def __init__(self, net: nn.Module, tokens: int):
        super().__init__()
        self.net, self.tokens = net, tokens

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Relative depth at the images' size."""
        size = tuple(PICTURE * side for side in grid_of(images.shape[-2:], self.tokens))
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16_is_fast(images.device)):
            log_depth = self.net(resize(images, size, antialias=True))
        return (RANGE * resize(log_depth.float(), images.shape[-2:])).exp()


def grid_of(size: tuple[int, ...], tokens: int) -> tuple[int, int]:
    """Rows and columns of about `tokens` squares that cover a picture of `size` (h, w)."""
    rows = max(1, round((tokens * size[0] / size[1]) ** 0.5))
    return rows, max(1, round(rows * size[1] / size[0]))


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 (a CPU by AMX or AVX-512); there it was 2.5 to 3.5 times as fast."""
    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return device.type == "cuda" or bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def load_network(weights: str | Path, backbone: str | Path | None) -> tuple[DinoDepth, dict]:
    """The backbone (see `load_backbone`) with the head of a checkpoint, and what they are (JSON-able)."""
    head = checkpoint.load(weights)
    if not isinstance(head, DepthHead):
        raise UserError(
            f"{weights} holds a {type(head).__name__}, not the head of dinov2_small: "
            "choose weights written by ssmde_lib.prior.train."
        )
    net, about = load_backbone(backbone)
    about |= {
        "weights": Path(weights).name,
        "sha256": pooch.file_hash(str(weights)),
        "licence": "MIT (head)",
        "trained_on": checkpoint.read_record(weights)["trained_on"],
    }
    depth = DinoDepth(net, head)
    depth.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] not in the stub
    return depth, about
