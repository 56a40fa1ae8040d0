"""Pseudo-depth on disk: one 16-bit PNG a frame, and a manifest `prior.json` that says what it is."""

import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ssmde_lib.data.layout import SPLITS, Clip, clip_folder, find_clips, write_pseudo_depth_map
from ssmde_lib.errors import UserError, translate_errors
from ssmde_lib.files import write_json
from ssmde_lib.prior.providers import DepthPrior

ENCODING = "relative depth of a frame = value / 65535; each frame is scaled by its own maximum"


def write_pseudo_depth(provider: DepthPrior, data_root: str | Path, out_root: str | Path, batch: int = 8) -> dict:
    """Relative depth of every frame of a data set (docs/design.md), in its layout; returns the manifest.

    Frames that are there already are kept, so that an interrupted run goes on; a folder begun by another provider,
    other weights or with another convention is refused with a UserError.
    """
    out_root = Path(out_root)
    manifest = {**provider.describe(), "encoding": ENCODING}
    check_manifest(out_root, manifest)
    with translate_errors(out_root, "the batch", "run it again; maps that are there are kept"):
        for clip in find_all_clips(data_root):
            folder = clip_folder(clip, out_root)
            folder.mkdir(parents=True, exist_ok=True)
            missing = [i for i in range(len(clip)) if not (folder / f"{clip.stem(i)}.png").is_file()]
            for start in tqdm(
                range(0, len(missing), batch), desc=f"pseudo-depth {clip.name}", disable=not missing, leave=False
            ):
                indices = missing[start : start + batch]
                images = torch.from_numpy(np.stack([clip.image(i) for i in indices])).to(provider.device)
                depths = provider(images.permute(0, 3, 1, 2).float() / 255)[:, 0].cpu().numpy()
                for i, depth in zip(indices, depths, strict=True):
                    write_pseudo_depth_map(folder / f"{clip.stem(i)}.png", depth)
    return manifest


def check_manifest(out_root: Path, manifest: dict) -> None:
    """Write the manifest, or check that the folder was begun with the same one."""
    path = out_root / "prior.json"
    if path.is_file() and json.loads(path.read_text()) != manifest:
        raise UserError(
            f"{path} records another provider, weights or convention: delete {out_root} or choose another folder."
        )
    write_json(path, manifest)


def find_all_clips(data_root: str | Path) -> list[Clip]:
    """Every clip of a data set's splits, or the one clip that the folder is."""
    data_root = Path(data_root)
    if (data_root / "cam.txt").is_file():
        return [Clip(data_root)]
    splits = [split for split in SPLITS if (data_root / split).is_dir()]
    if not splits:
        raise UserError(
            f"{data_root} holds no train, val or test folder: prepare the data first (notebook 01 or data_scripts/)."
        )
    return [clip for split in splits for clip in find_clips(data_root, split)]
