"""`make ablation` in a folder of its own: the plan, the jobs, resuming after a kill, and what is not run again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from tiny_tutorial import REPOSITORY, STREET, command

from ssmde_lib.ablation import Grid, Job
from ssmde_lib.errors import UserError

VARIANTS = ["teacher", "student_plain"]
SPEC = {
    "seeds": [0],
    "schedule": {"steps": 40, "batch_size": 2, "save_every": 3},
    "architecture": {"width": 8, "pose_width": 8},
    "worlds": {"street": STREET | {"variants": VARIANTS}},
}


def write_spec(root: Path, **changes) -> None:
    (root / "workflow" / "ablation.yaml").write_text(yaml.safe_dump({"tiny": SPEC | changes}))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A repository with this one's notebooks and workflow, and nothing made yet."""
    root = tmp_path_factory.mktemp("ablation")
    (root / "notebooks").symlink_to(REPOSITORY / "notebooks")
    (root / "configs").symlink_to(REPOSITORY / "configs")
    (root / "docs").symlink_to(REPOSITORY / "docs")  # which the executed copies lead to
    (root / "workflow").mkdir()
    (root / "workflow" / "ablation.smk").symlink_to(REPOSITORY / "workflow" / "ablation.smk")
    write_spec(root)
    return root


WORDS = [
    "snakemake",
    "--snakefile",
    "workflow/ablation.smk",
    "--cores",
    "1",
    "--rerun-incomplete",
    "--rerun-triggers",
    "mtime",
]
CONFIG = ["--config", "profile=tiny"]


def planned(root: Path, *words: str) -> tuple[set[str], str]:
    """The rules of a dry run, and all that it says."""
    done = command(root, *WORDS, "--dry-run", *words, *CONFIG)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^rule (\w+):", done.stdout + done.stderr, re.MULTILINE)), done.stdout + done.stderr


def record(root: Path, variant: str) -> Path:
    return root / "results" / "ablation" / "tiny" / "street" / f"{variant}_seed0.json"


def kill_in_training(root: Path) -> None:
    """Run the workflow and send it SIGTERM as soon as the teacher has a checkpoint of its state."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    environment.pop("SSMDE_RUNS", None)
    process = subprocess.Popen(
        [*WORDS, *CONFIG],
        cwd=root,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 280
    while not list(root.glob("runs/ablation/street-*/teacher_seed0-*/state/step.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=120)


def test_a_grid_that_is_killed_goes_on_and_is_not_run_again(root):
    jobs = {f"street_{variant}_seed0" for variant in VARIANTS}
    assert planned(root)[0] == {"summary", "data_street", "pseudo_leres_small_street", *jobs}

    kill_in_training(root)
    (folder,) = root.glob("runs/ablation/street-*/teacher_seed0-*")
    saved = json.loads((folder / "state" / "step.json").read_text())["step"]
    before = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()][:saved]
    assert saved < 40 and before
    assert not (folder / "done.json").exists() and not record(root, "teacher").exists()
    assert planned(root)[0] == {"summary", *jobs}  # data and maps are there

    done = command(root, *WORDS, *CONFIG)
    assert done.returncode == 0, done.stderr[-3000:]
    log = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 41))
    assert log[: len(before)] == before, "seconds and all: these steps were not trained again"
    assert all(later["seconds"] >= earlier["seconds"] for earlier, later in pairwise(log)), "one clock for both parts"
    assert all(record(root, variant).stat().st_size < 8000 for variant in (*VARIANTS,))
    table = (root / "results" / "ablation" / "tiny" / "table.md").read_text()
    assert all(f"| {variant} |" in table for variant in ("constant", "median", *VARIANTS))
    assert planned(root)[0] == set()


def test_appendix_notebooks_show_figures(root):
    for name, figures in (("street_student_plain_seed0", 3), ("A3_ablation", 4)):
        notebook = nbformat.read(root / "runs" / "ablation" / "tiny" / "notebooks" / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert len([output for output in outputs if "image/png" in output.get("data", {})]) == figures
        assert not [output for output in outputs if output.output_type == "error"]


def test_on_another_machine_only_what_has_changed_is_run(root):
    (root / "runs").rename(root / "runs_elsewhere")  # a clone holds the records, not the weights
    try:
        assert planned(root)[0] == {"summary"}
        write_spec(root, student={"steps": 3})
        rules, said = planned(root)
        assert rules == {
            "summary",
            "data_street",
            "pseudo_leres_small_street",
            "street_teacher_seed0",
            "street_student_plain_seed0",
        }
        assert "street/student_plain_seed0 is run again, its record is stale: schedule.steps 40 → 3" in said
        record(root, "teacher").unlink()
        assert "street_teacher_seed0" in planned(root)[0]
    finally:
        (root / "runs_elsewhere").rename(root / "runs")
        write_spec(root)


def test_a_record_that_was_lost_is_written_again_from_what_lies_here(root):
    assert not record(root, "teacher").exists()
    assert planned(root)[0] == {"summary"}  # no training: its figures are under runs/
    assert json.loads(record(root, "teacher").read_text())["variant"] == "teacher"


def test_the_whole_grid_is_planned_on_a_cluster(tmp_path):
    words = [
        "snakemake",
        "--snakefile",
        "workflow/ablation.smk",
        "--workflow-profile",
        "workflow/profiles/slurm",
        "--dry-run",
        "--nolock",
    ]
    done = command(REPOSITORY, *words, "--config", "profile=laptop", SSMDE_RUNS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    grid = Grid.read("laptop", REPOSITORY, tmp_path)
    left, asked = set(), grid.unfinished()
    while asked:  # a student's teacher too, and that one's, since their weights lie nowhere here
        left |= set(asked)
        asked = [teacher for job in asked for teacher in grid.teachers_of(job) if teacher not in left]
    found = {rule for rule in re.findall(r"^rule (\w+):", done.stdout + done.stderr, re.MULTILINE) if "_seed" in rule}
    assert found == {f"{job.world}_{job.variant}_seed{job.seed}" for job in left}


def test_unknown_profiles_are_one_sentence(root):
    done = command(root, *WORDS, "--dry-run", "--config", "profile=huge")
    assert done.returncode == 1 and "Error: the ablation has no profile 'huge': choose one of tiny." in done.stderr


def test_a_student_of_two_teachers_waits_for_both(tmp_path):
    def grid_of(*variants):
        return Grid(
            "tiny",
            tmp_path,
            tmp_path / "runs",
            {"seeds": [0], "worlds": {"street": STREET | {"variants": list(variants)}}},
        )

    student = Job("street", "student_two_teachers", 0)
    grid = grid_of("base_direct_pose", "teacher_dinov2", "student_two_teachers")
    teachers = grid.teachers_of(student)
    assert grid.jobs == [*teachers[::-1], student]
    assert [job.variant for job in teachers] == ["teacher_dinov2", "base_direct_pose"]
    assert grid.teachers_of(teachers[0]) == []
    assert "static_teacher" in grid.settings(student) and "static_teacher" not in grid.settings(teachers[0])
    with pytest.raises(UserError, match="learns from 'base_direct_pose': list that before it"):
        _ = grid_of("teacher_dinov2", "student_two_teachers").jobs
