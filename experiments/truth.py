"""Parts of the experiments that use the true depth or motion of an embedded world."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.data.layout import Clip
from ssmde_lib.geometry.motion import inverse
from ssmde_lib.training.schedule import Schedule, StepSampler

METRES = 20.0  # in a unit of depth and translation, since training centres the network's range on a few tenths


def true_motions(clip: Clip, tgt: int, sources: list[int]) -> Float[Tensor, "n 4 4"]:
    """T_src_tgt of each source frame, metres."""
    poses = torch.from_numpy(clip.poses).float()
    return inverse(poses[sources]) @ poses[tgt]


def fit(
    net: nn.Module, examples: int, schedule: Schedule, seed: int, loss_of: Callable[[int, list[int]], Tensor],
    after: Callable[[int], None] = lambda step: None,
) -> None:  # fmt: skip
    """Train `net` by `loss_of(step, indices of examples)`; `after(step)` is called when a step has been taken."""
    optimizer = torch.optim.Adam(net.parameters(), lr=schedule.learning_rate)
    for step, indices in enumerate(StepSampler(examples, schedule, seed)):
        loss = loss_of(step, indices)
        optimizer.param_groups[0]["lr"] = schedule.learning_rate_at(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after(step)
