"""Which device computes, and what it is called."""

import torch

from ssmde_lib.errors import UserError


def choose_device(name: torch.device | str) -> torch.device:
    """The named device; a UserError where this machine or this PyTorch cannot compute on it."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(
            f"device {str(name)!r} cannot be used here: choose cpu, or one that `ssmde doctor` lists."
        ) from None


def best_device() -> torch.device:
    """CUDA, else Apple's GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def device_name() -> str:
    """What the fastest device is called: a GPU's product name, else cpu or mps."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else best_device().type
