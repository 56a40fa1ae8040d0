"""Shared by the benchmarks that teach a network by an embedded world's truth: a plain training loop, and the unit of translation."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ssmde_lib.training import Schedule, StepSampler

METRES = 20.0  # of a unit of depth and translation, as it comes out in training: the network's range is centred on a few tenths


def fit(net: nn.Module, examples: int, schedule: Schedule, seed: int, loss_of: Callable[[int, list[int]], Tensor]) -> Iterator[int]:
    """Trains `net` by `loss_of(step, indices of examples)`; yields every step that has been taken."""
    optimizer = torch.optim.Adam(net.parameters(), lr=schedule.learning_rate)
    for step, indices in enumerate(StepSampler(examples, schedule, seed)):
        loss = loss_of(step, indices)
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step
