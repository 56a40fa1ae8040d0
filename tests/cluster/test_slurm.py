"""The tutorial and the ablation as SLURM jobs, and what becomes of a training whose job ends before it does.

Runs and logs lie in runs/cluster, so that a second call finds what is finished.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import output, wait_for
from tests.tiny_tutorial import REPOSITORY, write_tutorial

pytestmark = pytest.mark.cluster
RUNS = REPOSITORY / "runs" / "cluster"
PROFILE = "workflow/profiles/slurm/config.yaml"
# A training that notes every step, slowly enough to be met while it runs.
TRAINING = """
import os
import time
from ssmde_lib.losses.config import Losses
from ssmde_lib.training.loop import train
from ssmde_lib.training.objective import Objective
from ssmde_lib.training.schedule import Schedule
from tests.test_training import TINY, Moving

def note(model, records, step):
    with (stage.root / 'steps.txt').open('a') as file:
        print(os.getpid(), step, file=file)
    time.sleep(0.5)

schedule = Schedule(steps=60, batch_size=1, log_every=5, save_every=5)
train(model := TINY.build(0), Objective(Losses(), model), Moving(), schedule, seed=0, folder=stage.folder, watch=note)
"""


def environment(cluster: dict[str, str]) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY), "SSMDE_RUNS": str(RUNS)} | cluster


def make(root: Path, target: str, cluster: dict[str, str]) -> str:
    """`make TARGET PROFILE=smoke CLUSTER=slurm` with the environment that is there; what Snakemake says."""
    words = ["make", target, "PROFILE=smoke", "CLUSTER=slurm", "INSTALLED="]
    done = subprocess.run(words, check=False, cwd=root, env=environment(cluster), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def partitions(said: str) -> dict[str, str]:
    """The partition of each job that Snakemake has submitted."""
    return {rule: partition for partition, rule in re.findall(r"Auto-selected partition '(\w+)' for job (\w+)", said)}


def test_the_tutorial_runs_as_jobs(cluster):
    """Each on the partition that has what it asks for; logs of jobs that ended well are gone."""
    said = make(REPOSITORY, "tutorial", cluster)
    assert (RUNS / "smoke/book/index.html").is_file()
    asked = yaml.safe_load((REPOSITORY / PROFILE).read_text())["set-resources"]
    for rule, partition in partitions(said).items():
        assert partition == ("gpu" if asked.get(rule, {}).get("gpu") else "cpu"), rule
    for log in re.findall(r"\(log: (\S+)\)", said):
        assert log.startswith(f"{REPOSITORY}/.snakemake/slurm_logs/rule_") and not Path(log).exists()


def test_the_ablation_runs_as_jobs(cluster, tmp_path):
    """In a copy of the repository that has no records yet."""
    for entry in REPOSITORY.iterdir():
        if entry.name not in ("results", "runs", "workflow", ".git", ".snakemake"):
            (tmp_path / entry.name).symlink_to(entry)
    shutil.copytree(REPOSITORY / "workflow", tmp_path / "workflow")
    make(tmp_path, "ablation", cluster)
    jobs = {path.stem for path in (tmp_path / "results/ablation/smoke/street").glob("*_seed0.json")}
    assert jobs == {"base_seed0", "teacher_seed0", "student_prior_order_seed0"}
    assert (RUNS / "ablation/smoke/A3_ablation/stage.json").is_file()


def running_job(rule: str) -> str:
    """The job of a rule that runs."""
    jobs = output("squeue", "--noheader", "--states=running", "--format=%i %k").splitlines()
    return next(job for job, comment in map(str.split, jobs) if comment == f"rule_{rule}")


ENDINGS = {
    "requeued": ("scontrol", "requeue", "{job}"),
    "cancelled": ("scancel", "{job}"),
    "killed": ("scancel", "--signal=KILL", "--full", "{job}"),  # as where memory runs out
    "out_of_time": ("scontrol", "update", "JobId={job}", "TimeLimit=2"),  # minutes; SIGTERM comes two before the end
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_training_goes_on_in_the_next_job(ending, cluster, tmp_path):
    """From the very step at which it was told to end; from its last checkpoint where it was not told."""
    root = write_tutorial(tmp_path / "tiny", [TRAINING])
    settings = yaml.safe_load((REPOSITORY / PROFILE).read_text())
    del settings["set-resources"], settings["set-threads"]  # of stages that are not here
    (root / PROFILE).parent.mkdir(parents=True)
    (root / PROFILE).write_text(yaml.safe_dump(settings))
    words = ["snakemake", "--workflow-profile", str(Path(PROFILE).parent), "00_first", "--config", "profile=smoke"]
    said = (tmp_path / "said.txt").open("w")
    noted = root / "steps.txt"
    with subprocess.Popen(
        words, cwd=root, env=environment(cluster) | {"SSMDE_RUNS": ""}, stdout=said, stderr=said
    ) as snakemake:
        wait_for(lambda: noted.is_file() and len(noted.read_text().splitlines()) > 12, seconds=300)
        output(*(word.format(job=running_job("00_first")) for word in ENDINGS[ending]))
    assert snakemake.returncode == 0, (tmp_path / "said.txt").read_text()[-3000:]
    attempts: dict[str, list[int]] = {}
    for process, step in map(str.split, noted.read_text().splitlines()):
        attempts.setdefault(process, []).append(int(step))
    first, second = attempts.values()
    assert second == list(range(second[0], 61))
    assert second[0] in (first[-1] + 1, *(range(6, first[-1] + 1) if ending == "killed" else ()))
