"""One notebook is one stage: its parameters, its manifest `stage.json`, and its headless execution.

A notebook begins with `stage = begin("04_pose_and_depth", globals())` and ends with `stage.finish(metrics={...})`.
Which stages it may read stands in `notebooks/pipeline.yaml`, which the Snakefile reads too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from ssmde_lib import opencv
from ssmde_lib.errors import UserError
from ssmde_lib.files import sha256, write_json
from ssmde_lib.options import nearest
from ssmde_lib.pipeline.parameters import (
    appendix,
    check_names,
    find_root,
    injected_names,
    notebook_path,
    pipeline,
    read_parameters,
    runs_folder,
)
from ssmde_lib.threads import limit_threads


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
    started: float = field(default_factory=time.time)

    def upstream(self, name: str) -> Path:
        """Folder of an upstream stage, which `begin` has verified."""
        if name not in self.upstream_hashes:
            raise UserError(f"{self.name} does not declare that it reads {name}: add it in notebooks/pipeline.yaml.")
        return self.folder.parent / name

    def finish(self, metrics: dict | None = None) -> None:
        """Write the manifest, last and atomically."""
        outputs = {}
        for path in files_below(self.folder):
            status = path.stat()
            outputs[path.relative_to(self.folder).as_posix()] = {
                "sha256": sha256(path),
                "bytes": status.st_size,
                "mtime_ns": status.st_mtime_ns,
            }
        device, peak_memory = device_and_memory()
        manifest = {
            "stage": self.name,
            "run": self.folder.parent.name,
            "parameters": self.parameters,
            "seed": self.parameters.get("seed"),
            "upstream": self.upstream_hashes,
            "outputs": outputs,
            "metrics": metrics or {},
            "packages": package_versions(),
            "git_commit": git_commit(self.root),
            "device": device,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(time.time() - self.started, 2),
            "peak_memory_mib": peak_memory,
        }
        write_json(self.folder / "stage.json", manifest)
        (self.folder / "attempt.json").unlink(missing_ok=True)
        print(f"{self.name} finished in {manifest['wall_seconds']:.0f} s: {len(outputs)} files in {self.folder}")


def verify_upstream(run_folder: Path, names: list[str]) -> dict[str, str]:
    """Hashes of the manifests of upstream stages, all present, whole, and made from one another."""
    manifests = {name: read_manifest(run_folder / name) for name in names}
    for name, manifest in manifests.items():
        for older, recorded in manifest["upstream"].items():
            path = run_folder / older / "stage.json"
            if path.is_file() and sha256(path) != recorded:
                raise UserError(
                    f"stage {name} was made from another {older}: execute notebooks/{name}.ipynb again, "
                    "or `make tutorial`."
                )
    return {name: sha256(run_folder / name / "stage.json") for name in names}


def begin(name: str, namespace: dict) -> Stage:
    """Check a notebook's parameters, verify what it reads and open its stage folder; nothing is seeded.

    `namespace` is the notebook's `globals()`. A finished earlier result is removed; what an unfinished attempt with the
    same parameters and upstream stages left stays, so that training can resume. Raises UserError before anything is
    touched. Threads are told to share the machine: notebooks import torch after this.
    """
    limit_threads()
    opencv.require()  # what it lacks is told here, not in the middle of the notebook
    root = find_root()
    stages = pipeline(root) | appendix(root)
    if name not in stages:
        raise UserError(
            f"there is no stage {name!r} in notebooks/pipeline.yaml: did you mean {nearest(name, list(stages))!r}?"
        )
    declared = read_parameters(notebook_path(root, name))
    check_names(injected_names(namespace), declared, name)
    missing = [key for key in declared if key not in namespace]
    if missing:
        raise UserError(f"parameter {missing[0]} is not set: execute the parameters cell first.")
    parameters = {key: parameter.check(namespace[key]) for key, parameter in declared.items()}
    run = str(parameters["run"])
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", run):
        raise UserError(f"parameter run must be a plain folder name or a path of such, not {run!r}.")
    folder = runs_folder(root) / run / name
    upstream_hashes = verify_upstream(folder.parent, stages[name])
    open_folder(folder, {"parameters": parameters, "upstream": upstream_hashes})
    return Stage(name, root, folder, parameters, upstream_hashes)


def open_folder(folder: Path, attempt: dict) -> None:
    """Empty the stage folder, unless it holds an unfinished attempt at just this."""
    record = folder / "attempt.json"
    unfinished = record.is_file() and not (folder / "stage.json").exists()
    if not (unfinished and json.loads(record.read_text()) == attempt):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(record, attempt)
