"""The one exception for bad input, and the failures of a machine, full disks and spent memory, told as such."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

# A full disk, a spent quota, a size limit: the system's numbers and words, Rust's way to put them, and what PyTorch
# says instead.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID_OF_IT = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|os error (28|122|27)\b"
    r"|PytorchStreamWriter|unexpected pos"
)


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


@contextmanager
def translate_errors(place: Path | str, smaller: str, again: str) -> Iterator[None]:
    """Spent memory, a full disk and a lost loader worker as one clear sentence each.

    `place` is where the work writes, `smaller` what to lower so that it needs less memory, `again` how to go on.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # PyTorch, safetensors and the system each have their own
        said = str(error)
        if "DataLoader worker (pid" in said:
            reason = (
                "a loader worker was lost (killed for want of memory, or of shared memory): "
                f"lower workers or batch_size, or {again}."
            )
        elif (
            "out of memory" in said
        ):  # CUDA's and MPS's allocators, and CUDA itself where not even the networks find room
            reason = f"out of device memory: lower {smaller}; where another job took it, {again}."
        elif isinstance(error, MemoryError) or "can't allocate memory" in said:
            reason = f"out of memory: lower {smaller}; where another job took it, {again}."
        elif disk_is_full(error):
            reason = f"no space left for {place}: free some and {again}."
        else:
            raise
        raise UserError(reason) from None
