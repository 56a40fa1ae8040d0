"""Files written whole or not at all, and their hashes."""

import hashlib
import json
import os
from pathlib import Path

from ssmde_lib.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"  # the bundled networks


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: dict) -> None:
    """Write atomically: a reader sees the old file or the whole new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # where the disk was full


def write_whole(path: Path, text: str) -> None:
    """Write atomically: where the disk is full, the old file stays."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.replace(path)


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be created ({error.strerror}): choose another folder.") from None
