"""From pictures to depth: one predictor for images, folders, videos and webcams, and the files that it leaves."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from ssmde_lib.datasets.clip import IMAGE_SUFFIXES, read_image
from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.foreign import load_monodepth2, load_sc_depth

SHIPPED = Path(__file__).parents[1] / "weights" / "student.safetensors"


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """A copy for inference whose convolutions have taken in the batch norm that follows them; same outputs, fewer passes."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        # Registration order is execution order for such pairs in all our networks.
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, nn.utils.fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return net


def choose_device(name: torch.device | str) -> torch.device:
    """The named device; a UserError where this machine or this PyTorch cannot compute on it."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"device {str(name)!r} cannot be used here: choose cpu, or one that `ssmde doctor` lists.") from None


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


def device_name() -> str:
    """What the fastest device is called: a GPU's product name, else cpu or mps."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else best_device().type


class Predictor:
    """A depth network that takes pictures of any size.

    `size` (h, w) is the size it was trained at, to which pictures are resized; None takes the picture's own, rounded to
    multiples of 32, at least 64. Depth is up to scale unless the training knew metres.
    """

    def __init__(self, net: DepthNet, size: tuple[int, int] | None = None, device: torch.device | str | None = None):
        self.device = choose_device(device) if device else best_device()
        self.net = fold_batch_norm(net)
        del self.net.heads[1:]  # coarser disparities serve training alone
        self.net = self.net.to(self.device, memory_format=torch.channels_last)
        self.size = tuple(size) if size else None

    @classmethod
    def load(cls, path: str | Path = SHIPPED, device: torch.device | str | None = None) -> "Predictor":
        """From our `.safetensors`, a folder of Monodepth2's (`encoder.pth`, `depth.pth`), or a `.ckpt` of SC-Depth."""
        path = Path(path)
        if path == SHIPPED and not path.is_file():
            raise UserError(f"the shipped weights {path} are missing: train the student (notebook 08) or give --checkpoint.")
        if path.is_dir():
            net, record = load_monodepth2(path)
        elif path.suffix == ".ckpt":
            net, record = load_sc_depth(path)
        else:
            net, record = checkpoint.load(path), checkpoint.read_record(path)
            if not isinstance(net, DepthNet):
                raise UserError(f"{path} holds a {type(net).__name__}, not a depth network: choose depth.safetensors.")
        return cls(net, record.get("size"), device)

    def __call__(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h w"]:
        """Depth at the pictures' own size, float32."""
        depths = self.at_network_size(images)
        size = images.shape[1:3]
        if depths.shape[1:] == size:
            return depths
        return np.stack([cv2.resize(depth, size[::-1], interpolation=cv2.INTER_LINEAR) for depth in depths])

    @torch.inference_mode()
    def at_network_size(self, images: UInt8[np.ndarray, "b h w 3"]) -> Float[np.ndarray, "b h2 w2"]:
        """Depth as the network gives it, for an evaluator that resizes only once."""
        size = self.size or tuple(max(64, round(side / 32) * 32) for side in images.shape[1:3])
        resized = np.stack([resize_image(image, size) for image in images])
        tensor = torch.from_numpy(resized).to(self.device).permute(0, 3, 1, 2).to(memory_format=torch.channels_last) / 255
        return self.net.depth(self.net(tensor)[0])[:, 0].float().cpu().numpy()


def resize_image(image: UInt8[np.ndarray, "_ _ 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """To (h, w), averaging areas where it shrinks."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class SteadyScale:
    """Takes frame-to-frame flicker of scale out of a video and lets slow changes pass.

    The median log ratio of successive depth maps is a random walk of flicker plus true change; the correction is that walk
    minus its exponential average, with a memory of about `memory` frames. A jump beyond `cut` is a new scene and starts anew.
    """

    def __init__(self, memory: float = 10.0, cut: float = 1.5):
        self.keep, self.cut = 1 - 1 / memory, np.log(cut)
        self.last, self.correction = None, 0.0

    def __call__(self, depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        if self.last is not None and self.last.shape == depth.shape:
            change = float(np.median(np.log(depth / self.last)))
            self.correction = self.keep * (self.correction - change) if abs(change) < self.cut else 0.0
        self.last = depth
        return depth * np.float32(np.exp(self.correction))


# ---- reading ---------------------------------------------------------------------------------------------------------


@dataclass
class Source:
    """Where pictures come from; `moving` sources are one sequence, whose scale is kept steady and of which a video is made."""

    frames: Iterator[tuple[str, UInt8[np.ndarray, "h w 3"] | UserError]]
    count: int | None
    moving: bool
    fps: float = 10.0


def open_source(source: str | Path, limit: int | None = None) -> Source:
    """An image, a folder of images (read in the order of their names), a video file, or a webcam's number.

    A picture that cannot be read comes as its UserError in the picture's place, so that the others are not lost.
    """
    path = Path(source)
    if path.is_dir():
        paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)[:limit]
        if not paths:
            raise UserError(f"{path} holds no .png or .jpg images: point to a folder of images.")
        return Source(read_images(paths), len(paths), moving=False)
    if str(source).isdigit() and not path.exists():
        return open_video(int(source), f"webcam {source}", "check that it is plugged in and its number right", limit)
    if not path.is_file():
        raise UserError(f"{source} does not exist: give an image, a folder, a video or a webcam's number.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Source(read_images([path]), 1, moving=False)
    return open_video(str(path), str(path), "check the file, or convert it to .mp4 or .webm", limit)


def read_images(paths: list[Path]) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"] | UserError]]:
    for path in paths:
        try:
            yield path.stem, read_image(path)
        except UserError as error:
            yield path.stem, error


def open_video(source: str | int, name: str, way_out: str, limit: int | None) -> Source:
    with quiet_opencv():
        capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        raise UserError(f"{name} cannot be opened as a video: {way_out}.")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) or None
    count = min(count, limit) if count and limit else count or limit
    return Source(read_video(capture, limit), count, moving=True, fps=capture.get(cv2.CAP_PROP_FPS) or 10.0)


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from saying, by its log or straight to the terminal, what we say in a sentence of our own."""
    level, terminal = cv2.utils.logging.getLogLevel(), os.dup(2)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        cv2.utils.logging.setLogLevel(level)


def read_video(capture: cv2.VideoCapture, limit: int | None) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"]]]:
    try:
        number = 0
        while limit is None or number < limit:
            read, frame = capture.read()
            if not read:
                return
            yield f"{number:06d}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            number += 1
    finally:
        capture.release()


def batches(frames: Iterator, size: int) -> Iterator[list[tuple[str, np.ndarray | UserError]]]:
    """Successive frames of one picture size, at most `size` of them; a UserError comes alone."""
    batch = []
    for name, image in frames:
        broken = isinstance(image, UserError)
        if batch and (broken or len(batch) == size or batch[0][1].shape != image.shape):
            yield batch
            batch = []
        if broken:
            yield [(name, image)]
        else:
            batch.append((name, image))
    if batch:
        yield batch


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_depth_png(path: str | Path, depth: Float[np.ndarray, "h w"], units: float) -> None:
    """16-bit PNG of depth x units; beyond 65535 it is clipped, and no depth rounds to 0, which means unknown."""
    write_picture(path, np.clip(np.round(depth * units), 1, 65535).astype(np.uint16))


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """An RGB or single-channel picture; what cannot be written is a UserError."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), picture):
        raise UserError(f"{path} could not be written: check that its folder exists and the disk is not full.")


def write_point_cloud(
    path: str | Path, depth: Float[np.ndarray, "h w"], image: UInt8[np.ndarray, "h w 3"], K: Float[np.ndarray, "3 3"], far: float | None = None
) -> None:
    """Binary .ply of coloured points in the camera's frame (x right, y down, z forward); points beyond `far` are left out."""
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    keep = depth < (far or np.inf)
    rays = np.stack([x, y, np.ones_like(x)], -1)[keep] @ np.linalg.inv(K).T
    points = np.empty(keep.sum(), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points["xyz"], points["rgb"] = rays * depth[keep][:, None], image[keep]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    Path(path).write_bytes(("\n".join([*header, "end_header"]) + "\n").encode() + points.tobytes())


def guess_intrinsics(size: tuple[int, int], field_of_view: float = 60.0) -> Float[np.ndarray, "3 3"]:
    """K of a camera with this horizontal field of view in degrees, its axis through the centre of an image of size (h, w)."""
    h, w = size
    focal = w / 2 / np.tan(np.deg2rad(field_of_view) / 2)
    return np.array([[focal, 0, (w - 1) / 2], [0, focal, (h - 1) / 2], [0, 0, 1]])


class VideoFile:
    """A VP9 .webm, which all current browsers play and OpenCV's wheels can write (they have no H.264 encoder)."""

    def __init__(self, path: str | Path, fps: float):
        self.path, self.fps, self.writer = Path(path), fps, None

    def write(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append an RGB picture; odd sides lose a line, as the codec needs even ones."""
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        if self.writer is None:
            with quiet_opencv():  # it complains of the tag, and takes the right codec all the same
                self.writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*"VP90"), self.fps, picture.shape[1::-1])
            if not self.writer.isOpened():
                raise UserError(
                    f"{self.path} cannot be written: check that its folder exists, and that OpenCV is PyPI's opencv-python, which has the VP9 encoder."
                )
        self.writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.release()
