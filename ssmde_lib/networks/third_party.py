"""Published checkpoints of Monodepth2 (2019) and SC-Depth V1–V3 in our networks, written against their layouts."""

import argparse
import pickle
from pathlib import Path

import torch
from torch import Tensor

from ssmde_lib.errors import UserError
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.resnet import DEPTHS

State = dict[str, Tensor]

SC_DEPTH_SIZES = {  # training height and width by its `dataset_name`
    "kitti": (256, 832), "nyu": (256, 320), "ddad": (384, 640), "bonn": (256, 320), "tum": (256, 320),
}  # fmt: skip


def load_monodepth2(folder: str | Path, device: torch.device | str = "cpu") -> tuple[DepthNet, dict]:
    """The depth network in a folder with `encoder.pth` and `depth.pth`, and its record (`source`, `size` (h, w))."""
    folder = Path(folder)
    encoder, decoder = (read_pickle(folder / name) for name in ("encoder.pth", "depth.pth"))
    if not {"height", "width", "encoder.conv1.weight"} <= encoder.keys() or "decoder.0.conv.conv.weight" not in decoder:
        raise UserError(f"{folder} does not hold Monodepth2's encoder.pth and depth.pth: check the folder.")
    # Its decoder is one list: two convolutions a stage from the coarsest to the finest, then a head a scale.
    convolutions = [f"{part}.{i}.0" for i in reversed(range(5)) for part in ("before", "after")]
    renamed = {f"{k}.conv.conv": name for k, name in enumerate(convolutions)} | {
        f"{10 + s}.conv": f"heads.{s}" for s in range(4)
    }
    state = encoder_state(encoder, "encoder.") | rename(decoder, "decoder.", renamed)
    net = DepthNet(count_layers(encoder, "encoder.", folder))
    return fill(net, state, folder, device), {
        "source": "Monodepth2",
        "size": [int(encoder["height"]), int(encoder["width"])],
    }


def load_sc_depth(path: str | Path, device: torch.device | str = "cpu") -> tuple[DepthNet, dict]:
    """The depth network in a Lightning `.ckpt` of SC-Depth, and its record.

    KITTI's size where the file names no data set.
    """
    checkpoint = read_pickle(path)
    state = checkpoint.get("state_dict", {})
    if "depth_net.encoder.encoder.conv1.weight" not in state:
        raise UserError(
            f"{path} holds no `depth_net` of SC-Depth: choose a Lightning checkpoint of SC-Depth V1, V2 or V3."
        )
    convolutions = {
        f"upconvs{j}.{k}.conv.conv": f"{part}.{4 - k}.0" for k in range(5) for j, part in enumerate(("before", "after"))
    }
    renamed = convolutions | {f"dispconvs.{s}.conv": f"heads.{s}" for s in range(4)}
    prefix = "depth_net.encoder.encoder."
    # Its depth is 1 / (10 sigmoid + 0.01), its decoder upsamples bilinearly.
    net = DepthNet(count_layers(state, prefix, path), min_depth=1 / 10.01, max_depth=100.0, upsample="bilinear")
    options = checkpoint.get("hyper_parameters", {}).get("hparams")
    size = SC_DEPTH_SIZES.get(getattr(options, "dataset_name", "kitti"), SC_DEPTH_SIZES["kitti"])
    state = encoder_state(state, prefix) | rename(state, "depth_net.decoder.", renamed)
    return fill(net, state, path, device), {"source": "SC-Depth", "size": list(size)}


def read_pickle(path: str | Path) -> dict:
    """Tensors and plain values of a PyTorch file.

    Argparse's option holder is let through, any other class is refused unopened.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path of the checkpoint.") from None
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower():
            raise UserError(f"{path} is damaged: download it again.") from None
        raise UserError(
            f"{path} carries more than weights, which could run code, and was not opened: "
            "where you trust it, save its state_dict alone and load that."
        ) from None
    except (RuntimeError, EOFError, ValueError):
        raise UserError(f"{path} is damaged or no PyTorch checkpoint: download it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dict of weights: choose a checkpoint file.")
    return content


def count_layers(state: State, prefix: str, path: str | Path) -> int:
    """Which ResNet a torchvision-named state dict holds: 18, 34, 50 or 101."""
    blocks = tuple(
        len({key.split(".")[1] for key in strip(state, prefix) if key.startswith(f"layer{stage}.")})
        for stage in range(1, 5)
    )
    bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    for layers, counts in DEPTHS.items():
        if counts == blocks and bottleneck == (layers >= 50):
            return layers
    raise UserError(f"{path} holds no ResNet-18, 34, 50 or 101: its stages have {blocks} blocks.")


def encoder_state(state: State, prefix: str) -> State:
    """Encoder weights under our names, without the classifier."""
    return {f"encoder.{key}": value for key, value in strip(state, prefix).items() if not key.startswith("fc.")}


def rename(state: State, prefix: str, names: dict[str, str]) -> State:
    """`<prefix><old>.weight` becomes `<new>.weight`; unknown names stay, for the strict loading to complain of."""
    pairs = ((key.rpartition("."), value) for key, value in strip(state, prefix).items())
    return {f"{names.get(old, old)}.{kind}": value for (old, _, kind), value in pairs}


def strip(state: State, prefix: str) -> State:
    """The entries below a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def fill(net: DepthNet, state: State, path: str | Path, device: torch.device | str) -> DepthNet:
    """The network with these weights; UserError where they do not fit."""
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its documented layout: {str(error).splitlines()[1].strip()}") from None
    return net.to(device).eval()
