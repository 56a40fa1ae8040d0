"""Mixture views as frozen DINOv2 tokens, computed once and kept, so that only the head costs time in a training step.

A file holds a shard of views, each augmented once. Safetensors are mapped and not read: all of them together may be
larger than memory.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ssmde_lib.files import atomic
from ssmde_lib.networks.dinov2 import DinoV2
from ssmde_lib.networks.dinov2_depth import OUTPUT, PICTURE, DepthHead, DinoDepth, resize
from ssmde_lib.networks.leres import preprocess
from ssmde_lib.prior.augment import augment
from ssmde_lib.prior.loop import abs_rel
from ssmde_lib.prior.losses import leres_loss
from ssmde_lib.synthetic.mixture_shards import load_shards

Grid = tuple[int, int]  # tokens: rows, columns
BATCH = 16
LOWEST = 0.3  # pictures are blurred as if taken at down to this share of the size


@dataclass(frozen=True)
class TokenViews:
    """Views of one grid of tokens, as `token_shards` keeps them."""

    train: list[dict[str, Tensor]]
    held_out: list[dict[str, Tensor]]

    def __len__(self) -> int:
        return sum(len(shard["images"]) for shard in self.train)

    def loss(self, head: DepthHead, indices: Tensor, device: str) -> dict[str, Tensor]:
        """`leres_loss` of the training views `indices`, at the size of the head's output."""
        sizes = torch.tensor([len(shard["images"]) for shard in self.train], device="cpu")
        ends = sizes.cumsum(0)
        shards = torch.searchsorted(ends, indices, right=True)
        rows = (indices - ends[shards] + sizes[shards]).tolist()
        batch = {
            key: torch.stack([self.train[s][key][row] for s, row in zip(shards.tolist(), rows, strict=True)]).to(device)
            for key in self.train[0]
        }
        images = batch["images"].float() / 255
        log_depth = predict(head, batch["tokens"], images)
        return leres_loss(
            log_depth, batch["depths"].float(), resize(images, log_depth.shape[-2:], antialias=True), batch["K"]
        )

    def errors(self, head: DepthHead, device: str) -> Iterator[float]:
        """AbsRel of each held-out view that is not all sky, at the size of its depth."""
        for shard in self.held_out:
            for start in range(0, len(shard["images"]), BATCH):
                batch = {key: values[start : start + BATCH].to(device) for key, values in shard.items()}
                with torch.no_grad():
                    depth = predict(head, batch["tokens"], batch["images"].float() / 255).exp()
                yield from abs_rel(depth, batch["depths"].float())


def predict(head: DepthHead, tokens: Tensor, images: Tensor) -> Tensor:
    """Log-depth by the head, in bfloat16."""
    with torch.autocast(images.device.type, torch.bfloat16):
        return head(tokens, preprocess(images, images.shape[-2:])).float()


def token_shards(
    backbone: DinoV2, shards: list[Path], grid: Grid, seed: int | None, device: str
) -> list[dict[str, Tensor]]:
    """Each shard of `render_shards` as `tokens` float16, `images` uint8, `depths` float16, `K`; computed where missing.

    Views are augmented by `seed` and the shard's name. With None they are not, and depth keeps its size.
    """
    files = []
    for shard in shards:
        how = "plain" if seed is None else f"seed{seed}"
        file = shard.with_name(f"{shard.stem}_{grid[0]}x{grid[1]}_{how}.safetensors")
        if not file.is_file():
            drawn = None if seed is None else zlib.crc32(f"{seed} {shard.stem}".encode())
            with atomic(file) as draft:
                save_file(compute(backbone, load_shards([shard]), grid, drawn, device), draft)
        files.append(file)
    return [load_file(file) for file in files]


def compute(backbone: DinoV2, data: dict[str, Tensor], grid: Grid, seed: int | None, device: str) -> dict[str, Tensor]:
    """Augmented views (seed None: plain ones) with their tokens."""
    size = (PICTURE * grid[0], PICTURE * grid[1])
    net, parts = DinoDepth(backbone, DepthHead()).to(device), []
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.autocast(device, torch.bfloat16):
        if seed is not None:
            torch.manual_seed(seed)
        for start in tqdm(range(0, len(data["images"]), BATCH), desc=f"tokens {grid[0]}x{grid[1]}", mininterval=10):
            images, depths, K = (data[key][start : start + BATCH].to(device) for key in ("images", "depths", "K"))
            images, depths = images.float() / 255, depths.float()
            if seed is None:
                images = resize(images, size, antialias=True).clamp(0, 1)
            else:
                images, depths, K = augment(images, depths, K, size, LOWEST)
                step = PICTURE // OUTPUT
                depths, K = depths[..., ::step, ::step], K / torch.tensor([step, step, 1.0], device=device)[:, None]
            parts.append(
                {
                    "tokens": net.tokens(images).half(),
                    "images": (255 * images).round().byte(),
                    "depths": depths.half(),
                    "K": K,
                }
            )
    return {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
