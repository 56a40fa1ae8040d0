"""The public part of the bank as one file of plain data for the student edition: numbers, text, no code."""

import gzip
import json
from pathlib import Path

import numpy as np

from ssmde_lib.course.exercise import Case, Exercise
from ssmde_lib.course.material import FUNCTIONS
from ssmde_lib.errors import UserError

NAME = "exercises.json.gz"  # packed: nobody reads an expected value by accident


def write_handout(path: Path, exercises: list[Exercise]) -> None:
    """The exercises' public parts; the same bytes for the same exercises."""
    path.write_bytes(pack([exercise.public() for exercise in exercises]))


def pack(content: list[dict]) -> bytes:
    """The bytes of a handout."""
    return gzip.compress(json.dumps(encode(content)).encode(), mtime=0)


def read_handout(path: Path) -> dict[str, dict]:
    """The public parts by id.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(gzip.decompress(path.read_bytes()), object_hook=decode)
    except (OSError, EOFError, ValueError):
        raise UserError(f"{path} is damaged: take it from the course's zip again.") from None
    for exercise in content:
        exercise["cases"] = [Case(**case) for case in exercise.get("cases", [])]
    return {exercise["id"]: exercise for exercise in content}


def encode(value):
    """Plain data, with a tag where JSON has no type: tuples, arrays, their numbers, and functions of `material`."""
    if isinstance(value, dict):
        return {key: encode(each) for key, each in value.items()}
    if isinstance(value, list):
        return [encode(each) for each in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(each) for each in value]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    return {"function": value.__name__} if callable(value) else value


def decode(content: dict):
    """The value that `encode` wrote as a tagged object."""
    if set(content) == {"tuple"}:
        return tuple(content["tuple"])
    if set(content) == {"array", "dtype"}:
        return np.array(content["array"], content["dtype"])
    if set(content) == {"function"}:
        return FUNCTIONS[content["function"]]
    return content
