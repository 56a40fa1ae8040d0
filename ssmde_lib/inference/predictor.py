"""From pictures to depth: one predictor for pictures of any size."""

import copy
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ssmde_lib import opencv as cv2
from ssmde_lib.devices import best_device, choose_device
from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.third_party import load_monodepth2, load_sc_depth

BUNDLED_STUDENT = WEIGHTS / "student.safetensors"
Network = TypeVar("Network", bound=nn.Module)


def load_depth_network(path: str | Path = BUNDLED_STUDENT, device: torch.device | str = "cpu") -> DepthNet:
    """A depth network in eval mode: RGB b 3 h w in [0, 1] to disparities, finest first.

    `net.depth` turns them into depth.

    Args:
        path: Our `.safetensors`, a folder of Monodepth2's (`encoder.pth`, `depth.pth`), or a `.ckpt` of SC-Depth.
        device: Where its weights go.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    return read_depth_network(Path(path))[0].to(device)


def read_depth_network(path: Path) -> tuple[DepthNet, dict]:
    """The network in a file of a layout that we know, and its training record."""
    if path == BUNDLED_STUDENT and not path.is_file():
        raise UserError(
            f"the bundled weights {path} are missing: train the student (notebook 08) or give --checkpoint."
        )
    if path.is_dir():
        return load_monodepth2(path)
    if path.suffix == ".ckpt":
        return load_sc_depth(path)
    net, record = checkpoint.load(path), checkpoint.read_record(path)
    if not isinstance(net, DepthNet):
        raise UserError(f"{path} holds a {type(net).__name__}, not a depth network: choose depth.safetensors.")
    return net, record


def fold_batch_norm(net: Network) -> Network:
    """A copy for inference whose convolutions have taken in the batch norm that follows them.

    Same outputs, fewer passes.
    """
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        # Registration order is execution order for such pairs in all our networks.
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, nn.utils.fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return net


class Predictor:
    """A depth network that takes pictures of any size.

    `size` (h, w) is the size it was trained at, to which pictures are resized; None takes the picture's own, rounded to
    multiples of 32, at least 64. Depth is up to scale unless the training knew metres.
    """

    def __init__(self, net: DepthNet, size: Sequence[int] | None = None, device: torch.device | str | None = None):
        self.device = choose_device(device) if device else best_device()
        self.net = fold_batch_norm(net)
        del self.net.heads[1:]  # coarser disparities serve training alone
        self.net.to(self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] not in the stub
        self.size = (size[0], size[1]) if size else None

    @property
    def max_depth(self) -> float:
        """The largest depth that the network can return."""
        return self.net.architecture["max_depth"]

    @classmethod
    def load(cls, path: str | Path = BUNDLED_STUDENT, device: torch.device | str | None = None) -> "Predictor":
        """From the files that `load_depth_network` reads."""
        net, record = read_depth_network(Path(path))
        return cls(net, record.get("size"), device)

    def __call__(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w"]:
        """Depth at the pictures' own size, float32."""
        depths = self.at_network_size(images)
        size = images.shape[1:3]
        if depths.shape[1:] == size:
            return depths
        return np.stack([cv2.resize(depth, size[::-1], interpolation=cv2.INTER_LINEAR) for depth in depths])

    def at_network_size(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h2 w2"]:
        """Depth as the network gives it, for an evaluator that resizes only once."""
        return self.tensor(images)[:, 0].cpu().numpy()

    @torch.inference_mode()
    def tensor(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[Tensor, "b 1 h2 w2"]:
        """Depth as the network gives it, float32, on its device."""
        height, width = (max(64, round(side / 32) * 32) for side in images.shape[1:3])
        size = self.size or (height, width)
        resized = np.stack([resize_image(image, size) for image in images])
        pixels = torch.from_numpy(resized).to(self.device).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)
        return self.net.depth(self.net(pixels / 255)[0]).float()


def resize_image(image: UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """To (h, w), averaging areas where it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
