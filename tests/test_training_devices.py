"""The loop on devices: every tensor names its device, and several processes learn what one learns."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import PRIOR, TINY, Moving
from torch.overrides import TorchFunctionMode

from ssmde_lib.losses.config import Losses
from ssmde_lib.training.batch import prepare_batch
from ssmde_lib.training.objective import Objective


class DeviceRule(TorchFunctionMode):
    """Rejects tensor factories without an explicit device, and .cuda() and .cpu()."""

    FACTORIES = (
        "tensor",
        "zeros",
        "ones",
        "full",
        "empty",
        "rand",
        "randn",
        "randint",
        "randperm",
        "arange",
        "linspace",
        "eye",
    )
    RULED = frozenset(getattr(torch, name) for name in FACTORIES)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert function not in self.RULED or "device" in kwargs, f"torch.{function.__name__} without a device"
        assert function not in (torch.Tensor.cuda, torch.Tensor.cpu), f".{function.__name__}() in a training step"
        return function(*args, **kwargs)


STEPS = {
    "teacher": Losses(**PRIOR, ssi=0.1, ceiling=0.1, region="static", keep_dynamic=True),
    "direct_pose": Losses(direct_pose_iterations=2),
    "ema": Losses(distillation=1.0, teacher="ema", filter="prior_order", distillation_kind="log_l1"),
    "neighbours": Losses(multi_resolution=0.1, successive=0.1, photometric_scales=1),
}


def batch_of(data):
    """Two prepared items."""
    items = torch.utils.data.default_collate([data[i] for i in range(2)])
    return prepare_batch(items, torch.Generator(device="cpu").manual_seed(0))


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (64, 224)])
def test_half_the_resolution_is_one_that_the_network_takes(size):
    batch = batch_of(Moving(2, *size))
    objective = Objective(STEPS["neighbours"], model := TINY.build(0))
    assert objective(model, batch, 0.5, torch.Generator(device="cpu").manual_seed(0))["photometric_half"].isfinite()


@pytest.mark.parametrize("name", STEPS)
def test_every_factory_in_a_step_names_its_device(name):
    model = TINY.build(0)
    objective = Objective(STEPS[name], model)
    batch = batch_of(Moving())
    generator = torch.Generator(device="cpu").manual_seed(0)
    with DeviceRule():
        loss = sum(objective(model, batch, 0.5, generator).values())
        loss.backward()
        objective.after_step(model, 0)
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.pose_net.parameters())


def test_the_device_rule_notices(tmp_path):
    with DeviceRule(), pytest.raises(AssertionError, match="without a device"):
        torch.zeros(1)


TWO_PROCESSES = """
import os, signal, sys, torch
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import Moving, TINY, Losses, Objective, Schedule, UserError, as_they_are, train, weights
from ssmde_lib.training.processes import launch

class Plain(Objective):
    def __call__(self, model, batch, progress, generator):
        model.eval()
        out = model(batch["tgt"] / 255, batch["prev"] / 255, batch["next"] / 255, source_depths=False)
        motion = sum(T.square().sum((1, 2)).mean() for T in (out.T["prev"], out.T["next"]))
        return {{"mean": sum(d.mean() for d in out.disparities) + motion}}

class Stopped(Plain):
    def after_step(self, model, step):
        if step == 0 and os.environ["RANK"] == "1":  # one of them alone is told to stop
            os.kill(os.getpid(), signal.SIGTERM)

def job(objective, name):
    folder = Path(sys.argv[1]) / name
    folder.mkdir(exist_ok=True)
    model = TINY.build(0)
    schedule = Schedule(steps=2, batch_size=4, log_every=1, save_every=9)
    options = dict(folder=folder, prepare=as_they_are, progress_bar=False)
    train(model, objective(Losses(), model), Moving(), schedule, seed=0, **options)
    torch.save(weights(model), folder / "weights.pt")

"""


def run_job(tmp_path, last_line: str, *words: str) -> None:
    script = tmp_path / "job.py"
    script.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent)) + last_line)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, *words, script, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_learn_what_one_learns(tmp_path):
    """Two CPU processes (gloo) give the gradients of one process on the joined batch.

    They start through `accelerate launch`, and as a notebook starts them.
    """
    options = [
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
    ]
    run_job(tmp_path, "job(Plain, 'shell')", "-m", "accelerate.commands.launch", *options)
    run_job(
        tmp_path,
        """
launch(partial(job, Plain, "notebook"), 2)
try:
    launch(partial(job, Stopped, "stopped"), 2)
except UserError as error:
    (Path(sys.argv[1]) / "said").write_text(error.message)
launch(partial(job, Plain, "stopped"), 2)
job(Plain, "alone")
""",
    )
    alone, *others = (
        torch.load(tmp_path / name / "weights.pt", weights_only=True)
        for name in ("alone", "shell", "notebook", "stopped")
    )
    for other in others:
        torch.testing.assert_close(alone, other, atol=2e-5, rtol=0)
    assert "stopped by SIGTERM after step 1" in (tmp_path / "said").read_text()
