"""Configuration by name: unknown names are errors that say the nearest known one."""

import dataclasses
import difflib

from ssmde_lib.errors import UserError


def nearest(name: str, known: list[str]) -> str:
    """The known name most like `name`."""
    return difflib.get_close_matches(name, known, 1, 0)[0]


def from_options(cls: type, options: dict):
    """Build a configuration dataclass; an unknown key is an error that names the nearest one."""
    known = [field.name for field in dataclasses.fields(cls)]
    for key in options:
        if key not in known:
            raise UserError(f"unknown option {key!r} of {cls.__name__}: did you mean {nearest(key, known)!r}?")
    return cls(**options)
