"""The one exception for bad input, and how a full disk is told from other errors."""

import errno
import re

import click

# A full disk, a spent quota, a size limit: the system's numbers and words, Rust's way to put them, and what PyTorch says instead.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID_OF_IT = re.compile(r"No space left on device|Disk quota exceeded|File too large|os error (28|122|27)\b|PytorchStreamWriter|unexpected pos")


class UserError(click.ClickException):
    """Bad input: one clear sentence that names the file or parameter and the way out.

    A command line built with click prints it as `Error: …` and exits with code 1.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback."""
        return [f"UserError: {self.message}"]


def disk_is_full(error: Exception | str) -> bool:
    """Whether an error, or its message, says that something could not be written for want of space."""
    return getattr(error, "errno", None) in DISK_FULL or bool(SAID_OF_IT.search(str(error)))
