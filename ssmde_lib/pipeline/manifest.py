"""A stage's manifest `stage.json`: what it was made of, its outputs with their hashes, its metrics, and its machine."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ssmde_lib.errors import UserError
from ssmde_lib.files import sha256, write_json
from ssmde_lib.pipeline.staleness import content_digest


def files_below(folder: Path) -> list[Path]:
    """All output files of a stage folder, links followed."""
    found = [Path(parent) / name for parent, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(path for path in found if path.name not in ("stage.json", "attempt.json"))


def read_manifest(folder: Path) -> dict:
    """The verified manifest of a finished stage; UserError where it is missing or its files are not those it lists.

    A file whose size and time are those recorded is trusted unread, as git does; any other must have the recorded
    SHA-256.
    """
    again = f"execute notebooks/{folder.name}.ipynb with run = {folder.parent.name!r} again, or `make tutorial`"
    path = folder / "stage.json"
    if not path.is_file():
        raise UserError(f"stage {folder.name} of run {folder.parent.name!r} is missing ({path}): {again}.")
    try:
        manifest = json.loads(path.read_text())
        outputs = manifest["outputs"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not a stage manifest: {again}.") from None
    for name, recorded in outputs:
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file} is missing: {again}.")
        status = file.stat()
        if status.st_size == recorded["bytes"] and status.st_mtime_ns == recorded["mtime_ns"]:
            continue
        if status.st_size != recorded["bytes"] or sha256(file) != recorded["sha256"]:
            raise UserError(f"{file} is corrupt (not the file that the stage wrote): {again}.")
    return manifest


def git_commit(root: Path) -> str | None:
    """The commit, with `+changes` where the working tree differs from it; None outside git."""
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "")


def package_versions() -> dict[str, str | None]:
    """Versions of the direct dependencies."""
    wanted = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires("ssmde") or [] if "extra ==" not in line]
    return {"python": sys.version.split()[0]} | {name: version(name) for name in wanted}


def version(package: str) -> str | None:
    """The version installed, of OpenCV also that of its build without windows; None of what is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return version("opencv-python-headless") if package == "opencv-python" else None


def device_and_memory() -> tuple[str, dict[str, float]]:
    """Name of the device in use and peak memory in MiB of the process and, where there is one, of the GPU."""
    import resource  # Unix alone has it

    per_mib = 1024 if sys.platform == "linux" else 1024**2  # ru_maxrss is KiB on Linux, bytes on macOS
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib, 1)}
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_name(), peak | {"gpu": round(torch.cuda.max_memory_allocated() / 1024**2, 1)}
    return "cpu", peak


@dataclass
class Stage:
    """A running stage: its folder, its parameters, and the upstream stages that it may read."""

    name: str
    root: Path
    folder: Path
    parameters: dict
    upstream_hashes: dict[str, str]
    code: str
    earlier: dict | None = None
    started: float = field(default_factory=time.time)

    @property
    def reused(self) -> bool:
        """Whether heavy steps need not be repeated: the folder holds the results of an earlier execution."""
        return self.earlier is not None and "retrain" in self.parameters

    def upstream(self, name: str) -> Path:
        """Folder of an upstream stage, which `begin` has verified."""
        if name not in self.upstream_hashes:
            raise UserError(f"{self.name} does not declare that it reads {name}: add it in notebooks/pipeline.yaml.")
        return self.folder.parent / name

    def finish(self, metrics: dict | None = None) -> None:
        """Write the manifest, last and atomically; a reused stage keeps its own where its outputs are the same."""
        outputs = {}
        for path in files_below(self.folder):
            status = path.stat()
            outputs[path.relative_to(self.folder).as_posix()] = {
                "sha256": sha256(path),
                "bytes": status.st_size,
                "mtime_ns": status.st_mtime_ns,
            }
        path = self.folder / "stage.json"
        if self.earlier:
            manifest = self.earlier | {"outputs": outputs, "metrics": metrics or {}}
            if (
                content_digest(manifest) != content_digest(self.earlier)
                or manifest["metrics"] != self.earlier["metrics"]
            ):
                write_json(path, manifest)
            print(f"{self.name} finished: {len(outputs)} files in {self.folder}, as before")
            return
        device, peak_memory = device_and_memory()
        manifest = {
            "stage": self.name,
            "run": self.folder.parent.name,
            "parameters": self.parameters,
            "seed": self.parameters.get("seed"),
            "upstream": self.upstream_hashes,
            "code": self.code,
            "outputs": outputs,
            "metrics": metrics or {},
            "packages": package_versions(),
            "git_commit": git_commit(self.root),
            "device": device,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(time.time() - self.started, 2),
            "peak_memory_mib": peak_memory,
        }
        write_json(path, manifest)
        (self.folder / "attempt.json").unlink(missing_ok=True)
        print(f"{self.name} finished in {manifest['wall_seconds']:.0f} s: {len(outputs)} files in {self.folder}")


def verify_upstream(run_folder: Path, names: list[str]) -> dict[str, str]:
    """Content hashes of upstream stages, all present, whole, and made from one another."""
    manifests = {name: read_manifest(run_folder / name) for name in names}
    for name, manifest in manifests.items():
        for older, recorded in manifest["upstream"].items():
            path = run_folder / older / "stage.json"
            if path.is_file() and content_digest(json.loads(path.read_text())) != recorded:
                raise UserError(
                    f"stage {name} was made from another {older}: execute notebooks/{name}.ipynb again, "
                    "or `make tutorial`."
                )
    return {name: content_digest(manifest) for name, manifest in manifests.items()}
