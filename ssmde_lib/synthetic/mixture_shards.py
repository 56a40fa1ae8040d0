"""Views of the mixture, rendered once and kept in shards of at most 250 views.

An interrupted rendering goes on with the next shard.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ssmde_lib.files import atomic
from ssmde_lib.synthetic.mixture import ROOMY, Mixture, render_view

SHARD = 250  # views


def render_shards(
    folder: str | Path, first: int, count: int, size: tuple[int, int], mixture: Mixture = ROOMY
) -> list[Path]:
    """Render the views with seeds first … first + count - 1, where missing; returns the shards' files.

    A folder serves one mixture: the files do not name it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(first, first + count, SHARD):
        seeds = range(seed, min(seed + SHARD, first + count))
        part = "" if len(seeds) == SHARD else f"_first{len(seeds)}"  # a short shard is never taken for a full one
        paths.append(folder / f"{size[0]}x{size[1]}_{seed:07d}{part}.npz")
        if not paths[-1].is_file():
            write_shard(paths[-1], seeds, size, mixture)
    return paths


def write_shard(path: Path, seeds: range, size: tuple[int, int], mixture: Mixture) -> None:
    """Render and write the views of these seeds."""
    frames = [render_view(seed, *size, mixture) for seed in tqdm(seeds, desc=path.stem)]
    with atomic(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            images=np.stack([frame.rgb for frame in frames]).transpose(0, 3, 1, 2),
            depths=np.stack([frame.depth for frame in frames]).astype(np.float16)[:, None],
            K=np.stack([frame.K for frame in frames]).astype(np.float32),
        )


def load_shards(paths: list[Path]) -> dict[str, Tensor]:
    """`images` uint8 n 3 h w, `depths` float16 n 1 h w (metres, infinite: sky), `K` float32 n 3 3, of all shards."""
    shards = [np.load(path) for path in paths]
    return {
        key: torch.from_numpy(np.concatenate([shard[key] for shard in shards])) for key in ("images", "depths", "K")
    }
