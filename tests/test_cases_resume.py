"""A training that was stopped or killed anywhere goes on, and ends as the one that nothing disturbed."""

import multiprocessing
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssmde_lib.errors import UserError
from ssmde_lib.losses.config import Losses
from ssmde_lib.training.objective import Objective
from ssmde_lib.training.schedule import Schedule
from ssmde_lib.training.state import read_log
from tests.test_training import TINY, run, saved_step, weights

SCHEDULE = Schedule(steps=4, batch_size=1, log_every=3, save_every=1)
LOSSES = Losses()
TRACED = ("training/loop.py", "training/state.py", "ssmde_lib/files.py", "accelerate/checkpointing.py", "shutil.py")


class LinesOf:
    """Counts the lines run in the loop and in what saves its state; at the `fatal`-th it is killed."""

    def __init__(self, fatal: int = 0):
        self.fatal, self.count = fatal, 0

    def __call__(self, frame, event, argument):
        if event == "call":
            return self if frame.f_code.co_filename.endswith(TRACED) else None
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def run(self, folder: Path) -> int:
        sys.settrace(self)
        try:
            run(folder, SCHEDULE, LOSSES)
        finally:
            sys.settrace(None)
        return self.count


def run_until(folder: Path, fatal: int) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    LinesOf(fatal).run(folder)


def without_time(log: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in log]


def test_killed_at_twenty_random_moments_it_ends_as_undisturbed(tmp_path):
    """Lines are counted, not seconds: the moments are the same every time, half of them in the writing of a state."""
    whole, log = run(tmp_path / "whole", SCHEDULE, LOSSES)
    lines = LinesOf().run(tmp_path / "counted")
    fork = multiprocessing.get_context("fork")
    before_the_first_record = 0
    for fatal in random.Random(0).sample(range(1, lines), 20):
        folder = tmp_path / str(fatal)
        process = fork.Process(target=run_until, args=(folder, fatal))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        before_the_first_record += (folder / "state/step.json").is_file() and not (folder / "train.jsonl").is_file()
        resumed, resumed_log = run(folder, SCHEDULE, LOSSES)
        assert torch.equal(weights(whole), weights(resumed)), fatal
        assert without_time(log) == without_time(resumed_log) == without_time(read_log(folder / "train.jsonl")), fatal
    assert before_the_first_record >= 2


class Signalled(Objective):
    """Sends a signal to this process in its second step; SIGTERM twice, as clusters do."""

    number = signal.SIGTERM

    def after_step(self, model, step):
        super().after_step(model, step)
        if step == 1:
            for _ in range(2 if self.number == signal.SIGTERM else 1):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_before_the_first_record_saves_and_the_next_run_goes_on(tmp_path, number, name):
    schedule = replace(SCHEDULE, save_every=100, log_every=50)
    whole, log = run(tmp_path / "whole", schedule, LOSSES)
    model = TINY.build(0)
    objective = Signalled(LOSSES, model)
    objective.number = number
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(UserError, match=f"stopped by {name} after step 2: .* run the stage again"):
        run(tmp_path / "cut", schedule, LOSSES, model=model, objective=objective)
    assert handlers == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    assert not (tmp_path / "cut/train.jsonl").exists()
    resumed, resumed_log = run(tmp_path / "cut", schedule, LOSSES)
    assert torch.equal(weights(whole), weights(resumed))
    assert without_time(log) == without_time(resumed_log)


def test_a_state_is_also_saved_by_time(tmp_path):
    class Crashed(Objective):
        def after_step(self, model, step):
            if step == 2:
                raise RuntimeError("crashed")

    model = TINY.build(0)
    schedule = replace(SCHEDULE, save_every=100, save_seconds=0.0)
    with pytest.raises(RuntimeError, match="crashed"):
        run(tmp_path, schedule, LOSSES, model=model, objective=Crashed(LOSSES, model))
    assert saved_step(tmp_path) == 2


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a training that was stopped after two of its steps."""
    folder = tmp_path_factory.mktemp("stopped")
    model = TINY.build(0)
    with pytest.raises(UserError, match="stopped by SIGTERM"):
        run(folder, SCHEDULE, LOSSES, model=model, objective=Signalled(LOSSES, model))
    return folder


def contents(folder: Path) -> dict:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("schedule", "seed", "said"),
    [
        ({"steps": 6}, 0, "schedule.steps was 4, is 6"),
        ({"learning_rate": 1e-4}, 0, "schedule.learning_rate was 0.0015, is 0.0001"),
        ({"batch_size": 2}, 1, "schedule.batch_size was 1, is 2; seed was 0, is 1"),
    ],
)
def test_a_state_of_other_settings_is_told_and_left_alone(stopped, schedule, seed, said):
    before = contents(stopped)
    with pytest.raises(UserError, match=f"unfinished training of other settings .{said}.: .* remove .*state"):
        run(stopped, replace(SCHEDULE, **schedule), LOSSES, seed=seed)
    assert contents(stopped) == before


def test_settings_without_effect_may_change(stopped, tmp_path):
    folder = tmp_path / "copy"
    (folder / "state").parent.mkdir()
    for path, data in contents(stopped).items():
        target = folder / path.relative_to(stopped)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    _, log = run(folder, replace(SCHEDULE, log_every=1, save_every=7), LOSSES)
    assert [record["step"] for record in log] == [3, 4]


@pytest.mark.parametrize("damage", ["step.json", "model.safetensors", "custom_checkpoint_1.pkl"])
def test_a_damaged_state_is_one_sentence(stopped, tmp_path, damage):
    for path, data in contents(stopped).items():
        target = tmp_path / path.relative_to(stopped)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data[: len(data) // 2] if path.name == damage else data)
    with pytest.raises(UserError, match="remove .*state to begin anew"):
        run(tmp_path, SCHEDULE, LOSSES)
