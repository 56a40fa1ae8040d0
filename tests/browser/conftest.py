"""A browser, and a JupyterLab over a copy of the notebooks: `make test-browser`, apart from the other tests.

The run lies in runs/browser, so that the next call finds it finished; pictures of what was seen in runs/browser/seen.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",  # WebGL without a graphics card
]  # fmt: skip
SERVER = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--IdentityProvider.token=tests"]
SERVER += ["--LanguageServerManager.autodetect=False"]  # as in `make lab`


def environment() -> dict[str, str]:
    """That of a person at a terminal, with the runs of these tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"SSMDE_RUNS": str(RUNS), "OMP_NUM_THREADS": "1", "PATH": path}


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium; skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install .[dev]")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium, and it could not be installed (as root on Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=program, args=FLAGS)


@pytest.fixture(params=[1280, 400], ids=lambda width: f"{width}px")
def width(request) -> int:
    """Of the window, in pixels: a desk, and a telephone."""
    return request.param


def collect_errors(page) -> list[str]:
    """A list that grows with each error that the page reports."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


@pytest.fixture
def page(browser) -> Iterator:
    """A window that collects what the page reports as an error, and must have collected nothing in the end."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    errors = collect_errors(page)
    yield page
    page.close()
    assert not errors


@pytest.fixture
def seen(request) -> Path:
    """Where a test puts its pictures, by its name."""
    folder = RUNS / "seen"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / re.sub(r"\W+", "-", request.node.name.removeprefix("test_")).rstrip("-")


@pytest.fixture(scope="session")
def run() -> Path:
    """A finished smoke run with its book."""
    words = [
        "snakemake",
        "--cores",
        "2",
        "--nolock",
        "--rerun-triggers",
        "mtime",
        "params",
        "--config",
        "profile=smoke",
    ]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return RUNS / "smoke"


@pytest.fixture(scope="session")
def lab(run, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """Address of a JupyterLab, and the copy of the repository that it shows, whose notebooks say `smoke`."""
    root = tmp_path_factory.mktemp("repository")
    for entry in ROOT.iterdir():
        if entry.name not in ("notebooks", "runs", ".git"):
            (root / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for path in (root / "notebooks").glob("*.ipynb"):
        path.write_text(path.read_text().replace('profile: str = \\"laptop\\"', 'profile: str = \\"smoke\\"'))
    words = [sys.executable, "-m", "jupyterlab", *SERVER, f"--ServerApp.root_dir={root}"]
    folders = {"JUPYTER_RUNTIME_DIR": str(root / ".runtime"), "JUPYTER_CONFIG_DIR": str(root / ".config")}
    with (RUNS / "lab.log").open("w") as log:
        settings = environment() | folders | {"PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(words, env=settings, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield address(root / ".runtime"), root
    finally:
        server.terminate()
        server.wait()


def address(folder: Path, seconds: float = 120) -> str:
    """Of the server that writes its state to `folder`, once it answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.5)
        for path in folder.glob("jpserver-*.json"):
            try:
                url = json.loads(path.read_text())["url"]
                urllib.request.urlopen(f"{url}api?token=tests").close()
                return url
            except (OSError, ValueError):
                continue
    raise TimeoutError(f"no JupyterLab after {seconds:.0f} s")
