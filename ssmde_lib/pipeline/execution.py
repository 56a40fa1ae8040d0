"""Headless execution of one notebook through Papermill; `ssmde run`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from ssmde_lib.errors import UserError, disk_is_full
from ssmde_lib.files import make_folder, write_text
from ssmde_lib.pipeline.parameters import (
    check_names,
    find_root,
    notebook_path,
    profile_parameters,
    read_parameters,
    runs_folder,
)
from ssmde_lib.pipeline.staleness import code_digest, read_record


@contextmanager
def passing_signals_on(kernels: list) -> Iterator[list]:
    """Pass the first SIGINT or SIGTERM on to the kernel as SIGTERM and wait, so that training can save its state.

    Yields the list of signals received. A second Ctrl-C ends the program as usual; SIGTERM comes twice where a cluster
    ends a job that is out of time.
    """
    stopped, previous = [], {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def pass_on(number: int, frame) -> None:
        stopped.append(number)
        signal.signal(signal.SIGINT, previous[signal.SIGINT])
        for kernel in kernels:
            if kernel.has_kernel and len(stopped) == 1:
                os.kill(kernel.provisioner.pid, signal.SIGTERM)

    for number in previous:
        signal.signal(number, pass_on)
    try:
        yield stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def complete(path: Path, overrides: dict, runs: Path) -> dict:
    """The checked overrides of a notebook with its run's name, and with `retrain` where other code made the results."""
    declared = read_parameters(path)
    check_names(overrides, declared, path.stem)
    values = {key: parameter.default for key, parameter in declared.items()} | overrides
    overrides = overrides | {"run": values["run"] or values["profile"]}
    record, _ = read_record(runs / overrides["run"] / path.stem)
    if "retrain" in declared and record and record["code"] != code_digest(path):
        overrides["retrain"] = True
    return {key: declared[key].check(value) for key, value in overrides.items()}


def tidy(path: Path) -> None:
    """Join the streams of an executed notebook, keep of a progress bar what it showed last, and sign the notebook.

    JupyterLab shows scripts, such as a slider's, only in notebooks that were executed by the same person.
    """
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from nbformat.sign import NotebookNotary

    with suppress(OSError, ValueError):  # not written, or not whole, where the disk was full
        notebook, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(path, as_version=4), {})
        write_text(path, nbformat.writes(notebook))
        NotebookNotary().sign(nbformat.read(path, as_version=4))


def run_notebook(name: str, overrides: dict, output: Path | None = None, attempts: int = 3) -> Path:
    """Execute a notebook through Papermill and return the path of the executed copy.

    `overrides` are checked before a kernel starts. A finished stage of the same code is reused (see `begin`). A kernel
    that does not come up (two kernels can draw one port) is started anew. Raises UserError, in one sentence, when a
    cell fails, the kernel dies, or the notebook ends before `stage.finish`.
    """

    root = find_root()
    path = notebook_path(root, name)
    overrides = complete(path, overrides, runs_folder(root))
    run_folder = runs_folder(root) / overrides["run"]
    output = (output or run_folder / "notebooks" / path.name).resolve()
    make_folder(output.parent)
    make_folder(run_folder)
    if (root / "docs").is_dir() and not (run_folder / "docs").exists():  # where links of the executed copies lead
        (run_folder / "docs").symlink_to(root / "docs")
    for attempt in range(attempts):
        try:
            execute(path, output, overrides, root)
            break
        except RuntimeError:  # what jupyter_client raises for a kernel that does not come up
            if attempt + 1 == attempts:
                raise
    if not (run_folder / name / "stage.json").is_file():
        raise UserError(
            f"{name} ended before stage.finish(...): nothing in a notebook may exit early. (executed: {output})"
        )
    return output


def execute(path: Path, output: Path, parameters: dict, root: Path) -> None:
    """One attempt by Papermill; UserError in one sentence where a cell fails, the kernel dies or the disk is full."""
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError

    kernels = []

    class KnownKernelManager(AsyncKernelManager):
        """A kernel manager that can be reached from outside of nbclient, which makes it."""

        def __init__(self, **options):
            super().__init__(**options)
            kernels.append(self)

        async def _async_interrupt_kernel(self) -> None:
            """Not at the end: an idle kernel has nothing to interrupt, and sometimes prints a traceback."""
            if not self.shutting_down:
                await super()._async_interrupt_kernel()

    name, stopped = path.stem, []
    try:
        with passing_signals_on(kernels) as stopped:
            papermill.execute_notebook(
                path,
                output,
                parameters,
                kernel_manager_class=KnownKernelManager,
                kernel_name="python3",
                cwd=root,
                start_timeout=300,
                progress_bar={"disable": None, "ncols": 90},  # pyright: ignore[reportArgumentType] tqdm's options
                extra_arguments=["--log-level=ERROR"],
            )
    except papermill.PapermillExecutionError as error:
        raise UserError(f"{name}: {what_failed(error)} (executed so far: {output})") from error
    except DeadKernelError as error:
        why = "stopped by a signal" if stopped else "the kernel was killed: out of memory? Try a smaller batch_size"
        raise UserError(f"{name}: {why}. (executed so far: {output})") from error
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise UserError(
            f"{name}: {output} could not be written ({error.strerror}): free some space and execute it again."
        ) from None
    finally:
        tidy(output)


def what_failed(error) -> str:
    """Papermill's error in one sentence."""
    sentence = error.evalue.strip().splitlines()[0] if error.evalue.strip() else "no message"
    if error.ename == "UserError":
        return sentence
    advice = "; free some space and execute it again, finished stages stay" if disk_is_full(sentence) else ""
    return f"cell [{error.exec_count}] failed with {error.ename}: {sentence}{advice}"


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
    overrides = profile_parameters(root, profile, name) | {"profile": profile} if profile else {}
    if run_name:
        overrides["run"] = run_name
    overrides |= {key: declared[key].parse(text) for key, text in given}
    click.echo(f"executed: {run_notebook(name, overrides, output)}")
