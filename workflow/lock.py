"""Write requirements.lock: all that pyproject.toml asks for (extra `docs` apart), with what those need, at the versions installed here.

python workflow/lock.py        after installing something new into .venv and adding it to pyproject.toml
"""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# Every package of the tutorial, its tests and its cluster profiles, written by workflow/lock.py; install with pip install --no-deps.
# (controlnet_aux serves the tests as an oracle; its own requirements are not needed and deliberately absent.)
"""


def direct_requirements() -> list[Requirement]:
    """The requirements of pyproject.toml, extras included, `docs` apart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name != "docs" for line in lines]
    return [Requirement(line) for line in project["dependencies"] + extras]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Public versions, by name, of the requirements and of all that they need on this platform."""
    found, todo, done = {}, list(requirements), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in done:
            continue
        done.add((name, *sorted(requirement.extras)))
        package = metadata.distribution(name)
        found[name] = Version(package.version).public
        if name == "controlnet-aux":
            continue
        for needed in map(Requirement, package.requires or []):
            if not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                todo.append(needed)
    return dict(sorted(found.items()))


def read_lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


if __name__ == "__main__":
    pins = closure(direct_requirements())
    (ROOT / "requirements.lock").write_text(HEAD + "".join(f"{name}=={version}\n" for name, version in pins.items()))
    print(f"requirements.lock: {len(pins)} packages")
