"""Wheels for a GPU machine that reaches no network and has PyTorch: `make wheels`.

    python benchmarks/gpu_wheels.py [--clip DRIVE]

Downloads into .wheels what the notebooks need and gpu_machine.txt (the names of the machine's packages) lacks, in the
versions of requirements.lock. With the repository's own files they must be small enough to be carried.
"""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / ".wheels"
PYTHON = "3.12"  # the machine's
# Of no use without a person: a browser's part of widgets, completion and debugging; a solver that schedules jobs.
LEFT_OUT = {"jupyterlab", "jupyterlab-widgets", "widgetsnbextension", "jedi", "debugpy", "pulp"}
LEFT_OUT |= {"opencv-python"}  # the machine has the one without windows
SOURCE_ONLY = {"connection-pool"}  # pure Python, published without a wheel
PLATFORMS = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)]
PLATFORMS += ["--platform=manylinux2014_x86_64", "--platform=manylinux1_x86_64"]


def roots() -> list[Requirement]:
    """What the library asks for, the kernel of the notebooks, and what the tests need."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [Requirement(text) for text in (*declared, "ipykernel", "pytest", "beartype")]


def present() -> set[str]:
    """The machine's packages."""
    return set(map(canonicalize_name, Path(__file__).with_name("gpu_machine.txt").read_text().split()))


def lacking(there: set[str]) -> dict[str, str]:
    """Versions of the packages to carry: all that is asked for, at any depth, and not there."""
    found, seen, left = {}, set(), roots()
    while left:
        asked = left.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        if (name, extras) in seen or name in there | LEFT_OUT:
            continue
        seen.add((name, extras))
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise click.ClickException(f"{name} is not installed: `make lint` installs everything") from None
        left += needs(name, extras)
    return found


def needs(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What an installed package asks for on the machine, with these extras."""
    machine = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "platform_system": "Linux"}
    for one in map(Requirement, distribution(name).requires or []):
        if one.marker is None or any(one.marker.evaluate(machine | {"extra": extra}) for extra in ("", *extras)):
            yield one


def fetch(packages: dict[str, str]) -> None:
    """Download or build the wheels."""
    pip = [sys.executable, "-m", "pip"]
    pinned = {name: f"{name}=={number}" for name, number in packages.items()}
    sources = [pinned.pop(name) for name in SOURCE_ONLY & pinned.keys()]
    binary = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *PLATFORMS]
    quiet = ["--quiet", "--quiet", "--no-deps"]
    subprocess.run([*pip, "download", *quiet, *binary, "--dest", str(WHEELS), *pinned.values()], check=True)
    if sources:
        subprocess.run([*pip, "wheel", *quiet, "--wheel-dir", str(WHEELS), *sources], check=True)


def total(paths) -> float:
    """Size in MB."""
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


@click.command()
@click.option("--clip", type=click.Path(path_type=Path, exists=True), help="A drive in the common layout, to train on.")
@click.option("--frames", default=12, help="Of the drive.")
@click.option("--limit", default=67.0, help="MB that can be carried, the repository's files included.")
def main(clip: Path | None, frames: int, limit: float) -> None:
    """Fill .wheels anew."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    fetch(lacking(present()))
    if clip:
        from ssmde_lib.data.pack import import_clip

        import_clip(clip, WHEELS / "kitti", (256, 832), frames)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    carried, own = total(WHEELS.rglob("*")), total(ROOT / name for name in listed.split("\0") if name)
    click.echo(f".wheels: {carried:.1f} MB, with the repository {carried + own:.1f} MB (limit {limit:g})")
    if carried + own > limit:
        raise click.ClickException("too much to carry: leave the clip out or take fewer of its --frames")


if __name__ == "__main__":
    main()
