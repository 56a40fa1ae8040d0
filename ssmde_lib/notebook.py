"""One notebook is one stage: its parameters, its manifest `stage.json`, and its headless execution.

A notebook begins with `stage = begin("04_pose_and_depth", globals())` and ends with `stage.finish(metrics={...})`. Which stages
it may read stands in `notebooks/pipeline.yaml`, which the Snakefile reads too.
"""

import ast
import difflib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import click

from ssmde_lib.errors import UserError, disk_is_full
from ssmde_lib.threads import share_the_machine

KINDS = {"int": int, "float": float, "str": str, "bool": bool}


# ---- where things lie ------------------------------------------------------------------------------------------------


def find_root(start: Path | None = None) -> Path:
    """Root of the repository: the nearest folder, from `start` (default: here) upwards, that holds `notebooks/pipeline.yaml`."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "notebooks" / "pipeline.yaml").is_file():
            return folder
    raise UserError(f"{start} is not inside the tutorial's repository: change to its root or to notebooks/.")


def runs_folder(root: Path) -> Path:
    """Where runs lie: `<root>/runs`, or the environment variable SSMDE_RUNS."""
    return Path(os.environ.get("SSMDE_RUNS") or root / "runs").resolve()


def load_yaml(path: Path) -> dict:
    import yaml

    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    try:
        return yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def pipeline(root: Path) -> dict[str, list[str]]:
    """Every stage in reading order with the stages that it reads."""
    return load_yaml(root / "notebooks" / "pipeline.yaml")


def appendix(root: Path) -> dict[str, list[str]]:
    """The appendix notebooks, which `make tutorial` leaves out, with the stages that they read."""
    path = root / "notebooks" / "appendix.yaml"
    return load_yaml(path) if path.is_file() else {}


def nearest(name: str, known: list[str]) -> str:
    return difflib.get_close_matches(name, known, 1, 0)[0]


# ---- parameters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: `name: kind = default  # comment`."""

    name: str
    kind: str
    default: int | float | str | bool
    comment: str

    def check(self, value):
        """The value itself, an int made float where a float is declared; UserError for any other type."""
        if type(value) is KINDS[self.kind]:
            return value
        if self.kind == "float" and type(value) is int:
            return float(value)
        raise UserError(f"parameter {self.name} must be {self.kind}, not {value!r} ({type(value).__name__}).")

    def parse(self, text: str):
        """The value that a command-line text stands for."""
        try:
            return {"true": True, "false": False}[text.lower()] if self.kind == "bool" else KINDS[self.kind](text)
        except (KeyError, ValueError):
            raise UserError(f"parameter {self.name} must be {self.kind}, not {text!r}.") from None


def notebook_path(root: Path, name: str) -> Path:
    path = root / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.ipynb"))
        raise UserError(
            f"there is no notebook {name!r}" + (f": did you mean {nearest(name, known)!r}?" if known else ".")
        )
    return path


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The declared parameters of a notebook, by name, read from its one cell tagged `parameters`."""
    cells = json.loads(path.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(sources) != 1:
        raise UserError(f"{path} must have exactly one cell tagged 'parameters', not {len(sources)}.")
    lines = sources[0].splitlines()
    declared = {}
    for node in ast.parse(sources[0]).body:
        if not (isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in KINDS and node.value):
            raise UserError(
                f"{path}: line {node.lineno} of the parameters cell must read 'name: int|float|str|bool = value  # comment'."
            )
        name, kind = node.target.id, ast.unparse(node.annotation)
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip().lstrip("# ")
        declared[name] = Parameter(
            name, kind, Parameter(name, kind, 0, "").check(ast.literal_eval(node.value)), comment
        )
    return declared


def check_names(names, declared: dict[str, Parameter], where: str) -> None:
    """UserError for the first name that is not declared; it names the nearest one."""
    for name in names:
        if name not in declared:
            raise UserError(f"{where} has no parameter {name!r}: did you mean {nearest(name, list(declared))!r}?")


def injected_names(namespace: dict) -> list[str]:
    """Names that Papermill injected: those of the executed cell that begins with its mark."""
    cells = [source for source in namespace.get("In", []) if source.startswith("# Parameters\n")]
    return [node.targets[0].id for source in cells for node in ast.parse(source).body if isinstance(node, ast.Assign)]


def profile_parameters(root: Path, profile: str, name: str) -> dict:
    """Overrides of one notebook in a profile: its own section over those keys of `common` that it declares, a set's over both.

    Profile `gpu` stands in `configs/gpu.yaml`; `gpu-nyu` adds its set `nyu`; a profile with `sets` alone takes the first of them.
    """
    path, chosen = profile_file(root, profile)
    declared, sections = read_parameters(notebook_path(root, name)), load_yaml(path)
    sets = sections.get("sets") or {}
    if chosen and chosen not in sets:
        raise UserError(
            f"{path.name} has no set {chosen!r}" + (f": did you mean {path.stem}-{nearest(chosen, list(sets))}?" if sets else ".")
        )
    overrides = {}
    for part in (sections, sets[chosen or next(iter(sets))] if sets else {}):
        own = part.get(name) or {}
        check_names(own, declared, f"{path.name}: {name}")
        overrides |= {key: value for key, value in (part.get("common") or {}).items() if key in declared} | own
    return {key: declared[key].check(value) for key, value in overrides.items()}


def profile_file(root: Path, profile: str) -> tuple[Path, str]:
    """The file of a profile and the name of the set that it asks for, if any."""
    stem, _, chosen = profile.partition("-")
    path = root / "configs" / f"{stem}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise UserError(f"there is no profile {profile!r}: did you mean {nearest(stem, known)!r}?")
    return path, chosen


# ---- the stage and its manifest --------------------------------------------------------------------------------------


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    found = [Path(parent) / name for parent, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(path for path in found if path.name not in ("stage.json", "attempt.json"))


def write_json(path: Path, content: dict) -> None:
    """Write atomically: a reader sees the old file or the whole new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # where the disk was full


def read_manifest(folder: Path) -> dict:
    """The verified manifest of a finished stage; UserError where it is missing or its files are not those it lists.

    A file whose size and time are those recorded is trusted unread, as git does; any other must have the recorded SHA-256.
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
    """Versions of the direct dependencies; None of one that goes by another name here (opencv-python-headless)."""
    wanted = [re.match(r"[\w.-]+", line)[0] for line in metadata.requires("ssmde") or [] if "extra ==" not in line]
    return {"python": sys.version.split()[0]} | {name: version(name) for name in wanted}


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def device_and_memory() -> tuple[str, dict[str, float]]:
    """Name of the device in use and peak memory in MiB of the process and, where there is one, of the GPU."""
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
                    f"stage {name} was made from another {older}: execute notebooks/{name}.ipynb again, or `make tutorial`."
                )
    return {name: sha256(run_folder / name / "stage.json") for name in names}


def begin(name: str, namespace: dict) -> Stage:
    """Check a notebook's parameters, verify what it reads and open its stage folder; nothing is seeded.

    `namespace` is the notebook's `globals()`. A finished earlier result is removed; what an unfinished attempt with the same
    parameters and upstream stages left stays, so that training can resume. Raises UserError before anything is touched.
    Threads are told to share the machine: notebooks import torch after this.
    """
    share_the_machine()
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
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", parameters["run"]):
        raise UserError(f"parameter run must be a plain folder name or a path of such, not {parameters['run']!r}.")
    folder = runs_folder(root) / parameters["run"] / name
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


# ---- headless execution ----------------------------------------------------------------------------------------------


@contextmanager
def passing_signals_on(kernels: list) -> Iterator[list]:
    """Pass the first SIGINT or SIGTERM on to the kernel as SIGTERM and wait, so that training can save its state.

    Yields the list of signals received; a second signal ends the program as usual.
    """
    stopped, previous = [], {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def pass_on(number: int, frame) -> None:
        stopped.append(number)
        restore()
        for kernel in kernels:
            if kernel.has_kernel:
                os.kill(kernel.provisioner.pid, signal.SIGTERM)

    for number in previous:
        signal.signal(number, pass_on)
    try:
        yield stopped
    finally:
        restore()


def run_notebook(name: str, overrides: dict, output: Path | None = None, attempts: int = 3) -> Path:
    """Execute a notebook through Papermill and return the path of the executed copy.

    `overrides` are checked before a kernel starts. A kernel that does not come up (two kernels can draw one port) is started
    anew. Raises UserError, in one sentence, when a cell fails, the kernel dies, or the notebook ends before `stage.finish`.
    """
    import papermill
    from jupyter_client import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError

    root = find_root()
    path = notebook_path(root, name)
    declared = read_parameters(path)
    check_names(overrides, declared, name)
    overrides = {key: declared[key].check(value) for key, value in overrides.items()}
    run_folder = runs_folder(root) / overrides.get("run", declared["run"].default)
    output = (output or run_folder / "notebooks" / path.name).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    kernels = []

    class KnownKernelManager(AsyncKernelManager):
        """A kernel manager that can be reached from outside of nbclient, which makes it."""

        def __init__(self, **options):
            super().__init__(**options)
            kernels.append(self)

        async def _async_interrupt_kernel(self) -> None:
            """Not at the end: an idle kernel has nothing to interrupt, and complains of it, now and then with a traceback."""
            if not self.shutting_down:
                await super()._async_interrupt_kernel()

    for attempt in range(attempts):
        try:
            with passing_signals_on(kernels) as stopped:
                papermill.execute_notebook(
                    path, output, overrides, kernel_manager_class=KnownKernelManager, kernel_name="python3", cwd=root, start_timeout=300,
                    progress_bar={"disable": None, "ncols": 90}, extra_arguments=["--log-level=ERROR"],
                )  # fmt: skip
            break
        except papermill.PapermillExecutionError as error:
            sentence = error.evalue.strip().splitlines()[0] if error.evalue.strip() else "no message"
            what = sentence if error.ename == "UserError" else f"cell [{error.exec_count}] failed with {error.ename}: {sentence}"
            if error.ename != "UserError" and disk_is_full(sentence):
                what += "; free some space and execute it again, finished stages stay"
            raise UserError(f"{name}: {what} (executed so far: {output})") from error
        except DeadKernelError as error:
            why = "stopped by a signal" if stopped else "the kernel was killed: out of memory? Try a smaller batch_size"
            raise UserError(f"{name}: {why}. (executed so far: {output})") from error
        except RuntimeError:  # what jupyter_client raises for a kernel that does not come up
            if attempt + 1 == attempts:
                raise
        except OSError as error:
            if not disk_is_full(error):
                raise
            raise UserError(f"{name}: {output} could not be written ({error.strerror}): free some space and execute it again.") from None
    if not (run_folder / name / "stage.json").is_file():
        raise UserError(
            f"{name} ended before stage.finish(...): nothing in a notebook may exit early. (executed: {output})"
        )
    return output


@click.command("run")
@click.argument("notebook")
@click.option(
    "-p", "--parameter", "given", type=(str, str), multiple=True, metavar="NAME VALUE", help="Override a parameter."
)
@click.option("--run", "run_name", help="Folder under runs/ to write to and read from (default: the profile's name).")
@click.option("--profile", help="Start from the overrides in configs/<PROFILE>.yaml; gpu-nyu takes its set nyu.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the executed notebook goes.")
def run_command(notebook: str, given: tuple, run_name: str | None, profile: str | None, output: Path | None) -> None:
    """Execute NOTEBOOK (such as 04_pose_and_depth) headlessly."""
    root, name = find_root(), Path(notebook).stem
    declared = read_parameters(notebook_path(root, name))
    check_names([key for key, _ in given], declared, name)
    overrides = profile_parameters(root, profile, name) if profile else {}
    if run_name or profile:
        overrides["run"] = run_name or profile
    overrides |= {key: declared[key].parse(text) for key, text in given}
    click.echo(f"executed: {run_notebook(name, overrides, output)}")
