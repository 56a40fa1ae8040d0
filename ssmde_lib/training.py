"""One explicit training loop for every stage, on `accelerate`: any device, autocast, several processes, resume.

All randomness is a function of (seed, step): the batch drawn, its augmentation, the pairs of the ranking loss. A run that
was killed and resumed therefore sees exactly what an undisturbed one would have seen.
"""

import dataclasses
import difflib
import json
import math
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator, notebook_launcher
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing import errors
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ssmde_lib.errors import UserError, clear_failures


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. The published recipe is `steps=100_000`, `batch_size` 4 or 8, `learning_rate=1e-4`."""

    steps: int = 1000  # optimiser steps
    batch_size: int = 6  # triplets a step, over all processes
    learning_rate: float = 1.5e-3  # Adam's, at its peak
    decay: str = "cosine"  # "constant", "step" (a tenth after three quarters, as Monodepth2), or "cosine"
    warmup: float = 0.2  # share of the training over which the depth network's rate rises; the motion must be right first
    accumulate: int = 1  # micro-batches a step
    precision: str = "no"  # "no", "bf16" or "fp16": autocast, where the device has it
    channels_last: bool = True  # memory format of the networks; on a CPU 7 % (width 64) to 20 % (width 24) faster
    compile: bool = False  # torch.compile the networks
    workers: int = 0  # loader processes
    log_every: int = 50  # steps between lines of train.jsonl
    save_every: int = 500  # steps between checkpoints of the full state

    def rate(self, step: int, warmed: bool = False) -> float:
        """Learning rate at a step, `warmed` with the warm-up: a function, so that a resumed run cannot restart it.

        While motion is still wrong, standing still explains the pixels best, and depth would run to infinity.
        """
        progress = step / self.steps
        decay = {"constant": 1.0, "step": 0.1 if progress >= 0.75 else 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
        rise = grown(progress, self.warmup) if warmed else 1.0
        return self.learning_rate * decay[self.decay] * rise


def grown(progress: float, warmup: float) -> float:
    """The share of its full value that something has which grows from 0 over the first `warmup` of the training; 1 without a warm-up."""
    return min(1.0, progress / warmup) if warmup else 1.0


def from_options(cls: type, options: dict):
    """Build a configuration dataclass; an unknown key is an error that names the nearest one."""
    known = [field.name for field in dataclasses.fields(cls)]
    for key in options:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, 1, 0)
            raise UserError(f"unknown option {key!r} of {cls.__name__}: did you mean {nearest[0]!r}?")
    return cls(**options)


def seeded(seed: int, step: int, device: torch.device, process: int = 0) -> torch.Generator:
    """The generator of one step of one process."""
    return torch.Generator(device=device).manual_seed((seed * 1_000_003 + step) * 1_009 + process)


class StepSampler:
    """Batches of indices, a function of (seed, step): epoch after epoch of permutations, cut into batches, from `start` on."""

    def __init__(self, size: int, schedule: Schedule, seed: int, start: int = 0, process: int = 0, processes: int = 1):
        if schedule.batch_size % (processes * schedule.accumulate):
            raise UserError(
                f"batch_size {schedule.batch_size} is not divisible by processes x accumulate ({processes} x {schedule.accumulate}): "
                "change one of them."
            )
        self.size, self.schedule, self.seed, self.start, self.process, self.processes = size, schedule, seed, start, process, processes

    def __len__(self) -> int:
        return (self.schedule.steps - self.start) * self.schedule.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        batch, micro = self.schedule.batch_size, self.schedule.batch_size // self.schedule.accumulate
        epoch, order = -1, []
        for step in range(self.start, self.schedule.steps):
            indices = []
            for position in range(step * batch, (step + 1) * batch):
                if position // self.size != epoch:
                    epoch = position // self.size
                    order = torch.randperm(self.size, generator=seeded(self.seed, epoch, torch.device("cpu")), device="cpu").tolist()
                indices.append(order[position % self.size])
            for first in range(0, batch, micro):
                yield indices[first : first + micro][self.process :: self.processes]


class Objective(Protocol):
    """What is minimised; it may keep a state that moves with the training (an averaged teacher)."""

    def __call__(self, model: nn.Module, batch: dict, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms whose sum is minimised."""

    def after_step(self, model: nn.Module, step: int) -> None: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


def train(
    model: nn.Module,
    objective: Objective,
    data: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    validate: Callable[[nn.Module], dict] | None = None,
    validate_every: int = 0,
    progress_bar: bool = True,
) -> list[dict]:
    """Train `model` in place and return the log, which also stands in `folder/train.jsonl`.

    `batch`, as the objective sees it, holds the items of `data` on the device. `folder/state` keeps the full state until the run ends; a run that finds one goes on from it.
    SIGTERM saves the state and raises UserError. So do running out of memory or disk, a loader worker that is lost, and a loss that is
    not finite; the next run then goes on from the last state saved.
    """
    accelerator = Accelerator(mixed_precision=schedule.precision, gradient_accumulation_steps=schedule.accumulate)
    if schedule.channels_last:
        model.to(memory_format=torch.channels_last)
    groups = [{"params": part.parameters(), "warmed": name == "depth_net"} for name, part in model.named_children()]
    optimizer = torch.optim.Adam(groups, lr=schedule.learning_rate, fused=True)
    with stop_signal() as stopped, clear_failures(folder, "batch_size or width, or raise accumulate", "run the stage again; it goes on from its last checkpoint"):
        prepared, optimizer = accelerator.prepare(torch.compile(model) if schedule.compile else model, optimizer)
        accelerator.register_for_checkpointing(objective)
        device, process = accelerator.device, accelerator.process_index
        state, log_path = folder / "state", folder / "train.jsonl"
        start, log = restore(accelerator, state, log_path)
        sampler = StepSampler(len(data), schedule, seed, start, process, accelerator.num_processes)
        loader = iter(DataLoader(data, batch_sampler=sampler, num_workers=schedule.workers, pin_memory=device.type == "cuda"))
        bar = tqdm(range(start, schedule.steps), disable=not (progress_bar and accelerator.is_main_process), mininterval=5, ncols=90)
        sums: dict[str, Tensor] = {}
        began = time.perf_counter()
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step, group["warmed"])
            generator = seeded(seed, step, device, process)
            for _ in range(schedule.accumulate):
                batch = {key: value.to(device, non_blocking=True) for key, value in next(loader).items()}
                with accelerator.accumulate(prepared):
                    terms = objective(prepared, batch, step / schedule.steps, generator)
                    accelerator.backward(sum(terms.values()))
                    optimizer.step()
                    optimizer.zero_grad()
                for name, term in terms.items():
                    sums[name] = sums.get(name, 0) + term.detach() / schedule.accumulate
            objective.after_step(model, step)
            done = step + 1
            logged = done % schedule.log_every == 0 or done == schedule.steps
            if logged:
                steps_logged = done - max(start, (done - 1) // schedule.log_every * schedule.log_every)
                record = {"step": done, **{name: value.item() / steps_logged for name, value in sums.items()}}
                check_finite(record)
                sums = {}
                record["seconds"] = round(time.perf_counter() - began, 2)
                if validate and validate_every and (done % validate_every == 0 or done == schedule.steps):
                    record |= validate(model)
                    model.train()
                log.append(record)
                if accelerator.is_main_process:
                    write_log(log_path, log)
                bar.set_postfix_str(f"loss {sum(v for k, v in record.items() if k in terms):.4f}")
            stop = must_stop(accelerator, stopped, logged)
            if stop or (done % schedule.save_every == 0 and done < schedule.steps):
                save(accelerator, state, done)
            if stop:
                raise UserError(f"stopped by SIGTERM after step {done}: the state is in {state}; run the stage again to go on.")
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return log


def finish(folder: Path) -> None:
    """Drop the resumable state once the stage's outputs are written."""
    shutil.rmtree(folder / "state", ignore_errors=True)


def copy_networks(source: Path, folder: Path) -> list[dict]:
    """Take over a finished training, `depth.safetensors` and `pose.safetensors` of the folder `source`, instead of training; return its log, if kept."""
    for name in ("depth.safetensors", "pose.safetensors"):
        if not (source / name).is_file():
            raise UserError(f"{source / name} does not exist: set load to the folder of a finished training, or leave it empty to train.")
        shutil.copy(source / name, folder)
    if (source / "train.jsonl").is_file():
        shutil.copy(source / "train.jsonl", folder)
        return read_log(folder / "train.jsonl")
    return []


def launch(function: Callable[[], object], processes: int) -> None:
    """Call `function` in several processes of this machine, one a GPU, through accelerate's `notebook_launcher`; a UserError of theirs is raised here.

    They are forks of this process, in which nothing may have used a GPU or an Accelerator before.
    """
    if 0 < torch.cuda.device_count() < processes:
        raise UserError(f"processes is {processes}, but this machine has {torch.cuda.device_count()} GPUs: ask for no more than these.")

    @errors.record  # leaves the error's message for the parent
    def alone() -> None:
        torch.set_num_threads(1)  # OpenMP does not survive a fork
        function()

    try:
        # A rendezvous of its own on a free port: two trainings on one machine never meet.
        notebook_launcher(alone, (), processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", rdzv_id=uuid.uuid4().hex)
    except SignalException:
        raise UserError("stopped by a signal, the state is saved: run the stage again to go on.") from None
    except errors.ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = failure.message["message"] if isinstance(failure.message, dict) else failure.message
        kind, _, sentence = said.partition(": ")
        if kind == "UserError":
            raise UserError(sentence) from None
        if failure.exitcode < 0:
            raise UserError(f"process {rank} of the training was lost ({said}): run the stage again; it goes on from its last checkpoint.") from None
        raise


def write_log(path: Path, log: list[dict]) -> None:
    write_whole(path, "".join(json.dumps(record) + "\n" for record in log))


def write_whole(path: Path, text: str) -> None:
    """Write atomically: where the disk is full, the old file stays."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.replace(path)


def read_log(path: Path) -> list[dict]:
    """The records of a train.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(accelerator: Accelerator, state: Path, step: int) -> None:
    """Full state into `state/<step>`; `step.json`, which names it, is written last, and the older state dropped then: one of them is always whole."""
    fresh = state / str(step)
    try:
        accelerator.save_state(str(fresh))
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_whole(state / "step.json", json.dumps({"step": step}))
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


def check_finite(record: dict) -> None:
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        raise UserError(f"loss term {bad[0]!r} is not finite before step {record['step']}: lower learning_rate or set precision to no.")


def must_stop(accelerator: Accelerator, stopped: threading.Event, logged: bool) -> bool:
    """Whether SIGTERM has come, to any of the processes: they stop at the same step, and ask each other where the log makes them wait anyway."""
    if accelerator.num_processes == 1:
        return stopped.is_set()
    if stopped.is_set():
        accelerator.set_trigger()
    return logged and accelerator.check_trigger()


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets (main thread only: elsewhere Python allows no handlers)."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
