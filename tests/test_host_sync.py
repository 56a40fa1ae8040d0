"""No training step waits for the device: the host only queues work, and reads values where the log is written.

On the CPU the calls are counted that would wait on a GPU; on a GPU torch itself tells (`make gpu-check`).
"""

import itertools
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ssmde_lib.losses.config import Losses
from ssmde_lib.training.batch import prepare_batch
from ssmde_lib.training.schedule import Schedule
from tests.test_training import PRIOR, Moving, run
from tests.test_training_devices import STEPS

aten = torch.ops.aten
# Values read (float, int, bool, item), results whose size depends on values, and factorisations that check for success.
WAITING = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._linalg_check_errors, aten.equal, aten._unique2,
}  # fmt: skip
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
# Numbers of the host made a tensor of the device, or the other way round: both are copies that are waited for.
COPYING = {torch.tensor, torch.as_tensor, torch.Tensor.new_tensor, torch.Tensor.tolist, torch.Tensor.numpy}

FULL = Losses(**PRIOR, log_ratio=0.1, ceiling=0.1, keep_dynamic=True, distillation=0.5, direct_pose_iterations=2)
LOSSES = STEPS | {
    "base": Losses(),
    "full": replace(FULL, direct_pose_from=0.0),
    "l1": Losses(distillation=1.0, distillation_kind="l1"),
    "one_scale": Losses(pyramid=False, automask=False),
}
# The order of each rejected pixel to the accepted ones: their number is known to the device alone.
JUSTIFIED = {"ema": {"nonzero": 2}}  # images


class Labelled(Moving):
    """With a teacher's label."""

    def __getitem__(self, i):
        label = {"teacher_depth": self.relative_depth[i] + 1, "teacher_mask": self.relative_depth[i] > 1.3}
        return super().__getitem__(i) | label


class Waits(ExitStack):
    """Counts what would wait for a device, by name, from the second step's batch to its end."""

    def __init__(self):
        super().__init__()
        self.counts: dict[str, int] = {}
        self.steps = itertools.count(1)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def prepare(self, items, generator):
        if next(self.steps) == 2:
            self.enter_context(Dispatched(self.count))
            self.enter_context(Called(self.count))
        return prepare_batch(items, generator)

    def watch(self, model, records, step):
        self.close()


class Dispatched(TorchDispatchMode):
    def __init__(self, count):
        super().__init__()
        self.count_one = count

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        masks = (torch.bool, torch.uint8)
        by_mask = function.overloadpacket in INDEXING and any(i is not None and i.dtype in masks for i in args[1])
        if function.overloadpacket in WAITING or by_mask:
            self.count_one(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    def __init__(self, count):
        super().__init__()
        self.count_one = count

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in COPYING:
            self.count_one(function.__name__)
        return function(*args, **(kwargs or {}))


SCHEDULE = Schedule(steps=3, batch_size=2, log_every=3)


@pytest.mark.parametrize("name", LOSSES)
def test_no_step_waits_for_the_device(name, tmp_path):
    waits = Waits()
    run(tmp_path, SCHEDULE, LOSSES[name], data=Labelled(), prepare=waits.prepare, watch=waits.watch)
    assert waits.counts == JUSTIFIED.get(name, {})


READERS = [float, bool, torch.Tensor.item, torch.Tensor.tolist, lambda x: x[x > 0], lambda x: x.new_tensor(1.0)]


@pytest.mark.parametrize("read", READERS)
def test_what_waits_is_counted(read):
    waits = Waits()
    with Dispatched(waits.count), Called(waits.count):
        read(torch.ones((), device="cpu"))
    assert sum(waits.counts.values()) == 1


def test_what_waits_in_the_backward_pass_is_counted():
    waits, x = Waits(), torch.ones((), requires_grad=True, device="cpu")
    x.register_hook(lambda gradient: gradient * gradient.item())
    with Dispatched(waits.count):
        (2 * x).backward()
    assert waits.counts == {"_local_scalar_dense": 1}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in JUSTIFIED])
def test_no_step_waits_on_a_gpu(name, precision, tmp_path):
    AcceleratorState._reset_state()  # one process otherwise has one precision
    steps = itertools.count(1)

    def prepare(items, generator):
        if next(steps) == 2:
            torch.cuda.set_sync_debug_mode("error")
        return prepare_batch(items, generator)

    def watch(model, records, step):
        torch.cuda.set_sync_debug_mode("default")

    try:
        run(
            tmp_path,
            replace(SCHEDULE, precision=precision),
            LOSSES[name],
            data=Labelled(),
            prepare=prepare,
            watch=watch,
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
