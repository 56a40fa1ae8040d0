"""How long and how fast to train, and the randomness of every step as a function of (seed, step)."""

import dataclasses
import math
from collections.abc import Iterator

import torch

from ssmde_lib.errors import UserError

NO_EFFECT = ("log_every", "save_every", "save_seconds", "workers")  # fields on which results do not depend
CHOICES = {"decay": ("constant", "step", "cosine"), "precision": ("no", "bf16", "fp16")}
LEAST = dict.fromkeys(("steps", "batch_size", "accumulate", "log_every", "save_every"), 1)
LEAST |= dict.fromkeys(("workers", "save_seconds", "warmup"), 0)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    The published recipe is `steps=100_000`, `batch_size` 4 or 8, `learning_rate=1e-4`.
    """

    steps: int = 1000  # optimiser steps
    batch_size: int = 6  # triplets a step, over all processes
    learning_rate: float = 1.5e-3  # Adam's, at its peak
    decay: str = "cosine"  # "constant", "step" (a tenth after three quarters, as Monodepth2), or "cosine"
    # Share of the training over which the depth network's rate rises; the motion must be right first.
    warmup: float = 0.2
    accumulate: int = 1  # micro-batches a step
    precision: str = "no"  # "no", "bf16" or "fp16": autocast, where the device has it
    channels_last: bool = True  # memory format of the networks; on a CPU 7 % (width 64) to 20 % (width 24) faster
    compile: bool = False  # torch.compile the networks
    workers: int = 0  # loader processes
    log_every: int = 50  # steps between lines of train.jsonl
    save_every: int = 500  # steps between checkpoints of the full state
    save_seconds: float = 60.0  # a checkpoint is also due so long after the last one

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(choices)}.")
        for name, least in LEAST.items():
            if not getattr(self, name) >= least:
                raise UserError(f"{name} is {getattr(self, name)}: give {least:g} or more.")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate is {self.learning_rate}: give a positive number, such as 1.5e-3.")
        if not self.warmup <= 1:
            raise UserError(f"warmup is {self.warmup}: it is a share of the training, from 0 to 1.")

    def that_matter(self) -> dict:
        """The fields on which the result depends."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in NO_EFFECT}

    def learning_rate_at(self, step: int, warmed: bool = False) -> float:
        """Learning rate at a step, `warmed` with the warm-up: a function, so that a resumed run cannot restart it.

        While motion is still wrong, standing still explains the pixels best, and depth would run to infinity.
        """
        progress = step / self.steps
        decay = {
            "constant": 1.0,
            "step": 0.1 if progress >= 0.75 else 1.0,
            "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        }
        rise = linear_ramp(progress, self.warmup) if warmed else 1.0
        return self.learning_rate * decay[self.decay] * rise


def linear_ramp(progress: float, warmup: float) -> float:
    """The share of its full value that something has which grows from 0 over the first `warmup` of the training.

    1 without a warm-up.
    """
    return min(1.0, progress / warmup) if warmup else 1.0


def seeded(seed: int, step: int, device: torch.device, process: int = 0) -> torch.Generator:
    """The generator of one step of one process."""
    return torch.Generator(device=device).manual_seed((seed * 1_000_003 + step) * 1_009 + process)


class StepSampler:
    """Batches of indices, a function of (seed, step).

    Each epoch is a permutation, cut into batches; `start` is the first batch.
    """

    def __init__(self, size: int, schedule: Schedule, seed: int, start: int = 0, process: int = 0, processes: int = 1):
        if schedule.batch_size % (processes * schedule.accumulate):
            raise UserError(
                f"batch_size {schedule.batch_size} is not divisible by processes x accumulate ({processes} x "
                f"{schedule.accumulate}): "
                "change one of them."
            )
        self.size, self.schedule, self.seed, self.start, self.process, self.processes = (
            size,
            schedule,
            seed,
            start,
            process,
            processes,
        )

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
                    order = torch.randperm(
                        self.size, generator=seeded(self.seed, epoch, torch.device("cpu")), device="cpu"
                    ).tolist()
                indices.append(order[position % self.size])
            for first in range(0, batch, micro):
                yield indices[first : first + micro][self.process :: self.processes]
