"""Any folder of pictures or video file: intrinsics from a field of view, EXIF or a K file; every stride-th frame."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import is_still, list_frames, read_image, same_size
from ssmde_lib.data.intrinsics import find_intrinsics
from ssmde_lib.data.layout import SPLITS, Clip
from ssmde_lib.data.prepare import Sequence
from ssmde_lib.errors import UserError

MAX_FPS = 240.0  # a header that says more gives the container's clock, not the camera's


@dataclass
class Pictures(Sequence):
    """A folder of pictures in the order of their names."""

    SOURCE: ClassVar[str] = "own pictures"
    LICENCE: ClassVar[str] = "the user's own"
    FPS: ClassVar[float] = 30.0

    folder: Path = field(kw_only=True)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        path = self.folder / self.frames[i]
        return same_size(read_image(path), self.size, path)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the first picture, which all must have."""
        return read_image(self.folder / self.frames[0]).shape[:2]


@dataclass
class Video(Sequence):
    """A video file; frames are named by their number and read forwards where they can be: use one process."""

    SOURCE: ClassVar[str] = "own video"
    LICENCE: ClassVar[str] = "the user's own"

    path: Path = field(kw_only=True)
    fps: float = field(kw_only=True, default=30.0)
    position: int = field(kw_only=True, default=0)

    def __post_init__(self):
        self.capture = cv2.VideoCapture(str(self.path))
        self.FPS = self.fps  # pyright: ignore[reportAttributeAccessIssue] the file's rate, not its class's

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        number = int(self.frames[i])
        if number < self.position:
            self.capture, self.position = cv2.VideoCapture(str(self.path)), 0
        while self.position < number and self.capture.grab():
            self.position += 1
        read, image = self.capture.read()
        self.position += 1
        if not read:
            raise UserError(f"{self.path} breaks off at frame {number}: convert the video again.")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def open_recording(
    source: str | Path,
    fov: float | None = None,
    k_file: str | Path | None = None,
    stride: int = 1,
    split: str | None = None,
) -> list[Sequence]:
    """The clips of a folder of pictures or a video file; intrinsics as `find_intrinsics`, or of a cam.txt beside them.

    Raises:
        UserError: the source cannot be read.
    """
    source = Path(source)
    if stride < 1:
        raise UserError(f"--stride is {stride}: give 1 or more.")
    if source.is_dir():
        frames = [path.name for path in list_frames(source)][::stride]
        if not frames:
            raise UserError(
                f"{source} holds no pictures (.png, .jpg, …): point to a folder of pictures or a video file."
            )
        make = partial(Pictures, source.name, folder=source, origin=str(source.resolve()))
    elif source.is_file():
        if is_still(source):
            raise UserError(f"{source} is one picture: depth from video needs a folder of pictures or a video file.")
        count, fps = video_facts(source)
        frames = [str(number) for number in range(0, count, stride)]
        make = partial(Video, source.stem, path=source, fps=fps, origin=str(source.resolve()))
    else:
        raise UserError(f"{source} does not exist: point to a folder of pictures or a video file.")
    sequences: list[Sequence] = [make(*part, np.eye(3)) for part in split_blocks(frames, split)]
    size = sequences[0].image(0).shape[:2]
    beside = (source if source.is_dir() else source.parent) / "cam.txt"
    if fov is None and k_file is None and beside.is_file():
        k_file = beside
    K = find_intrinsics(size, fov, k_file, source / frames[0] if source.is_dir() else None)
    for sequence in sequences:
        sequence.K = K
    return sequences


def video_facts(path: Path) -> tuple[int, float]:
    """Frames and frames a second of a video; counted where its header does not say, or the last frame is not there.

    Recordings of a browser have no header that says, and a film may break off before its end.

    Raises:
        UserError: it is no video that OpenCV reads.
    """
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path))
        count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        stated = count > 0 and 0 < fps <= MAX_FPS
        if not (stated and capture.set(cv2.CAP_PROP_POS_FRAMES, count - 1) and capture.grab()):
            capture, times = cv2.VideoCapture(str(path)), []
            while capture.grab():
                times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
            count, span = len(times), times[-1] - times[0] if times else 0
            if not stated:
                fps = 1000 * (count - 1) / span if span > 0 else 10.0
    if not count:
        raise UserError(f"{path} is not a video that OpenCV can read: convert it to H.264 .mp4 first.")
    return count, fps


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


def require_motion(summary: dict, source: str | Path) -> None:
    """Raise UserError where what `prepare` kept of a recording is too little for triplets, with the likely cause."""
    (clip, *_) = summary["clips"]
    if clip["kept"] < 3 and not clip["rejected"]:
        raise UserError(
            f"{clip['kept']} frames of {source} are left by --stride and --limit, and 3 in a row are needed: "
            "lower --stride, raise --limit, or film longer."
        )
    if clip["kept"] < 3:
        raise UserError(
            f"{source} has fewer than 3 frames with motion (the camera stands still?): depth is learned from its "
            "motion; film while walking, or keep all frames by --min-motion 0 of data_scripts/prepare_video.py."
        )


def require_apart(sequences: list[Sequence], out: str | Path) -> None:
    """Raise UserError where `out` holds another recording of this name, or frames of this one in another split."""
    splits = {sequence.split for sequence in sequences}
    for sequence, split in product(sequences, SPLITS):
        folder = Path(out) / split / sequence.name
        about = Clip(folder).about if (folder / "clip.json").is_file() else {}
        origin = about.get("origin", sequence.origin)
        if origin != sequence.origin and Path(origin).exists():
            raise UserError(f"{folder} holds the recording {origin}: rename this one, or choose another --out.")
        same = about.get("source") == f"{sequence.SOURCE} {sequence.name}" and split not in splits
        if same and set(about.get("source_frames", [])) & set(sequence.frames):
            raise UserError(
                f"{folder} holds frames of this recording: leave --split out (it is divided by rule), "
                "choose another --out, or remove that folder."
            )


def split_blocks(frames: list, split: str | None) -> list[tuple[str, list]]:
    """(split, frames) of a recording: all in the named split, else three blocks of time.

    The last two tenths are `val` and `test`. The frame before each of these two is dropped, so that no neighbours are
    in two splits. A recording too short for triplets in each block is all `train`.
    """
    block = max(3, len(frames) // 10)
    if split or len(frames) < 5 * block:
        return [(split or "train", frames)]
    return [
        ("train", frames[: -2 * block - 2]),
        ("val", frames[-2 * block - 1 : -block - 1]),
        ("test", frames[-block:]),
    ]


def calibrate(
    pictures: list[UInt8[np.ndarray, "h w 3"]], corners: tuple[int, int]
) -> tuple[Float[np.ndarray, "3 3"], float]:
    """K and the reprojection error in pixels, from images of a flat checkerboard (Zhang 2000).

    The board has (columns, rows) inner corners.

    Lens distortion is fitted with it, so that K is right near the middle. Raises UserError with fewer than 5 usable
    pictures.
    """
    found = [corner_points(picture, corners) for picture in pictures]
    found = [points for points in found if points is not None]
    if len(found) < 5:
        raise UserError(
            f"a board of {corners[0]}x{corners[1]} inner corners is seen in {len(found)} of {len(pictures)} pictures: "
            "count inner corners, show the whole board, and take at least 5 tilted views."
        )
    board = np.zeros((corners[0] * corners[1], 3), np.float32)
    board[:, :2] = np.mgrid[: corners[0], : corners[1]].T.reshape(-1, 2)
    size = pictures[0].shape[1::-1]
    error, K, *_ = cv2.calibrateCamera([board] * len(found), found, size, None, None, flags=cv2.CALIB_FIX_K3)
    return K, float(error)


def corner_points(picture: UInt8[np.ndarray, "h w 3"], corners: tuple[int, int]) -> Float[np.ndarray, "n *_ 2"] | None:
    """Inner corners of the board to a fraction of a pixel; None where it is not seen whole."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    seen, points = cv2.findChessboardCorners(grey, corners)
    if not seen:
        return None
    return cv2.cornerSubPix(grey, points, (5, 5), (-1, -1), (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 1e-3))


def fitting_size(size: tuple[int, int], width: int = 640) -> tuple[int, int]:
    """The (height, width) nearest to the shape of the pictures that is divisible by 32."""
    return max(32, round(size[0] * width / size[1] / 32) * 32), width
