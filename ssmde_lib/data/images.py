"""Reading pictures, and the one rule which files of a folder are frames, in which order."""

import re
from functools import cache
from pathlib import Path

import click
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from ssmde_lib import opencv as cv2
from ssmde_lib.errors import UserError
from ssmde_lib.files import placeholder

# Of one frame in several formats the first of these is read.
STILL_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib",
    ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".avif", ".gif", ".apng", ".tga",
    ".qoi", ".pcx", ".sgi", ".ras", ".psd", ".dds", ".ico", ".hdr",
)  # fmt: skip
HEIC = (".heic", ".heif")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
NOT_FRAMES = {"depth", "disp", "disparity", "mask", "masks", "seg", "segmentation", "thumb", "thumbs", "thumbnail"}
FULL_RANGE = 2**13  # a 16-bit photograph spans more than an eighth of its range; a thermal or 12-bit picture less


def list_frames(folder: str | Path) -> list[Path]:
    """The frames of a folder in the natural order of their names: frame2 before frame10.

    Hidden files, depth maps, masks and thumbnails (by a word of their names, where other pictures lie beside them) are
    no frames, and a frame in two formats is one. What was left out is said once on the terminal.
    """
    folder = Path(folder)
    files = [path for path in folder.glob("*") if path.is_file()]
    pictures = [path for path in files if path.suffix.lower() in STILL_SUFFIXES]
    shown = [path for path in pictures if not path.name.startswith((".", "~"))]
    frames = [path for path in shown if not NOT_FRAMES & set(words(path.stem))] or shown
    chosen: dict[str, Path] = {}
    for path in sorted(frames, key=preference):
        chosen.setdefault(path.stem, path)
    camera_files = [path for path in files if path.suffix.lower() in HEIC + RAW and not path.name.startswith(".")]
    left_out = {
        "hidden": [path for path in pictures if path not in shown],
        "depth, masks or thumbnails": [path for path in shown if path not in frames],
        "the same frame in another format": [path for path in frames if path not in chosen.values()],
        "to be converted to .jpg first": camera_files,
    }
    said = [f"{len(paths)} {reason} (such as {min(paths).name})" for reason, paths in left_out.items() if paths]
    if said:
        tell_once(f"{folder}: left out {', '.join(said)}")
    return sorted(chosen.values(), key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[str | int]:
    """Sorts runs of digits by their number, the rest as text without case.

    >>> sorted(["frame10", "frame2", "Frame1"], key=natural_key)
    ['Frame1', 'frame2', 'frame10']
    """
    parts = re.split(r"(\d+)", name.lower())
    return [int(part) if k % 2 else part for k, part in enumerate(parts)] + [name]


def words(stem: str) -> list[str]:
    """The lower-case words of a file name."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem).lower())


def preference(path: Path) -> tuple[bool, int, str]:
    """Which file of a frame is read: a photograph before a 16-bit or grey PNG, which is its depth or its mask."""
    is_map = path.suffix.lower() == ".png" and png_is_map(path)
    return is_map, STILL_SUFFIXES.index(path.suffix.lower()), path.name


def png_is_map(path: Path) -> bool:
    """Whether a PNG's header (bit depth and colour type, PNG specification 11.2.2) says 16 bits or grey."""
    with path.open("rb") as file:
        header = file.read(26)
    return header[12:16] == b"IHDR" and (header[24] == 16 or header[25] in (0, 4))


@cache
def tell_once(sentence: str) -> None:
    """Say a sentence once a process."""
    click.echo(sentence, err=True)


def is_still(path: Path) -> bool:
    """Whether a file is a picture, by its name or its first bytes."""
    return path.suffix.lower() in STILL_SUFFIXES + HEIC + RAW or cv2.haveImageReader(str(path))


def read_image(path: str | Path, flags: int | None = None) -> np.ndarray:
    """Read a picture: RGB, uint8, upright by its EXIF orientation; with OpenCV's `flags` as these say.

    Raises:
        UserError: the file is missing, broken or of a format that is not read, or 16-bit values that are no photograph.
    """
    path = Path(path)
    data = path.read_bytes() if path.is_file() else b""
    if path.suffix.lower() in HEIC + RAW:
        raise UserError(f"{path} is a camera's {path.suffix.lower()} file, which is not read: {converter(path)}.")
    # OpenCV decodes the rest of a cut JPEG as grey without a word.
    whole = data and not (data.startswith(b"\xff\xd8") and ends_early(data))
    wanted = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH if flags is None else flags
    image = decode(path, data, wanted) if whole else None
    if image is None:
        raise UserError(f"{path} {what_it_is(path, data[:64])}.")
    return eight_bits(path, image) if flags is None else image


def what_it_is(path: Path, begin: bytes) -> str:
    """What a file is that is read as no picture, by its first bytes, and what to do."""
    if begin[4:8] == b"ftyp" and begin[8:12] in HEIC_BRANDS:
        heic = path.with_suffix(".heic")
        return f"is a camera's HEIC file by another name: rename it to {heic.name}, and {converter(heic)}"
    return placeholder(begin) or "is missing, truncated or no image: remove it or write it again"


def converter(path: Path) -> str:
    """How to make a JPEG of a camera's own format."""
    if path.suffix.lower() in HEIC:
        return f"convert it by `heif-convert {path.name} {path.stem}.jpg`, or on a Mac by `sips -s format jpeg`"
    return "export it as .jpg with the program that came with the camera, or darktable"


def decode(path: Path, data: bytes, flags: int) -> np.ndarray | None:
    """By OpenCV, or where it does not know the format by Pillow."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # a size beyond OpenCV's limit
        image = None
    if image is not None or flags == cv2.IMREAD_UNCHANGED:
        return image
    try:
        with Image.open(path) as picture:
            if picture.mode in ("F", "I", "I;16"):
                raise UserError(f"{path} holds measurements and is no photograph: convert it to 8 bits knowingly.")
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def eight_bits(path: Path, image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph of 16 bits as one of 8; what is no photograph, depth or temperature, is a UserError."""
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16 or np.ptp(image) < FULL_RANGE:
        raise UserError(
            f"{path} holds {image.dtype} values from {image.min():g} to {image.max():g}, which is no photograph "
            "(depth, or a thermal or raw picture?): remove it, or stretch it to 8 bits."
        )
    return (image >> 8).astype(np.uint8)


def ends_early(jpeg: bytes) -> bool:
    """Whether the end marker is missing after the picture's scan.

    The segments before it may hold a thumbnail with its own.
    """
    position = 2
    while jpeg[position : position + 1] == b"\xff" and jpeg[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return jpeg.find(b"\xff\xd9", position) < 0


def same_size(image: np.ndarray, size: tuple[int, int], path: Path) -> np.ndarray:
    """The picture, where it has (height, width) of the others of its folder; else a UserError: one camera has one K."""
    if image.shape[:2] != tuple(size):
        (height, width), (wanted_height, wanted_width) = image.shape[:2], size
        raise UserError(
            f"{path} has {width}x{height} pixels, the first frame of its folder {wanted_width}x{wanted_height}: "
            "frames of one clip come from one camera at one size; move the others to a folder of their own."
        )
    return image
