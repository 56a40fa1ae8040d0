"""The loop: a function of the seed, resumable to the bit, the same over several processes, and placing every tensor by device."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ssmde_lib.errors import UserError
from ssmde_lib.objective import Losses, Objective
from ssmde_lib.stages import Architecture
from ssmde_lib.training import Schedule, StepSampler, from_options, read_log, train

TINY = Architecture(width=8, pose_width=8)
PRIOR = {"ranking": 0.1, "normal": 0.1, "edge_normal": 0.1}
TEACHER = Losses(**PRIOR)


class Moving(torch.utils.data.Dataset):
    """A random texture that slides by two pixels a frame."""

    def __init__(self, items=6, height=64, width=64):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(items, 3, height // 4, (width + 8) // 4, generator=generator)
        image = torch.nn.functional.interpolate(coarse, (height, width + 8), mode="bicubic").clamp(0, 1)
        self.frames = {n: (255 * image[..., x : x + width]).byte() for n, x in {"prev": 2, "tgt": 4, "next": 6}.items()}
        self.relative_depth = 1 + torch.rand(items, 1, height, width, generator=generator)
        self.K = torch.tensor([[50.0, 0, (width - 1) / 2], [0, 50, (height - 1) / 2], [0, 0, 1]])

    def __len__(self):
        return len(self.relative_depth)

    def __getitem__(self, i):
        return {**{n: f[i] for n, f in self.frames.items()}, "K": self.K, "relative_depth": self.relative_depth[i]}


def run(folder, schedule, losses=TEACHER, seed=0, data=None, model=None, objective=None):
    folder.mkdir(parents=True, exist_ok=True)
    model = model or TINY.build(seed)
    log = train(model, objective or Objective(losses, model), data or Moving(), schedule, seed=seed, folder=folder, progress_bar=False)
    return model, log


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


SHORT = Schedule(steps=4, batch_size=2, log_every=1, save_every=100)


def test_one_seed_gives_one_result(tmp_path):
    first, second = (weights(run(tmp_path / name, SHORT)[0]) for name in "ab")
    other = weights(run(tmp_path / "c", SHORT, seed=1)[0])
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("losses", [TEACHER, Losses(distillation=1.0, teacher="ema")], ids=["prior", "ema"])
def test_a_killed_run_resumes_to_the_same_result(tmp_path, losses):
    whole, log = run(tmp_path / "whole", SHORT, losses)

    class Killed(Objective):
        def after_step(self, model, step):
            super().after_step(model, step)
            if step == 2:
                raise KeyboardInterrupt

    saving = Schedule(steps=4, batch_size=2, log_every=1, save_every=2)
    model = TINY.build(0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", saving, losses, model=model, objective=Killed(losses, model))
    resumed, resumed_log = run(tmp_path / "killed", saving, losses)
    assert torch.equal(weights(whole), weights(resumed))
    strip = [{k: v for k, v in r.items() if k != "seconds"} for r in log]
    assert strip == [{k: v for k, v in r.items() if k != "seconds"} for r in resumed_log]


def test_sigterm_saves_and_says_so(tmp_path):
    class Terminated(Objective):
        def after_step(self, model, step):
            if step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    model = TINY.build(0)
    with pytest.raises(UserError, match="after step 2: .* run the stage again"):
        run(tmp_path, SHORT, model=model, objective=Terminated(Losses(), model))
    assert (tmp_path / "state" / "step.json").read_text() == '{"step": 2}'
    assert len(read_log(tmp_path / "train.jsonl")) == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_teacher_can_be_copied_in_mid_training(tmp_path):
    copies = []

    class Copying(Objective):
        def after_step(self, model, step):
            copies.append(copy.deepcopy(model))

    model = TINY.build(0)
    run(tmp_path, SHORT, model=model, objective=Copying(TEACHER, model))
    assert torch.equal(weights(copies[-1]), weights(model))
    assert not torch.equal(weights(copies[0]), weights(model))


def test_a_loss_that_is_not_finite_stops_with_its_name(tmp_path):
    class Broken(Objective):
        def __call__(self, model, *rest):
            return {"photometric": weights(model).sum() * 0, "ranking": next(model.parameters()).sum() * torch.nan}

    model = TINY.build(0)
    with pytest.raises(UserError, match="'ranking' is not finite"):
        train(model, Broken(Losses(), model), Moving(), SHORT, seed=0, folder=tmp_path, progress_bar=False)


@pytest.mark.parametrize(("error", "sentence"), [(torch.OutOfMemoryError(), "lower batch_size"), (OSError(28, "full"), "no space left")])
def test_exhausted_resources_are_one_sentence(tmp_path, error, sentence):
    class Exhausted(Objective):
        def __call__(self, *rest):
            raise error

    model = TINY.build(0)
    with pytest.raises(UserError, match=sentence):
        run(tmp_path, SHORT, model=model, objective=Exhausted(Losses(), model))


def test_gradient_accumulation_sums_to_the_whole_batch(tmp_path):
    """Without batch statistics and per-batch minima, two micro-batches are one batch."""

    class Plain(Objective):
        def __call__(self, model, batch, progress, generator):
            model.eval()
            return {"mean": model.depth_net(batch["tgt"] / 255)[0].mean() + model.pose_net(batch["tgt"] / 255, batch["next"] / 255).sum(1).mean()}

    def gradients(accumulate):
        model, sums = TINY.build(0), {}
        for name, parameter in model.named_parameters():
            parameter.register_hook(lambda g, name=name: sums.update({name: sums.get(name, 0) + g}))
        schedule = Schedule(steps=1, batch_size=4, accumulate=accumulate, log_every=1, save_every=100)
        run(tmp_path / str(accumulate), schedule, model=model, objective=Plain(Losses(), model))
        return sums

    whole, halves = gradients(1), gradients(2)
    torch.testing.assert_close(whole, halves, atol=1e-6, rtol=1e-4)
    assert max(g.abs().max() for g in whole.values()) > 1e-2


def test_step_sampler_covers_every_epoch_whatever_the_start():
    schedule = Schedule(steps=9, batch_size=4)
    whole = list(StepSampler(6, schedule, seed=3))
    stream = [i for batch in whole for i in batch]
    assert all(sorted(stream[e : e + 6]) == list(range(6)) for e in range(0, 36, 6))
    assert list(StepSampler(6, schedule, seed=3, start=5)) == whole[5:]
    shares = [list(StepSampler(6, schedule, seed=3, process=p, processes=2)) for p in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(b) for b in whole]
    with pytest.raises(UserError, match="batch_size 4 is not divisible"):
        StepSampler(6, schedule, seed=3, processes=3)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'learning_rate'"):
        from_options(Schedule, {"learnign_rate": 1.0})


class DeviceRule(TorchFunctionMode):
    """Rejects tensor factories without an explicit device, and .cuda() and .cpu()."""

    FACTORIES = ("tensor", "zeros", "ones", "full", "empty", "rand", "randn", "randint", "randperm", "arange", "linspace", "eye")
    RULED = frozenset(getattr(torch, name) for name in FACTORIES)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert function not in self.RULED or "device" in kwargs, f"torch.{function.__name__} without a device"
        assert function not in (torch.Tensor.cuda, torch.Tensor.cpu), f".{function.__name__}() in a training step"
        return function(*args, **kwargs)


STEPS = {
    "teacher": Losses(**PRIOR, ssi=0.1, region="static", keep_dynamic=True),
    "ema": Losses(distillation=1.0, teacher="ema", filter="extended", distillation_kind="log_l1"),
    "snapshot": Losses(distillation=1.0, teacher="snapshot", filter="plain", snapshot_every=1),
    "neighbours": Losses(multi_resolution=0.1, successive=0.1, photometric_scales=1),
}


@pytest.mark.parametrize("name", STEPS)
def test_every_factory_in_a_step_names_its_device(name):
    model = TINY.build(0)
    objective = Objective(STEPS[name], model)
    batch = torch.utils.data.default_collate([Moving()[i] for i in range(2)])
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
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import Moving, TINY, Losses, Objective, Schedule, train, weights

class Plain(Objective):
    def __call__(self, model, batch, progress, generator):
        model.eval()
        out = model(batch["tgt"] / 255, batch["prev"] / 255, batch["next"] / 255, source_depths=False)
        return {{"mean": sum(d.mean() for d in out.disparities) + out.T["prev"].square().sum((1, 2)).mean() + out.T["next"].square().sum((1, 2)).mean()}}

model = TINY.build(0)
train(model, Plain(Losses(), model), Moving(), Schedule(steps=2, batch_size=4, log_every=1, save_every=9), seed=0, folder=Path(sys.argv[1]), progress_bar=False)
torch.save(weights(model), Path(sys.argv[1]) / "weights.pt")
"""


def test_two_processes_learn_what_one_learns(tmp_path):
    """Two CPU processes (gloo) through `accelerate launch`: the gradients of one process on the joined batch."""
    script = tmp_path / "job.py"
    script.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent)))
    results = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes), "--num_machines", "1"]
        options = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run([*launch, *options, script, folder], env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(torch.load(folder / "weights.pt", weights_only=True))
    torch.testing.assert_close(*results, atol=2e-5, rtol=0)
