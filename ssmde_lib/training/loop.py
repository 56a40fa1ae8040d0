"""One explicit training loop for every stage, on `accelerate`: any device, autocast, several processes, resume.

All randomness is a function of (seed, step): the batch drawn, its augmentation, the pairs of the ranking loss. A run
that was killed and resumed therefore sees exactly what an undisturbed one would have seen.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ssmde_lib.data.resident import resident
from ssmde_lib.errors import UserError, translate_errors
from ssmde_lib.training.batch import Batch, prepare_batch
from ssmde_lib.training.schedule import Schedule, StepSampler, seeded
from ssmde_lib.training.state import Log, restore, save


@runtime_checkable
class TrainingObjective(Protocol):
    """What is minimised; it may keep a state that moves with the training (an averaged teacher)."""

    def __call__(
        self, model: nn.Module, batch: Batch, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Named loss terms whose sum is minimised."""
        ...

    def after_step(self, model: Any, step: int) -> None:
        """Called after every optimiser step."""

    def state_dict(self) -> dict:
        """What a resumed run needs."""
        ...

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""


def train(
    model: nn.Module,
    objective: TrainingObjective,
    data: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    prepare: Callable[[dict[str, Tensor], torch.Generator], Batch] = prepare_batch,
    settings: dict | None = None,
    validate: Callable[[Any], dict] | None = None,
    validate_every: int = 0,
    watch: Callable[[Any, list[dict], int], None] | None = None,
    progress_bar: bool = True,
) -> list[dict]:
    """Train `model` in place and return the log, which is also written to `folder/train.jsonl`.

    The objective sees the items of `data` as `prepare` makes them. `folder/state` keeps the full state until the run
    ends; a run that finds one goes on from it. `settings` is what else the result depends on, as JSON.
    `watch(model, records, steps_done)` is called after every step, in place of the progress bar.

    Raises:
        UserError: SIGTERM or Ctrl-C came, and the state is saved; memory or disk ran out, a loader worker was lost or a
            loss is not finite, where the next run goes on from the last state saved; the state has other settings.
    """
    accelerator = Accelerator(mixed_precision=schedule.precision, gradient_accumulation_steps=schedule.accumulate)
    optimizer = make_optimizer(model, schedule)
    settings = {"schedule": schedule.that_matter(), "seed": seed, **(settings or {})}
    again = "run the stage again; it goes on from its last checkpoint"
    with stop_signals() as stopped, translate_errors(folder, "batch_size or width, or raise accumulate", again):
        prepared, optimizer = accelerator.prepare(torch.compile(model) if schedule.compile else model, optimizer)
        state, log = folder / "state", Log(folder / "train.jsonl")
        accelerator.register_for_checkpointing(objective, log)
        start = restore(accelerator, state, settings)
        saved = time.perf_counter()
        items = load_items(accelerator, data, schedule, seed, start)
        show = progress_bar and watch is None and accelerator.is_main_process
        for step in (bar := tqdm(range(start, schedule.steps), disable=not show, mininterval=5, ncols=90)):
            set_learning_rate(optimizer, schedule, step)
            generator = seeded(seed, step, accelerator.device, accelerator.process_index)
            for _ in range(schedule.accumulate):
                batch = prepare(next(items), generator)
                with minimised(accelerator, prepared, optimizer) as terms:
                    terms.update(objective(prepared, batch, step / schedule.steps, generator))
                log.add(terms, 1 / schedule.accumulate)
            objective.after_step(model, step)
            done = step + 1
            logged = done % schedule.log_every == 0 or done == schedule.steps
            if logged:
                record = log.close_record(done)
                bar.set_postfix_str(f"loss {sum(record[name] for name in terms):.4f}")
                if validate and validate_every and (done % validate_every == 0 or done == schedule.steps):
                    record |= validate(model)
                    model.train()
            if watch and accelerator.is_main_process:
                watch(model, log.records, done)
            due = time.perf_counter() - saved > schedule.save_seconds
            stop, due = agree(accelerator, (bool(stopped), due), logged)
            if done < schedule.steps and (stop or due or done % schedule.save_every == 0):
                save(accelerator, state, done, settings)
                saved = time.perf_counter()
            if logged and accelerator.is_main_process:
                log.write()
            if stop and done < schedule.steps:
                why = stopped[0] if stopped else "SIGTERM"  # which another process received
                raise UserError(f"stopped by {why} after step {done}: the state is in {state}; {again}.")
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return log.records


def make_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Adam:
    """Adam with a group for each network; the depth network's learning rate is warmed up."""
    if schedule.channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] not in the stub
    groups = [{"params": part.parameters(), "warmed": name == "depth_net"} for name, part in model.named_children()]
    return torch.optim.Adam(groups, lr=schedule.learning_rate, fused=True)


def set_learning_rate(optimizer, schedule: Schedule, step: int) -> None:
    """The schedule's learning rate of every group at this step."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate_at(step, group["warmed"])


@contextmanager
def minimised(accelerator: Accelerator, model: nn.Module, optimizer) -> Iterator[dict[str, Tensor]]:
    """Follow the gradient of the sum of the terms that the block puts in; a step where all gradients are there."""
    terms = {}
    with accelerator.accumulate(model):
        yield terms
        accelerator.backward(sum(terms.values()))
        optimizer.step()
        optimizer.zero_grad()


def load_items(
    accelerator: Accelerator, data: Dataset, schedule: Schedule, seed: int, start: int
) -> Iterator[dict[str, Tensor]]:
    """The collated items of the micro-batches of this process from step `start` on, on its device.

    A data set that fits stays there; of another one the items are loaded, and copied while the device computes.
    """
    device, process = accelerator.device, accelerator.process_index
    count = len(data)  # pyright: ignore[reportArgumentType] torch types its map-style data sets without a length
    sampler = StepSampler(count, schedule, seed, start, process, accelerator.num_processes)
    if there := resident(data, device):
        yield from map(there.__getitem__, sampler)
        return
    pinned = device.type == "cuda"
    for batch in DataLoader(data, batch_sampler=sampler, num_workers=schedule.workers, pin_memory=pinned):
        yield {key: value.to(device, non_blocking=True) for key, value in batch.items()}


def agree(accelerator: Accelerator, flags: tuple[bool, ...], logged: bool) -> list[bool]:
    """Which flags are raised in any of the processes: they act at the same step.

    The processes ask each other where the log makes them wait anyway.
    """
    if accelerator.num_processes == 1:
        return list(flags)
    if not logged:
        return [False] * len(flags)
    raised: Any = accelerator.reduce(torch.tensor(flags, dtype=torch.float32, device=accelerator.device))
    return (raised > 0).tolist()


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """A list that SIGTERM or Ctrl-C puts its name into; a second Ctrl-C acts as before.

    SIGTERM may come several times: a cluster sends it to every process of a job, and `ssmde run` passes it on. Only in
    the main thread: elsewhere Python allows no handlers.
    """
    stopped: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number, frame):
        stopped.append({signal.SIGINT: "Ctrl-C"}.get(number, signal.Signals(number).name))
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
