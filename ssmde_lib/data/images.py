"""Reading pictures: a missing or broken file is one clear sentence."""

from pathlib import Path

import numpy as np

from ssmde_lib import opencv as cv2
from ssmde_lib.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


def read_image(path: str | Path, flags: int | None = None) -> np.ndarray:
    """Read an image (RGB unless `flags` say otherwise); a missing or broken file is a UserError that names it."""
    path = Path(path)
    data = path.read_bytes() if path.is_file() else b""
    # OpenCV decodes the rest of a cut JPEG as grey without a word.
    whole = data and not (data.startswith(b"\xff\xd8") and ends_early(data))
    image = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB if flags is None else flags) if whole else None
    )
    if image is None:
        raise UserError(f"{path} is missing, truncated or no image: remove it or write it again.")
    return image


def ends_early(jpeg: bytes) -> bool:
    """Whether the end marker is missing after the picture's scan.

    The segments before it may hold a thumbnail with its own.
    """
    position = 2
    while jpeg[position : position + 1] == b"\xff" and jpeg[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    return jpeg.find(b"\xff\xd9", position) < 0
