"""Files that a prediction leaves: depth and colour pictures, point clouds, video."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.video import quiet_opencv
from ssmde_lib.errors import UserError
from ssmde_lib.files import make_folder, write_json
from ssmde_lib.inference.cameras import Camera
from ssmde_lib.inference.colours import colourise
from ssmde_lib.threads import cores

PREDICTION = "prediction.json"
MAX_POINTS = 1_000_000  # of a point cloud, where no stride is given, and of what medians are taken over
VIDEO_SIDE = 1280  # pixels of a video's longer side: VP9 takes 5 s a frame for two of 4K side by side


def stride_to_few(depth: np.ndarray) -> int:
    """The least stride along rows and columns that leaves MAX_POINTS of a map, or about as many."""
    return ceil(sqrt(depth.size / MAX_POINTS))


def thin(depth: np.ndarray) -> np.ndarray:
    """The map at that stride."""
    stride = stride_to_few(depth)
    return depth[::stride, ::stride]


class ScaleSmoother:
    """Takes frame-to-frame flicker of scale out of a video and lets slow changes pass.

    The median log ratio of successive depth maps is a random walk of flicker plus true change; the correction is that
    walk minus its exponential average, with a memory of about `memory` frames. A jump beyond `cut` is a new scene and
    starts anew.
    """

    def __init__(self, memory: float = 10.0, cut: float = 1.5):
        self.keep, self.cut = 1 - 1 / memory, np.log(cut)
        self.last, self.correction = None, 0.0

    def __call__(self, depth: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        """The depth map in the scale of the frames before it."""
        if self.last is not None and self.last.shape == depth.shape:
            change = float(np.median(np.log(thin(depth) / thin(self.last))))
            self.correction = self.keep * (self.correction - change) if abs(change) < self.cut else 0.0
        self.last = depth
        return depth * np.float32(np.exp(self.correction))


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
    path: str | Path,
    depth: Float[np.ndarray, "h w"],
    image: UInt8[np.ndarray, "h w 3"],
    K: Float[np.ndarray, "3 3"],
    far: float | None = None,
    stride: int | None = None,
) -> None:
    """Binary .ply of coloured points in the camera's frame (x right, y down, z forward).

    Points beyond `far` are left out; of a row and a column only every `stride`-th pixel is written, by default of as
    few as make a million points: a frame of 4K then has 14 MB.
    """
    stride = stride or stride_to_few(depth)
    y, x = np.mgrid[: depth.shape[0] : stride, : depth.shape[1] : stride]
    depth, image = depth[::stride, ::stride], image[::stride, ::stride]
    keep = depth < (far or np.inf)
    rays = np.stack([x[keep], y[keep], np.ones(keep.sum())], -1) @ np.linalg.inv(K).T
    points = np.empty(keep.sum(), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    points["xyz"], points["rgb"] = rays * depth[keep][:, None], image[keep]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {axis}" for axis in "xyz"] + [f"property uchar {c}" for c in ("red", "green", "blue")]
    Path(path).write_bytes(("\n".join([*header, "end_header"]) + "\n").encode() + points.tobytes())


def side_by_side(image: UInt8[np.ndarray, "h w 3"], colours: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Both in one picture, wide ones above each other, shrunk to VIDEO_SIDE."""
    height, width = image.shape[:2]
    shrink = VIDEO_SIDE / max((2 * height, width) if width > 2 * height else (height, 2 * width))
    pictures = [image, colours]
    if shrink < 1:
        size = round(shrink * width), round(shrink * height)
        pictures = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.concatenate(pictures, 0 if width > 2 * height else 1)


class VideoFile:
    """A VP9 .webm, which all current browsers play and OpenCV's wheels can write (they have no H.264 encoder)."""

    def __init__(self, path: str | Path, fps: float):
        self.path, self.fps, self.writer = Path(path), fps, None

    def write(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append an RGB picture; odd sides lose a line, as the codec needs even ones."""
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        if self.writer is None:
            with quiet_opencv():  # it complains of the tag, and takes the right codec all the same
                self.writer = cv2.VideoWriter(
                    str(self.path), cv2.VideoWriter_fourcc(*"VP90"), self.fps, picture.shape[1::-1]
                )
            if not self.writer.isOpened():
                raise UserError(
                    f"{self.path} cannot be written: check that its folder exists, "
                    "and that OpenCV is PyPI's opencv-python, which has the VP9 encoder."
                )
        self.writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.release()


class PredictionWriter:
    """Predicts batches and writes their files; of a moving source the scale and the colours are kept steady."""

    def __init__(
        self, out: Path, pictures, max_depth: float, network: str, camera: Camera | None, ply_stride: int | None = None
    ):
        self.out, self.camera, self.max_depth, self.written = out, camera, max_depth, 0
        self.network, self.ply_stride, self.origin = network, ply_stride, pictures.origin
        self.units = int(65535 / max_depth)  # one unit for all frames, the finest that holds the network's range
        self.steady = ScaleSmoother() if pictures.moving else None
        self.video = VideoFile(out / "side_by_side.webm", pictures.fps) if pictures.moving else None
        self.near = self.far = None
        for folder in ("depth", "colour", *(["cloud"] if camera else [])):
            make_folder(out / folder)
        self.describe()

    def write(self, images: list, predictor) -> None:
        """Predict a batch of (name, image) and write it."""
        for (name, image), depth in zip(images, predictor(np.stack([image for _, image in images])), strict=True):
            self.write_frame(name, image, self.steady(depth) if self.steady else depth)
            self.written += 1

    def write_frame(self, name: str, image, depth) -> None:
        """Write one frame's pictures, video frame and point cloud."""
        near, far = np.percentile(thin(depth), [2, 98])
        if self.video and self.near is not None and self.far is not None:  # colours follow the scene slowly
            near, far = 0.98 * self.near + 0.02 * near, 0.98 * self.far + 0.02 * far
        self.near, self.far = near, far
        colours = colourise(depth, near, far)
        tasks = [
            partial(write_depth_png, self.out / "depth" / f"{name}.png", depth, self.units),
            partial(write_picture, self.out / "colour" / f"{name}.png", colours),
        ]
        if self.video:
            tasks.append(partial(self.video.write, side_by_side(image, colours)))
        K = self.camera(name, depth.shape) if self.camera else None
        if K is not None:
            cloud, far = self.out / "cloud" / f"{name}.ply", 0.99 * self.max_depth
            tasks.append(partial(write_point_cloud, cloud, depth, image, K, far, self.ply_stride))
        with ThreadPoolExecutor(cores()) as pool:  # OpenCV and NumPy compute side by side
            for done in [pool.submit(task) for task in tasks]:
                done.result()

    def close(self) -> None:
        """Finish the video and the description."""
        if self.video:
            self.video.close()
        self.describe()

    def describe(self) -> None:
        """Write what the folder holds, at the beginning too: it tells a prediction's depth from other depth."""
        facts = {
            "source": self.origin, "network": self.network, "depth_png_units": self.units, "scale": "up to scale",
            "frames": self.written,
        }  # fmt: skip
        write_json(self.out / PREDICTION, facts)


def check_output(out: Path, origin: str) -> None:
    """Raise UserError where a prediction would write over depth of another source, or over a clip's true depth."""
    depth = out / "depth"
    if not (depth.is_dir() and any(depth.iterdir())):
        return
    try:
        before = dict(json.loads((out / PREDICTION).read_text())).get("source", origin)
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{depth} holds depth that is no prediction (the truth of a clip?): choose another folder."
        ) from None
    if before != origin:
        raise UserError(f"{out} holds the prediction of {before}: choose another folder, or remove it.")
