"""Any folder of pictures or video file: intrinsics from a field of view, EXIF or a K file; every stride-th frame."""

from dataclasses import dataclass, field
from math import hypot, radians, tan
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import read_image
from ssmde_lib.data.prepare import Sequence, list_images, read_table, split_by_rule
from ssmde_lib.errors import UserError

DIAGONAL_35MM = hypot(36, 24)  # millimetres, of the film that EXIF's equivalent focal length refers to


@dataclass
class Pictures(Sequence):
    """A folder of pictures in the order of their names."""

    SOURCE: ClassVar[str] = "own pictures"
    LICENCE: ClassVar[str] = "the user's own"
    FPS: ClassVar[float] = 30.0

    folder: Path = field(kw_only=True)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        return read_image(self.folder / self.frames[i])


@dataclass
class Video(Sequence):
    """A video file; frames are named by their number and read forwards where they can be: use one process."""

    SOURCE: ClassVar[str] = "own video"
    LICENCE: ClassVar[str] = "the user's own"

    path: Path = field(kw_only=True)
    position: int = field(kw_only=True, default=0)

    def __post_init__(self):
        self.capture = cv2.VideoCapture(str(self.path))

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
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
    """The clips of a folder of pictures or a video file; intrinsics as `find_intrinsics`.

    Raises UserError on what cannot be read.
    """
    source = Path(source)
    if stride < 1:
        raise UserError(f"--stride is {stride}: give 1 or more.")
    if source.is_dir():
        frames = [path.name for path in list_images(source)][::stride]
        if not frames:
            raise UserError(
                f"{source} holds no .png, .jpg or .ppm pictures: point to a folder of pictures or a video file."
            )

        def make(name, frames):
            return Pictures(source.name, name, frames, np.eye(3), folder=source)
    elif source.is_file():
        capture = cv2.VideoCapture(str(source))
        frames = [str(number) for number in range(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), stride)]
        if not frames:
            raise UserError(f"{source} is not a video that OpenCV can read: convert it to H.264 .mp4 first.")

        def make(name, frames):
            return Video(source.stem, name, frames, np.eye(3), path=source)
    else:
        raise UserError(f"{source} does not exist: point to a folder of pictures or a video file.")
    sequences = [make(*part) for part in split_by_rule(frames, split)]
    size = sequences[0].image(0).shape[:2]
    K = find_intrinsics(size, fov, k_file, source / frames[0] if source.is_dir() else None)
    for sequence in sequences:
        sequence.K = K
    return sequences


def find_intrinsics(
    size: tuple[int, int], fov: float | None = None, k_file: str | Path | None = None, picture: Path | None = None
) -> Float[np.ndarray, "3 3"]:
    """K of images of (height, width), from a 3x3 text file, a horizontal field of view in degrees, or EXIF.

    The principal point of the last two is the middle of the picture, pixel centres at integers.
    """
    height, width = size
    if k_file is not None:
        K = read_table(k_file, 3)
        if K.shape != (3, 3) or not (0.2 < K[0, 2] / width < 0.8 and 0.2 < K[1, 2] / height < 0.8):
            raise UserError(
                f"{k_file} does not fit pictures of {width}x{height}: "
                "give the 3x3 K for the original size of the pictures."
            )
        return K
    if fov is not None:
        if not 1 < fov < 170:
            raise UserError(
                f"--fov is {fov}: give the horizontal field of view in degrees, "
                "between 1 and 170 (a phone has about 65)."
            )
        focal = width / 2 / tan(radians(fov) / 2)
    else:
        focal = exif_focal(picture) * hypot(height, width) / DIAGONAL_35MM if picture else 0
        if not focal:
            raise UserError(
                "intrinsics are unknown: give --fov (a phone has about 65 degrees) or --k-file; "
                "no EXIF focal length was found."
            )
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def exif_focal(picture: Path) -> float:
    """The 35 mm equivalent focal length in millimetres, 0 where EXIF does not say."""
    with Image.open(picture) as image:
        return float(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm, 0))


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


def corner_points(picture: UInt8[np.ndarray, "h w 3"], corners: tuple[int, int]) -> Float[np.ndarray, "n 1 2"] | None:
    """Inner corners of the board to a fraction of a pixel; None where it is not seen whole."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    seen, points = cv2.findChessboardCorners(grey, corners)
    if not seen:
        return None
    return cv2.cornerSubPix(grey, points, (5, 5), (-1, -1), (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 1e-3))


def fitting_size(size: tuple[int, int], width: int = 640) -> tuple[int, int]:
    """The (height, width) nearest to the shape of the pictures that is divisible by 32."""
    return max(32, round(size[0] * width / size[1] / 32) * 32), width
