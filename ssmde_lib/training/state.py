"""The resumable state of a training and its log on disk."""

import json
import math
import pickle
import shutil
import time
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor

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


def read_log(path: Path) -> list[dict]:
    """The records of a train.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Log:
    """The records of `train.jsonl`, and the sums of the loss terms since the last of them.

    It is saved with the networks, so that state and log are never apart; the file is a copy, written anew on resuming.
    """

    def __init__(self, path: Path):
        self.path, self.records = path, []
        self.sums: dict[str, Tensor | float] = {}
        self.summed, self.began = 0, time.perf_counter()

    def add(self, terms: dict[str, Tensor], share: float) -> None:
        """Add the terms of a micro-batch, of which one is the `share` of a step."""
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0) + term.detach() * share
        self.summed += share

    def close_record(self, step: int) -> dict:
        """The record of the steps since the last one, not yet in the file.

        It holds the mean of each term and the seconds since the training began.
        """
        record = {"step": step, **{name: float(value) / round(self.summed) for name, value in self.sums.items()}}
        check_finite(record)
        self.sums, self.summed = {}, 0
        self.records.append(record | {"seconds": round(time.perf_counter() - self.began, 2)})
        return self.records[-1]

    def write(self) -> None:
        """Replace the file as a whole, one JSON object a line."""
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in self.records))

    def state_dict(self) -> dict:
        """The records and the sums since the last one."""
        sums = {name: float(value) for name, value in self.sums.items()}
        seconds = time.perf_counter() - self.began
        return {"records": self.records, "sums": sums, "summed": self.summed, "seconds": seconds}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved log."""
        self.records, self.sums, self.summed = state["records"], state["sums"], state["summed"]
        self.began = time.perf_counter() - state["seconds"]


def check_finite(record: dict) -> None:
    """UserError where a loss term is not finite."""
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"loss term {bad[0]!r} is not finite before step {record['step']}: "
            "lower learning_rate or set precision to no."
        )


def save(accelerator: Accelerator, state: Path, step: int, settings: dict) -> None:
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
        write_text(state / "step.json", json.dumps({"step": step, "settings": settings}))
        for folder in state.iterdir():
            if folder.is_dir() and folder != fresh:
                shutil.rmtree(folder)
    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, state: Path, settings: dict) -> int:
    """The step of an unfinished run, its state loaded; 0 where there is none.

    Raises:
        UserError: the run had other settings, or its state does not load; nothing is changed.
    """
    marker = state / "step.json"
    if not marker.is_file():
        return 0
    way_out = f"run it with those, or remove {state} to begin anew"
    try:
        saved = json.loads(marker.read_text())
        before, step = saved["settings"], saved["step"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{marker} is damaged or of another version of this library: remove {state} to begin anew."
        ) from None
    changes = list_changes(before, json.loads(json.dumps(settings)))
    if changes:
        raise UserError(f"{state} holds an unfinished training of other settings ({'; '.join(changes)}): {way_out}.")
    try:
        accelerator.load_state(str(state / str(step)))
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        if "memory" in str(error):
            raise
        raise UserError(f"{state / str(step)} does not load ({error}): remove {state} to begin anew.") from None
    return step


def list_changes(before: dict, now: dict, group: str = "") -> list[str]:
    """Every setting in which two nested dictionaries differ, with both values."""
    changes = []
    for name in before | now:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += list_changes(old, new, f"{group}{name}.")
        elif old != new:
            changes.append(f"{group}{name} was {json.dumps(old)}, is {json.dumps(new)}")
    return changes
