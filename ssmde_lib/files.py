"""Files written whole or not at all, and their hashes."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssmde_lib.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"  # the bundled networks


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A draft to write to, which takes the name `path` when the block ends well.

    Thus a reader finds the old file or the whole new one.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # where the disk was full


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as draft:
        draft.write_text(text)


def write_json(path: Path, content: dict) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def placeholder(begin: bytes) -> str:
    """What stands in a file's place, by its first bytes, and what to do; "" where it is no placeholder."""
    if begin.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file: fetch it by `git lfs pull`"
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page, not the file: download the file itself"
    return ""


def check_place(path: Path) -> None:
    """Raise UserError where the folder of an output cannot be made or written to; nothing is made."""
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise UserError(f"{path} cannot be created: choose another folder, or change the permissions of {place}.")


def make_folder(path: Path) -> None:
    """Make the folder of an output; a UserError where it cannot be made or written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be created ({error.strerror}): choose another folder.") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} cannot be written to: choose another folder, or change its permissions.")
