"""The camera of each picture of a source, for point clouds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssmde_lib.data.images import is_still, list_frames, tell_once
from ssmde_lib.data.intrinsics import (
    centred,
    check_fov,
    exif_focal,
    fit_intrinsics,
    guess_intrinsics,
    read_intrinsics,
)
from ssmde_lib.inference.sources import open_source

Camera = Callable[[str, tuple[int, int]], np.ndarray | None]  # name and (height, width) of a picture to its K


def find_camera(source: str | Path, fov: float | None) -> Camera:
    """The cam.txt beside the pictures or the video, else the field of view in degrees, EXIF, or a guess.

    A cam.txt belongs to the size of the first frame; pictures of the same camera at another size or turned by 90
    degrees get their K from it, pictures of another shape none.
    """
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if path.exists() and (folder / "cam.txt").is_file():
        return calibrated_camera(folder / "cam.txt", first_size(path, folder))
    if fov is not None:
        check_fov(fov, (3, 4))
    pictures = list_frames(path) if path.is_dir() else [path] if path.is_file() and is_still(path) else []
    by_name = {picture.stem: picture for picture in pictures}

    def camera(name: str, size: tuple[int, int]) -> np.ndarray:
        focal = exif_focal(by_name[name], size) if fov is None and name in by_name else 0
        return centred(focal, size) if focal else guess_intrinsics(size, fov)

    return camera


def first_size(path: Path, folder: Path) -> tuple[int, int]:
    """(height, width) of the first frame that can be read: of the folder, or of the video."""
    frames = open_source(folder if path.is_dir() or is_still(path) else path).frames
    return next(image.shape[:2] for _, image in frames if isinstance(image, np.ndarray))


def calibrated_camera(cam: Path, calibrated: tuple[int, int]) -> Camera:
    """The camera of a cam.txt that was measured at the size `calibrated` (h, w)."""
    K = read_intrinsics(cam, calibrated)

    def camera(name: str, size: tuple[int, int]) -> np.ndarray | None:
        fitted = fit_intrinsics(K, calibrated, size)
        if fitted is None:
            tell_once(f"{name} has {size[1]}x{size[0]} pixels, another shape than {cam} is for: no point cloud of it.")
        return fitted

    return camera
