"""`begin`: a notebook's stage folder is opened, and what it holds of the same making is kept.

A finished stage with the same parameters and upstream content is reused, an interrupted one goes on. Only what differs
is made anew, and in JupyterLab results of other parameters are not replaced unless `retrain` says so.
"""

import os
import re
import shutil
from pathlib import Path

from ssmde_lib import opencv
from ssmde_lib.errors import UserError
from ssmde_lib.files import write_json
from ssmde_lib.options import nearest
from ssmde_lib.pipeline.failures import tell_at_the_end
from ssmde_lib.pipeline.manifest import Stage, read_manifest, verify_upstream
from ssmde_lib.pipeline.parameters import (
    appendix,
    find_root,
    injected_names,
    notebook_path,
    pipeline,
    resolve_parameters,
    runs_folder,
)
from ssmde_lib.pipeline.staleness import changes, code_digest, made_of, read_record
from ssmde_lib.threads import limit_threads


def begin(name: str, namespace: dict) -> Stage:
    """Check a notebook's parameters, verify what it reads and open its stage folder; nothing is seeded.

    Threads are told to share the machine: notebooks import torch after this.

    Args:
        name: of the stage, as in `notebooks/pipeline.yaml`.
        namespace: the notebook's `globals()`; the settings of its `profile` are put there.

    Raises:
        UserError: for a bad parameter or a missing or changed upstream stage, before anything is touched.
    """
    limit_threads()
    opencv.require()  # what it lacks is told here, not in the middle of the notebook
    root = find_root()
    stages = pipeline(root) | appendix(root)
    if name not in stages:
        raise UserError(
            f"there is no stage {name!r} in notebooks/pipeline.yaml: did you mean {nearest(name, list(stages))!r}?"
        )
    tell_at_the_end(notebook_path(root, name))
    parameters = resolve_parameters(root, name, namespace)
    folder = runs_folder(root) / parameters["run"] / name
    upstream = verify_upstream(folder.parent, stages[name])
    wanted = {"parameters": parameters, "upstream": upstream, "code": code_digest(notebook_path(root, name))}
    if not in_lab(namespace):
        os.environ.setdefault("SSMDE_HEADLESS", "1")  # for figures: nobody touches them
    elif not parameters.get("retrain"):
        folder = folder_of_its_own(folder, wanted, stages)
        namespace["run"] = parameters["run"] = folder.parent.relative_to(runs_folder(root)).as_posix()
    code, earlier = open_folder(folder, wanted)
    return Stage(name, root, folder, parameters, upstream, code, earlier)


def in_lab(namespace: dict) -> bool:
    """Whether a person executes the notebook: cells run in IPython, and Papermill injected no parameters."""
    return "In" in namespace and not injected_names(namespace)


def folder_of_its_own(folder: Path, wanted: dict, stages: dict[str, list[str]]) -> Path:
    """The stage folder to use: another run's where this one holds results (or a half-way training) of other parameters.

    That run is named by what differs and holds links to the stages of this run that do not build on the one opened.
    """
    record, finished = read_record(folder)
    if record is None or not (finished or any(folder.rglob("step.json"))):
        return folder
    before, now = made_of(record["parameters"]), made_of(wanted["parameters"])
    changed = {key: value for key, value in now.items() if before.get(key) != value}
    if not changed:
        return folder
    suffix = re.sub(r"[^\w.-]+", "_", "-".join(f"{key}_{value}" for key, value in changed.items()))[:80].rstrip("._-")
    run = folder.parent.with_name(f"{folder.parent.name}-{suffix}")
    run.mkdir(parents=True, exist_ok=True)
    for other in stages.keys() - downstream(folder.name, stages):
        if (folder.parent / other / "stage.json").is_file() and not (run / other).exists():
            (run / other).symlink_to(Path("..") / folder.parent.name / other)
    difference = ", ".join(changes(record, wanted["parameters"], record["upstream"]))
    print(
        f"Run {folder.parent.name!r} holds {folder.name} of other parameters ({difference}).\n"
        f"It is kept: this execution writes to run {run.name!r}. "
        "(retrain = True replaces it instead; run names another place.)"
    )
    return run / folder.name


def downstream(name: str, stages: dict[str, list[str]]) -> set[str]:
    """A stage with all that build on it; `stages` are in reading order."""
    found = {name}
    for other, upstream in stages.items():
        if found & set(upstream):
            found.add(other)
    return found


def open_folder(folder: Path, wanted: dict) -> tuple[str, dict | None]:
    """Empty the stage folder, unless what it holds is of just this making.

    Returns the digest of the code that made or makes the heavy results, and the manifest of a finished stage that is
    kept.
    """
    record, finished = read_record(folder)
    reasons = changes(record, wanted["parameters"], wanted["upstream"]) if record else []
    retrain, same_code = wanted["parameters"].get("retrain"), record is not None and record["code"] == wanted["code"]
    kept = not reasons and (same_code if retrain is None else not retrain or (same_code and not finished))
    if kept and finished and (reason := damage(folder)):
        kept, reasons = False, [reason]
    if record and kept:
        if retrain is not None:
            print(f"{folder.name} of run {folder.parent.name!r} " + kept_message(finished, same_code))
        return record["code"], record if finished else None
    if reasons:
        print(f"{folder.name} of run {folder.parent.name!r} is made anew: {'; '.join(reasons)}.")
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "attempt.json", wanted)
    return wanted["code"], None


def kept_message(finished: bool, same_code: bool) -> str:
    """Why the folder of an earlier attempt is kept, in words."""
    if not finished:
        return "was interrupted: it goes on from there."
    changed = "" if same_code else " The code of the notebook has changed since."
    return f"is finished with these parameters: its results are reused. (retrain = True makes them again.){changed}"


def damage(folder: Path) -> str:
    """What is wrong with the files of a finished stage; empty if nothing."""
    try:
        read_manifest(folder)
    except UserError as error:
        return error.message.split(": ")[0]
    return ""
