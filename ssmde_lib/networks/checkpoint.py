"""One safetensors file a network; its metadata says how to build it and where it comes from."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS, placeholder
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.dinov2_depth import DepthHead
from ssmde_lib.networks.leres import LeReS
from ssmde_lib.networks.pose_net import PoseNet

NETWORKS = {"DepthNet": DepthNet, "PoseNet": PoseNet, "LeReS": LeReS, "DepthHead": DepthHead}


def save(net: nn.Module, path: str | Path, record: dict, half: bool = False) -> None:
    """Write weights, architecture and training record; `half` stores float16 (bundled checkpoints)."""
    tensors = {k: (v.half() if half and v.is_floating_point() else v).contiguous() for k, v in net.state_dict().items()}
    metadata = {
        "network": type(net).__name__,
        "architecture": json.dumps(net.architecture),
        "record": json.dumps(record),
    }
    save_file(tensors, path, metadata)


def read_record(path: str | Path) -> dict:
    """The training record kept in a checkpoint."""
    with open_checkpoint(path) as file:
        return json.loads(file.metadata()["record"])


def load(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """Build the network that a checkpoint describes (one of NETWORKS) and fill it; eval mode, float32."""
    with open_checkpoint(path, str(device)) as file:
        metadata = file.metadata() or {}
        if metadata.get("network") not in NETWORKS:
            raise UserError(f"{path} is no checkpoint of this library: choose one written by a training stage.")
        net = NETWORKS[metadata["network"]](**json.loads(metadata["architecture"]))
        state = {key: file.get_tensor(key) for key in sorted(file.keys())}
    try:
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError:
        raise UserError(
            f"{path} holds a {metadata['network']} of another version of this library: run its stage again."
        ) from None
    return net.to(device).eval()


def open_checkpoint(path: str | Path, device: str = "cpu"):
    """The safetensors file, open; UserError where it is missing or damaged."""
    try:
        return safe_open(str(path), framework="pt", device=device)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: train it first (notebooks 04, 06, 08) or choose a bundled one in {WEIGHTS}."
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): choose a .safetensors file.") from None
    except SafetensorError:
        raise UserError(f"{path} {what_it_is(Path(path))}.") from None


def what_it_is(path: Path) -> str:
    """What a file is that is no whole safetensors file, by its first bytes, and what to do."""
    with path.open("rb") as file:
        begin = file.read(64)
    if instead := placeholder(begin):
        return instead
    if begin.startswith((b"PK\x03\x04", b"\x80")) or path.suffix.lower() in (".pth", ".pt", ".tar", ".bin"):
        return (
            "is a PyTorch checkpoint of another project's layout: read are this library's .safetensors, a folder with "
            "Monodepth2's encoder.pth and depth.pth, and SC-Depth's .ckpt; other networks need their own code"
        )
    if path.suffix == ".safetensors":
        return "is cut or damaged: run its stage again, or download it again"
    return "is no safetensors file: choose one written by a training stage"
