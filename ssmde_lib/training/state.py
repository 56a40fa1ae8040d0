"""The resumable state of a training and its log on disk."""

import json
import shutil
from pathlib import Path

from accelerate import Accelerator

from ssmde_lib.errors import UserError
from ssmde_lib.files import write_text


def finish(folder: Path) -> None:
    """Drop the resumable state once the stage's outputs are written."""
    shutil.rmtree(folder / "state", ignore_errors=True)


def copy_networks(source: Path, folder: Path) -> list[dict]:
    """Copy the finished training (depth.safetensors, pose.safetensors) of `source`; return its log or None."""
    for name in ("depth.safetensors", "pose.safetensors"):
        if not (source / name).is_file():
            raise UserError(
                f"{source / name} does not exist: set load to the folder of a finished training, "
                "or leave it empty to train."
            )
        shutil.copy(source / name, folder)
    if (source / "train.jsonl").is_file():
        shutil.copy(source / "train.jsonl", folder)
        return read_log(folder / "train.jsonl")
    return []


def write_log(path: Path, log: list[dict]) -> None:
    write_text(path, "".join(json.dumps(record) + "\n" for record in log))


def read_log(path: Path) -> list[dict]:
    """The records of a train.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(accelerator: Accelerator, state: Path, step: int) -> None:
    """Full state into `state/<step>`.

    `step.json`, which names it, is written last, and the older state dropped then: one of them is always whole.
    """
    fresh = state / str(step)
    try:
        accelerator.save_state(str(fresh))
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_text(state / "step.json", json.dumps({"step": step}))
        for folder in state.iterdir():
            if folder.is_dir() and folder != fresh:
                shutil.rmtree(folder)
    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, state: Path, log_path: Path) -> tuple[int, list[dict]]:
    """(step, log) of an unfinished run, its state loaded; (0, []) where there is none."""
    marker = state / "step.json"
    if not marker.is_file():
        return 0, []
    step = json.loads(marker.read_text())["step"]
    accelerator.load_state(str(state / str(step)))
    return step, [record for record in read_log(log_path) if record["step"] <= step]
