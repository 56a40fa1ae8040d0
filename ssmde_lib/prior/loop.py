"""The training loop of the priors: one cycle of the learning rate, a moving average of the weights."""

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ssmde_lib.errors import translate_errors

PEAK_RATE = 1e-3


@runtime_checkable
class Shape(Protocol):
    """Training and held-out views of one shape."""

    def __len__(self) -> int:
        """How many training views there are."""
        ...

    def loss(self, net: Any, /, indices: Tensor, device: str) -> dict[str, Tensor]:
        """Losses of a batch of training views, their weighted sum as `loss`."""
        ...

    def errors(self, net: Any, /, device: str) -> Iterator[float]:
        """AbsRel of each held-out view after median scaling."""
        ...


@translate_errors("the weights", "the batch", "run it again")
def fit(
    build: Callable[[], nn.Module],
    shapes: Sequence[Shape],
    steps: int,
    batch: int,
    seed: int,
    device: str,
    keep: Callable[[nn.Module, list[dict]], None] | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train the network that `build` returns, by AdamW and one cycle of the learning rate.

    Args:
        shapes: they take turns, a batch each.
        keep: called with the network and its curve ten times on the way.

    Returns:
        The moving average of the network's weights, and the curve: losses, at every fourth entry the held-out error.
    """
    torch.manual_seed(seed)
    net = build().train()
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] not in the stub
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, steps, pct_start=0.05)
    curve, sums, every = [], {}, max(steps // 40, 1)
    orders = [endless_permutations(len(views), batch, seed) for views in shapes]
    for step in (bar := tqdm(range(1, steps + 1), desc="training", mininterval=10)):
        views, order = shapes[step % len(shapes)], orders[step % len(shapes)]
        losses = views.loss(net, next(order), device)
        optimizer.zero_grad()
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        sums = {key: sums.get(key, 0.0) + float(value.detach()) for key, value in losses.items()}
        if step % every == 0:
            curve.append({"step": step, **{key: round(value / every, 4) for key, value in sums.items()}})
            if step % (4 * every) == 0:
                curve[-1]["held_out"] = round(held_out_error(average.module, shapes, device), 4)
                if keep:
                    keep(average.module, curve)
            bar.set_postfix(curve[-1])
            sums = {}
    return average.module.eval(), curve


def endless_permutations(count: int, batch: int, seed: int):
    """Batches of indices, every view once an epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator, device="cpu").split(batch)[: max(count // batch, 1)]


def held_out_error(net: nn.Module, shapes: Sequence[Shape], device: str) -> float:
    """AbsRel on held-out mixture views of all shapes after median scaling."""
    net.eval()
    return mean([error for views in shapes for error in views.errors(net, device)])


def abs_rel(predicted: Tensor, depths: Tensor) -> Iterator[float]:
    """AbsRel of each depth map after median scaling, at the size of the truth; maps that are all sky are left out."""
    predicted = nn.functional.interpolate(predicted, depths.shape[-2:], mode="bilinear", align_corners=False)
    for depth, truth in zip(predicted, depths, strict=True):
        known = truth.isfinite()
        if known.any():
            ratio = depth[known] / truth[known]
            yield float((ratio / ratio.median() - 1).abs().mean())
