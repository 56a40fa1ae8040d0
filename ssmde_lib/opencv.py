"""OpenCV, imported at its first use: `from ssmde_lib import opencv as cv2`.

So a machine without the system libraries that opencv-python needs hears of it in one sentence, wherever it begins.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from ssmde_lib.errors import UserError


def require() -> ModuleType:
    """The module `cv2`; UserError where it cannot be imported."""
    try:
        return import_module("cv2")
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be imported ({error}): install its system libraries (Debian, Ubuntu: "
            "apt install libxcb1 libgl1 libglib2.0-0), "
            "or take the build without windows: make tutorial OPENCV=headless."
        ) from None


def __getattr__(name: str) -> Any:
    return getattr(require(), name)
