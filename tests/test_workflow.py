"""The workflow: locally, as a dry run on SLURM, and on Kubernetes with a `kubectl` that runs pods here."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from tiny_tutorial import REPOSITORY, command, manifest, snakemake, write_tutorial

from ssmde_lib.ablation import Grid
from ssmde_lib.pipeline.parameters import pipeline

PROFILES = REPOSITORY / "workflow" / "profiles"
KUBECTL = """#!{python}
import json, pathlib, subprocess, sys
jobs = pathlib.Path("pods")
jobs.mkdir(exist_ok=True)
if sys.argv[1] == "create":
    job = json.load(sys.stdin)
    name = job["metadata"]["name"]
    container = job["spec"]["template"]["spec"]["containers"][0]
    with (jobs / f"{{name}}.log").open("w") as log:
        done = subprocess.run(container["command"], cwd=container["workingDir"], stdout=log, stderr=log)
    (jobs / name).write_text(json.dumps({{"job": job, "status": {{"failed" if done.returncode else "succeeded": 1}}}}))
    print(f"job.batch/{{name}}")
else:
    print((jobs / sys.argv[2].split("/")[1]).read_text())
"""


@pytest.fixture
def tutorial(tmp_path) -> Path:
    root = write_tutorial(tmp_path / "tiny")
    shutil.copytree(PROFILES, root / "workflow" / "profiles")
    return root


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_profiles_give_gpus_to_stages_that_exist(profile):
    settings = yaml.safe_load((PROFILES / profile / "config.yaml").read_text())
    stages = set(pipeline(REPOSITORY))
    assert set(settings["set-resources"]) | set(settings["set-threads"]) <= stages
    assert all({"gpu", "mem_mb", "runtime"} <= set(resources) for resources in settings["set-resources"].values())
    assert {"04_pose_and_depth", "06_teacher", "08_student"} <= set(settings["set-resources"])


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_dry_run_of_the_whole_workflow(profile):
    """Every stage is planned, with the GPU, memory and time of the profile, whatever has been executed here."""
    words = ["snakemake", "--workflow-profile", f"workflow/profiles/{profile}", "--dry-run", "--forceall", "--nolock"]
    done = command(REPOSITORY, *words, "--config", "profile=smoke", "run=dry")
    assert done.returncode == 0, done.stderr
    planned = {
        rule: text for rule, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\[|\Z)", done.stdout, re.DOTALL | re.MULTILINE)
    }
    assert {*pipeline(REPOSITORY), "book"} <= set(planned)
    assert re.search(r"resources: .*mem_mb=32000.*runtime=1440.*gpu=1", planned["08_student"])
    assert "gpu=1" not in planned["01_data"]


@pytest.fixture(scope="module")
def grid_root(tmp_path_factory) -> Path:
    """This repository's ablation where nothing has been made yet.

    The real clips are empty folders, which is enough to plan with.
    """
    root = tmp_path_factory.mktemp("grid") / "repository"
    root.mkdir()
    shutil.copytree(
        REPOSITORY / "workflow", root / "workflow"
    )  # Snakemake resolves links, and would find this repository's records
    for name in ("notebooks", "configs"):
        (root / name).symlink_to(REPOSITORY / name)
    for world in yaml.safe_load((REPOSITORY / "workflow" / "ablation.yaml").read_text())["laptop"]["worlds"].values():
        if "folder" in world:
            (root / world["folder"]).mkdir(parents=True)
    return root


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_dry_run_of_the_whole_grid(grid_root, profile):
    """`make ablation CLUSTER=…`: every job of every world and seed, each with a GPU, memory and time of its own."""
    words = [
        "snakemake",
        "--snakefile",
        "workflow/ablation.smk",
        "--workflow-profile",
        f"workflow/profiles/{profile}",
        "--dry-run",
    ]
    done = command(grid_root, *words, "--config", "profile=laptop")
    assert done.returncode == 0, done.stderr[-2000:]
    planned = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^\[|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    grid = Grid.read("laptop", grid_root, grid_root / "runs")
    jobs = [f"{job.world}_{job.variant}_seed{job.seed}" for job in grid.jobs]
    assert not grid.absent and len(jobs) == len(grid.spec["seeds"]) * sum(
        len(world.variants) for world in grid.worlds.values()
    )
    assert {*jobs, "summary", *(f"data_{world}" for world in grid.worlds)} <= set(planned)
    for name, text in planned.items():
        resources = dict(item.split("=", 1) for item in re.search(r"resources: (.*)", text)[1].split(", "))
        learns = name in jobs or name.startswith("pseudo_")
        assert (resources["mem_mb"], resources.get("gpu", "0")) == (("16000", "1") if learns else ("8000", "0")), name
        assert resources["runtime"] == ("240" if name in jobs else "60"), name


def test_kubernetes_jobs_run_and_ask_for_what_the_profile_says(tutorial, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL.format(python=sys.executable))
    (programs / "kubectl").chmod(0o755)
    profile = tutorial / "workflow/profiles/kubernetes/config.yaml"
    settings = yaml.safe_load(profile.read_text()) | {
        "seconds-between-status-checks": 1,
        "latency-wait": 5,
        "retries": 0,
    }
    settings["set-resources"] = {"01_second": {"gpu": 2, "runtime": 7}}
    del settings["set-threads"]
    profile.write_text(yaml.safe_dump(settings))
    path = f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin"
    words = [
        "snakemake",
        "--workflow-profile",
        "workflow/profiles/kubernetes",
        "01_second",
        "--config",
        "profile=smoke",
    ]
    done = command(tutorial, *words, PATH=path)
    assert done.returncode == 0, done.stderr
    assert manifest(tutorial, "01_second")["metrics"] == {"total": 12}
    (second,) = [
        yaml.safe_load(file.read_text())["job"] for file in (tutorial / "pods").glob("ssmde-01-second-????????")
    ]
    pod = second["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "8000M", "nvidia.com/gpu": "2"}
    assert pod["activeDeadlineSeconds"] == 420
    (first,) = [yaml.safe_load(file.read_text())["job"] for file in (tutorial / "pods").glob("ssmde-00-first-????????")]
    assert "nvidia.com/gpu" not in first["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_the_book_shows_titles_figures_equations_and_results(tmp_path):
    figure = "import numpy as np\nfrom ssmde_lib.display.figures import image_grid, show\n"
    figure += "show(image_grid([[np.eye(4)]]), alt='a diagonal', caption='Ones at $i = j$.')"
    root = write_tutorial(
        tmp_path / "tiny", ["import json\n(stage.folder / 'numbers.json').write_text('[1, 2]')", figure]
    )
    table = tmp_path / "tiny/runs/smoke/09_benchmark/table.md"
    table.parent.mkdir(parents=True)
    table.write_text("| method | AbsRel |\n|---|---|\n| ours | 0.1 |\n")
    assert snakemake(root).returncode == 0
    index = (root / "runs/smoke/book/index.html").read_text()
    assert 'href="notebooks/01_second.html">01_second</a>' in index
    assert "<p>ours</p>" in index
    page = (root / "runs/smoke/book/notebooks/00_first.html").read_text()
    assert 'alt="a diagonal"' in page and "<math" in page
    assert not re.search(r'(<script[^>]*src|<link[^>]*href|<img[^>]*src)="https?:', page + index)
