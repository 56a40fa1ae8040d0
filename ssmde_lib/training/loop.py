"""One explicit training loop for every stage, on `accelerate`: any device, autocast, several processes, resume.

All randomness is a function of (seed, step): the batch drawn, its augmentation, the pairs of the ranking loss. A run
that was killed and resumed therefore sees exactly what an undisturbed one would have seen.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ssmde_lib.errors import UserError, translate_errors
from ssmde_lib.training.batch import Batch, prepare_batch
from ssmde_lib.training.schedule import Schedule, StepSampler, seeded
from ssmde_lib.training.state import restore, save, write_log


class TrainingObjective(Protocol):
    """What is minimised; it may keep a state that moves with the training (an averaged teacher)."""

    def __call__(
        self, model: nn.Module, batch: Batch, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Named loss terms whose sum is minimised."""

    def after_step(self, model: nn.Module, step: int) -> None: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


def train(
    model: nn.Module,
    objective: TrainingObjective,
    data: Dataset,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    prepare: Callable[[dict[str, Tensor], torch.Generator], Batch] = prepare_batch,
    validate: Callable[[nn.Module], dict] | None = None,
    validate_every: int = 0,
    progress_bar: bool = True,
) -> list[dict]:
    """Train `model` in place and return the log, which is also written to `folder/train.jsonl`.

    The objective sees the items of `data` as `prepare` makes them. `folder/state` keeps the full state until the run
    ends; a run that finds one goes on from it. SIGTERM saves the state and raises UserError. So do running out of
    memory or disk, a loader worker that is lost, and a loss that is not finite; the next run then goes on from the last
    state saved.
    """
    accelerator = Accelerator(mixed_precision=schedule.precision, gradient_accumulation_steps=schedule.accumulate)
    if schedule.channels_last:
        model.to(memory_format=torch.channels_last)
    groups = [{"params": part.parameters(), "warmed": name == "depth_net"} for name, part in model.named_children()]
    optimizer = torch.optim.Adam(groups, lr=schedule.learning_rate, fused=True)
    with (
        stop_signal() as stopped,
        translate_errors(
            folder,
            "batch_size or width, or raise accumulate",
            "run the stage again; it goes on from its last checkpoint",
        ),
    ):
        prepared, optimizer = accelerator.prepare(torch.compile(model) if schedule.compile else model, optimizer)
        accelerator.register_for_checkpointing(objective)
        device, process = accelerator.device, accelerator.process_index
        state, log_path = folder / "state", folder / "train.jsonl"
        start, log = restore(accelerator, state, log_path)
        sampler = StepSampler(len(data), schedule, seed, start, process, accelerator.num_processes)
        loader = iter(
            DataLoader(data, batch_sampler=sampler, num_workers=schedule.workers, pin_memory=device.type == "cuda")
        )
        bar = tqdm(
            range(start, schedule.steps),
            disable=not (progress_bar and accelerator.is_main_process),
            mininterval=5,
            ncols=90,
        )
        sums: dict[str, Tensor] = {}
        began = time.perf_counter()
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate_at(step, group["warmed"])
            generator = seeded(seed, step, device, process)
            for _ in range(schedule.accumulate):
                items = {key: value.to(device, non_blocking=True) for key, value in next(loader).items()}
                batch = prepare(items, generator)
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
                raise UserError(
                    f"stopped by SIGTERM after step {done}: the state is in {state}; run the stage again to go on."
                )
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return log


def check_finite(record: dict) -> None:
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
        raise UserError(
            f"loss term {bad[0]!r} is not finite before step {record['step']}: "
            "lower learning_rate or set precision to no."
        )


def must_stop(accelerator: Accelerator, stopped: threading.Event, logged: bool) -> bool:
    """Whether any of the processes has got SIGTERM: they stop at the same step.

    The processes ask each other where the log makes them wait anyway.
    """
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
