"""The camera of one's own pictures: K read, guessed or taken from EXIF, and the one check of it.

K is 3x3, in pixels of one picture size, pixel centres at integers; sizes are (height, width).
"""

import re
from math import degrees, hypot, pi, radians, tan
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import ExifTags, Image

from ssmde_lib.data.images import tell_once
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics

DIAGONAL_35MM = hypot(36, 24)  # millimetres, of the film that EXIF's equivalent focal length refers to
LONG_SIDE_FOV = 60.0  # degrees along the long side of a picture whose camera is not known
MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0}  # of EXIF's units of the focal plane's resolution
NEAREST_SHAPE = (
    1.15  # greatest factor between two aspect ratios that count as one shape, sides rounded to multiples of 32
)

K33 = Float[np.ndarray, "3 3"]


def find_intrinsics(
    size: tuple[int, int], fov: float | None = None, k_file: str | Path | None = None, picture: Path | None = None
) -> K33:
    """K of pictures of (height, width), from a 3x3 text file, a horizontal field of view in degrees, or EXIF.

    The principal point of the last two is the middle of the picture.
    """
    if k_file is not None:
        return read_intrinsics(k_file, size)
    if fov is not None:
        check_fov(fov, size)
        return guess_intrinsics(size, fov)
    focal = exif_focal(picture, size) if picture else 0
    if not focal:
        raise UserError(
            f"intrinsics are unknown: give --fov ({fov_hint(size)}) or --k-file; no EXIF focal length was found."
        )
    return centred(focal, size)


def check_fov(fov: float, size: tuple[int, int]) -> None:
    """Raise UserError where a field of view is none in degrees."""
    if 1 < fov <= pi:
        raise UserError(f"--fov is {fov}, as a field of view in radians: give degrees, {degrees(fov):.1f}.")
    if not 1 < fov < 170:
        raise UserError(
            f"--fov is {fov}: give the horizontal field of view in degrees, between 1 and 170 ({fov_hint(size)})."
        )


def fov_hint(size: tuple[int, int]) -> str:
    """The usual horizontal field of view of a phone, by the shape of its pictures."""
    if size[0] > size[1]:
        return "a phone held upright has about 40 degrees"
    return "a phone held sideways has about 65 degrees"


def guess_intrinsics(size: tuple[int, int], field_of_view: float | None = None) -> K33:
    """K of a camera whose axis meets the centre, with this horizontal field of view in degrees.

    Without one it is 60 degrees along the long side.
    """
    if field_of_view is None:
        return centred(max(size) / 2 / tan(radians(LONG_SIDE_FOV) / 2), size)
    return centred(size[1] / 2 / tan(radians(field_of_view) / 2), size)


def centred(focal: float, size: tuple[int, int]) -> K33:
    """K of a focal length in pixels, its axis through the centre of the image."""
    height, width = size
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def exif_focal(picture: Path, size: tuple[int, int]) -> float:
    """The focal length in pixels of a picture of this size by its EXIF, 0 where that does not say.

    By the 35 mm equivalent, which refers to the diagonal, else by the lens and the resolution of the focal plane.
    """
    try:
        with Image.open(picture) as image:
            long_side, exif = max(image.size), image.getexif().get_ifd(ExifTags.IFD.Exif)
        tag = ExifTags.Base
        if exif.get(tag.FocalLengthIn35mmFilm):
            return float(exif[tag.FocalLengthIn35mmFilm]) * hypot(*size) / DIAGONAL_35MM
        a_millimetre = float(exif[tag.FocalPlaneXResolution]) / MILLIMETRES[exif.get(tag.FocalPlaneResolutionUnit, 2)]
        original = max(exif.get(tag.ExifImageWidth, 0), exif.get(tag.ExifImageHeight, 0)) or long_side
        return float(exif[tag.FocalLength]) * a_millimetre * max(size) / original
    except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError, SyntaxError):
        return 0.0


def read_intrinsics(path: str | Path, size: tuple[int, int]) -> K33:
    """K of a text file with 9 numbers, for pictures of this size; an unusual one is told on the terminal.

    Raises:
        UserError: K cannot be that of these pictures; with the likely cause.
    """
    K = nine_numbers(Path(path))
    fault = check_intrinsics(K, size)
    if fault:
        raise UserError(f"{path}: {fault}")
    unusual = check_plausible(K, size)
    if unusual:
        tell_once(f"warning: {path}: {unusual}")
    return K


def nine_numbers(path: Path) -> K33:
    """The matrix of a text file, by whatever program it was written: commas, brackets, line ends and marks of Windows.

    Raises:
        UserError: it holds other than 9 numbers; with the matrix, where these are a camera in another form.
    """
    try:
        data = path.read_bytes()
        text_of_file = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
        numbers = np.array(re.sub(r"#.*|[\[\],;]", " ", text_of_file).split(), float)
    except (OSError, ValueError):
        numbers = np.empty(0)
    fault = f"{path} must hold the 3x3 intrinsics as 9 numbers: write "
    match len(numbers):
        case 9:
            return numbers.reshape(3, 3)
        case 4:  # fx fy cx cy
            fx, fy, cx, cy = numbers
            raise UserError(f"{fault}{text(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))} for fx fy cx cy.")
        case 12 | 16:
            projection = numbers.reshape(-1, 4)[:3, :3]
            raise UserError(f"{fault}the left part of the projection, {text(projection)}, without its last column.")
    raise UserError(f"{fault}it for this image size.")


def check_intrinsics(K: K33, size: tuple[int, int]) -> str:
    """Why K cannot belong to pictures of this size, with the repaired matrix, in one sentence; "" where it can."""
    height, width = size
    if not np.isfinite(K).all():
        return "the intrinsics are not finite numbers: measure K again or give a field of view."
    if np.abs(K[:2, 2]).max() == 0 and np.abs(K[2, :2]).max() > 0:
        return f"the intrinsics are transposed: write {text(K.T)}."
    if not np.allclose(K[2], (0, 0, 1)) or K[1, 0] != 0:
        return "the intrinsics are not [fx s cx; 0 fy cy; 0 0 1]: write K alone, without pose or projection."
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        repaired = K * np.where(np.eye(3) * K < 0, -1, 1)
        return f"the intrinsics have a negative focal length (OpenGL's axes?) or none: write {text(repaired)}."
    if K[0, 0] < 10 and abs(K[0, 2]) <= 2 and abs(K[1, 2]) <= 2:
        repaired = np.diag([width, height, 1]) @ K
        return f"the intrinsics are normalised by the picture's size: write {text(repaired)}."
    if abs(K[0, 1]) > 0.02 * K[0, 0]:
        repaired = K * [[1, 0, 1], [1, 1, 1], [1, 1, 1]]
        return f"the intrinsics are skewed by {K[0, 1]:g}, which is not modelled: write {text(repaired)}."
    return check_centre(K, size) or check_focal(K, size)


def check_centre(K: K33, size: tuple[int, int], tolerance: float = 0.3) -> str:
    """A principal point far from the middle: K of another size, or of the picture turned by 90 degrees."""
    (height, width), (cx, cy) = size, K[:2, 2]
    if is_central(K, size, tolerance):
        return ""
    if is_central(K, (width, height), 0.1) and abs(np.log(width / height)) > 0.2:
        turned = K[[1, 0, 2]][:, [1, 0, 2]]
        return f"the intrinsics are those of pictures of {height}x{width}, turned by 90 degrees: write {text(turned)}."
    other = round(2 * cy + 1), round(2 * cx + 1)
    if min(other) < 1:
        return f"the intrinsics have their principal point ({cx:g}, {cy:g}) outside of the picture: measure K again."
    if (cx, cy) == (0, 0):
        return f"the intrinsics have no principal point: write {text(centred(K[0, 0], size))}."
    repaired = resize_intrinsics(K, other, size)
    return (
        f"the intrinsics belong to another size: the principal point ({cx:.0f}, {cy:.0f}) is that of about "
        f"{other[1]}x{other[0]} pixels, the pictures have {width}x{height}; write {text(repaired)}."
    )


def is_central(K: K33, size: tuple[int, int], tolerance: float) -> bool:
    """Whether the principal point is within this share of the picture's sides from its middle."""
    return all(abs(c / max(side - 1, 1) - 0.5) <= tolerance for c, side in zip(K[:2, 2], size[::-1], strict=True))


def check_focal(K: K33, size: tuple[int, int]) -> str:
    """Focal lengths that no lens has at this size."""
    (height, width), (fx, fy) = size, np.diag(K)[:2]
    degrees = np.rad2deg(2 * np.arctan(width / 2 / fx))
    if degrees > 140:
        repaired = centred(fx * hypot(height, width) / DIAGONAL_35MM, size)
        return (
            f"the intrinsics are implausible: focal lengths {fx:g} and {fy:g} pixels give a field of view of "
            f"{degrees:.0f} degrees; if they are millimetres of a 35 mm camera, write {text(repaired)}."
        )
    if degrees < 3 or not 1 / 3 < fx / fy < 3:
        return (
            f"the intrinsics are implausible: focal lengths {fx:g} and {fy:g} pixels give a field of view of "
            f"{degrees:.1f} degrees; are they in pixels, and of pictures of this size?"
        )
    return ""


def check_plausible(K: K33, size: tuple[int, int]) -> str:
    """What is unusual about intrinsics that passed `check_intrinsics`."""
    (fx, fy), width = np.diag(K)[:2], size[1]
    degrees = np.rad2deg(2 * np.arctan(width / 2 / fx))
    if not 20 < degrees < 130 or not 0.5 < fx / fy < 2:
        return (
            f"the intrinsics are unusual: focal lengths {fx:.0f} and {fy:.0f} pixels, "
            f"a field of view of {degrees:.0f} degrees."
        )
    return check_centre(K, size, 0.15)


def fit_intrinsics(K: K33, from_size: tuple[int, int], size: tuple[int, int]) -> K33 | None:
    """K of another picture of the same camera, resized or turned by 90 degrees; None where it has another shape."""
    if same_shape(from_size, size):
        return resize_intrinsics(K, from_size, size)
    turned = (from_size[1], from_size[0])
    if same_shape(turned, size):
        return resize_intrinsics(K[[1, 0, 2]][:, [1, 0, 2]], turned, size)
    return None


def same_shape(a: tuple[int, int], b: tuple[int, int], factor: float = NEAREST_SHAPE) -> bool:
    """Whether the aspect ratios of two (height, width) differ by less than the factor."""
    ratio = a[0] * b[1] / (a[1] * b[0])
    return 1 / factor < ratio < factor


def text(K: K33) -> str:
    """K as one line of a cam.txt."""
    return "`" + " ".join(f"{value:.6g}" for value in K.ravel()) + "`"
