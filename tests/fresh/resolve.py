"""What an ordinary machine would install from requirements.lock.

It is pip's own answer, without the settings, wheels and constraints of this machine.

python tests/fresh/resolve.py      with each Python that is promised; asks the package index and installs nothing
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ask_pip() -> list[dict]:
    """The packages of pip's report, as if nothing were installed."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name == "PIP_CERT"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        ask = [
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            report,
            "--requirement",
            ROOT / "requirements.lock",
        ]
        subprocess.run([sys.executable, "-m", "pip", *ask], env=settings | {"PIP_CONFIG_FILE": os.devnull}, check=True)
        return [package["metadata"] for package in json.loads(report.read_text())["install"]]


if __name__ == "__main__":
    found = {package["name"].lower().replace("_", "-"): package["version"] for package in ask_pip()}
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["exclude-dependencies"]
    libraries = {name: version for name, version in found.items() if name.startswith(("nvidia-", "cuda-", "triton"))}
    print(
        f"Python {sys.version.split()[0]}: {len(found)} packages, torch {found['torch']}, "
        "with these accelerator libraries:"
    )
    print("  " + ", ".join(f"{name} {version}" for name, version in sorted(libraries.items())))
    if missing := set(expected) - set(libraries) if sys.platform == "linux" else set():
        sys.exit(f"torch's accelerator libraries are not all there: {', '.join(sorted(missing))} missing")
