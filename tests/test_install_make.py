"""`make` installs with any suitable Python, and says in one sentence what it lacks."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Stands for a Python with its venv module: what it is asked to do is written down, and so is what its pip is asked.
PYTHON = """#!/bin/sh
case "$*" in
-c*) exit 0 ;;
"-m venv .venv")
    echo "$(basename "$0") $*" >> log
    mkdir -p .venv/bin && printf '#!/bin/sh\\necho "pip $*" >> log\\n' > .venv/bin/pip && chmod +x .venv/bin/pip ;;
*) exit 2 ;;
esac
"""
BROKEN = "#!/bin/sh\nexit 127\n"  # as pyenv's shims of versions that are not chosen


@pytest.fixture
def make(tmp_path):
    """`make` with a copy of the Makefile, where PATH leads to the given Pythons alone.

    Returns the result and what was run.
    """
    folder, tools = tmp_path / "clone", tmp_path / "bin"
    (folder / "requirements").mkdir(parents=True)
    for name in (
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        *(f"requirements/{name}.txt" for name in ("all", "dinov2", "headless", "oracles")),
    ):
        (folder / name).write_text((ROOT / name).read_text())
    tools.mkdir()
    for tool in ("sh", "make", "mkdir", "chmod", "touch", "grep", "basename"):
        (tools / tool).symlink_to(next(place for part in os.get_exec_path() if (place := Path(part) / tool).exists()))

    def run(pythons: dict[str, str], *arguments: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        for name, script in pythons.items():
            (tools / name).write_text(script)
            (tools / name).chmod(0o755)
        given = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAKE", "PYTHON", "TORCH", "OPENCV"))
        }
        done = subprocess.run(
            ["make", *arguments],
            cwd=folder,
            env=given | {"PATH": str(tools)},
            capture_output=True,
            text=True,
            check=False,
        )
        log = folder / "log"
        return done, log.read_text().splitlines() if log.exists() else []

    return run


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3": PYTHON}, "python3"),
        ({"python3": PYTHON, "python3.12": PYTHON, "python3.11": PYTHON}, "python3.12"),
        ({"python3": PYTHON, "python3.13": BROKEN, "python3.11": BROKEN}, "python3"),
    ],
)
def test_make_takes_the_newest_python_that_works(make, pythons, chosen):
    done, log = make(pythons, ".venv/installed")
    assert done.returncode == 0, done.stderr
    assert log == [
        f"{chosen} -m venv .venv",
        "pip install --quiet --no-deps --require-hashes --requirement requirements/all.txt",
        "pip install --quiet --requirement requirements.lock",
        "pip install --quiet --no-deps --editable .",
    ]


def test_make_says_what_to_install_where_no_python_suits(make):
    done, log = make({"python3": BROKEN}, ".venv/installed")
    assert done.returncode != 0 and not log
    sentence, *rest = done.stderr.splitlines()
    assert sentence.startswith(
        "No Python from 3.11 on with its venv module (looked for: python3.13 python3.12 python3.11 python3): "
        "install one"
    )
    assert "apt install python3-venv" in sentence and len(rest) == 1  # make's own line follows


def test_make_takes_the_cpu_build_and_the_headless_opencv(make):
    done, log = make({"python3": PYTHON}, ".venv/oracles", "TORCH=cpu", "OPENCV=headless")
    assert done.returncode == 0, done.stderr
    assert log[2] == "pip install --quiet --no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0"
    assert log[5:] == [
        "pip install --quiet --no-deps --require-hashes --requirement requirements/dinov2.txt",
        "pip uninstall --quiet --yes opencv-python",
        "pip install --quiet --no-deps --require-hashes --requirement requirements/headless.txt",
        "pip install --quiet --no-deps --require-hashes --requirement requirements/oracles.txt",
    ]
    again, log = make({}, "--always-make", ".venv/installed", ".venv/oracles")
    assert again.returncode == 0 and "pip uninstall --quiet --yes opencv-python" in log[9:], (
        "the choice of OpenCV is lost"
    )


def test_make_keeps_caches_in_the_environment_where_home_cannot_be_written(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    show_home = PYTHON.replace('"pip $*"', '"$HOME"')
    done, log = make({"python3": show_home}, ".venv/installed")
    assert done.returncode == 0 and set(log[1:]) == {str(tmp_path / "clone/.venv/home")}
    assert (tmp_path / "clone/.venv/home").is_dir()


@pytest.mark.parametrize("choice", ["TORCH=cuda", "OPENCV=contrib"])
def test_make_names_an_unknown_choice(make, choice):
    done, log = make({"python3": PYTHON}, "tutorial", choice)
    assert done.returncode != 0 and not log and f"{choice} is unknown: say" in done.stderr
