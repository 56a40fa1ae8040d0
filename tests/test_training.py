"""The loop: a function of the seed, resumable to the bit, the same over several processes, device-placed."""

import copy
import json
import os
import resource
import signal

import pytest
import torch

from ssmde_lib.errors import UserError
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.options import from_options
from ssmde_lib.training.loop import train
from ssmde_lib.training.objective import Objective
from ssmde_lib.training.schedule import Schedule, StepSampler
from ssmde_lib.training.state import read_log

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


def run(folder, schedule, losses=TEACHER, seed=0, data=None, model=None, objective=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    model = model or TINY.build(seed)
    log = train(
        model,
        objective or Objective(losses, model),
        data or Moving(),
        schedule,
        seed=seed,
        folder=folder,
        progress_bar=False,
        **options,
    )
    return model, log


def as_they_are(items, generator):
    """For `prepare`: neither floats nor augmented."""
    return items


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def saved_step(folder):
    return json.loads((folder / "state" / "step.json").read_text())["step"]


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
    assert saved_step(tmp_path) == 2
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


SAVING = Schedule(steps=4, batch_size=2, log_every=1, save_every=2)


class Failing(Objective):
    """Fails in its fourth step, after the checkpoint of the second."""

    calls = 0

    def __call__(self, *rest):
        self.calls += 1
        if self.calls == 4:
            self.fail()
        return super().__call__(*rest)


class DeviceFull(Failing):
    def fail(self):
        raise torch.OutOfMemoryError("CUDA out of memory")  # a stand-in for a GPU


class DeviceTaken(Failing):
    def fail(self):
        raise RuntimeError(
            "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"
        )  # as eighteen trainings on one GPU said it


class MemoryFull(Failing):
    def fail(self):
        torch.empty(1 << 60, dtype=torch.uint8, device="cpu")


class WorkerLost(Failing):
    def fail(self):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error.")  # a stand-in; a real one below


@pytest.mark.parametrize(
    ("failing", "sentence"),
    [
        (DeviceFull, "out of device memory: lower batch_size"),
        (DeviceTaken, "out of device memory: lower batch_size"),
        (MemoryFull, "out of memory: lower batch_size"),
        (WorkerLost, "worker was lost"),
    ],
)
def test_a_run_that_failed_says_why_and_goes_on_from_its_checkpoint(tmp_path, whole_run, failing, sentence):
    model = TINY.build(0)
    with pytest.raises(UserError, match=f"{sentence}.* it goes on from its last checkpoint"):
        run(tmp_path, SAVING, model=model, objective=failing(TEACHER, model))
    assert saved_step(tmp_path) == 2
    assert torch.equal(weights(run(tmp_path, SAVING)[0]), whole_run)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """Weights of the undisturbed run."""
    return weights(run(tmp_path_factory.mktemp("whole"), SHORT)[0])


def test_networks_that_find_no_room_on_the_device_are_one_sentence(tmp_path, monkeypatch):
    def full(*parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("ssmde_lib.training.loop.Accelerator.prepare", full)
    with pytest.raises(UserError, match="out of device memory: lower batch_size"):
        run(tmp_path, SAVING)


class Limited(Objective):
    """From its fourth step on no file may grow beyond `limit` bytes.

    This is what a full disk does to a write, without being root.
    """

    limit, calls = 0, 0

    def __call__(self, *rest):
        self.calls += 1
        if self.calls == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))
        return super().__call__(*rest)


@pytest.fixture
def no_limit_left():
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize(("limit", "fails"), [(100, "log"), (2000, "weights"), (100_000, "optimiser")])
def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, whole_run, no_limit_left, limit, fails):
    """At the log's write, at that of the weights (safetensors) and of the optimiser's state (torch.save)."""
    schedule = Schedule(steps=4, batch_size=2, log_every=1, save_every=1 if fails != "log" else 2)
    model = TINY.build(0)
    objective = Limited(TEACHER, model)
    objective.limit = limit
    if fails == "optimiser":  # the weights fit
        objective.limit = 4096 + sum(t.nbytes for t in model.state_dict().values()) + 40 * len(model.state_dict())
    if fails != "log":
        objective.calls = 1  # in the third step, whose log fits
    with pytest.raises(UserError, match=f"no space left for {tmp_path}: .* it goes on from its last checkpoint"):
        run(tmp_path, schedule, model=model, objective=objective)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert saved_step(tmp_path) == 2
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == ["2"]
    model, log = run(tmp_path, schedule)
    assert torch.equal(weights(model), whole_run)
    assert [entry["step"] for entry in log] == [1, 2, 3, 4]


class Deadly(Moving):
    """Kills the loader's worker that fetches its items, once."""

    def __init__(self, flag):
        super().__init__()
        self.flag = flag

    def __getitem__(self, i):
        if not self.flag.exists() and torch.utils.data.get_worker_info():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


def test_a_killed_loader_worker_is_named(tmp_path):
    schedule = Schedule(steps=2, batch_size=2, log_every=1, workers=1)
    data = Deadly(tmp_path / "flag")
    with pytest.raises(UserError, match="a loader worker was lost"):
        run(tmp_path / "run", schedule, data=data)
    assert len(run(tmp_path / "run", schedule, data=data)[1]) == 2


def test_gradient_accumulation_sums_to_the_whole_batch(tmp_path):
    """Without batch statistics and per-batch minima, two micro-batches are one batch."""

    class Plain(Objective):
        def __call__(self, model, batch, progress, generator):
            model.eval()
            return {
                "mean": model.depth_net(batch["tgt"] / 255)[0].mean()
                + model.pose_net(batch["tgt"] / 255, batch["next"] / 255).sum(1).mean()
            }

    def gradients(accumulate):
        model, sums = TINY.build(0), {}
        for name, parameter in model.named_parameters():
            parameter.register_hook(lambda g, name=name: sums.update({name: sums.get(name, 0) + g}))
        schedule = Schedule(steps=1, batch_size=4, accumulate=accumulate, log_every=1, save_every=100)
        run(tmp_path / str(accumulate), schedule, model=model, objective=Plain(Losses(), model), prepare=as_they_are)
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
