"""What is to be seen on a GPU in nine minutes, in the order of its worth: `make gpu-check`.

    python benchmarks/gpu_check.py --out OUT

For a machine that reaches no network, has PyTorch, and may be taken away at any moment: packages that it lacks are
carried (`make wheels`), each part is a process of its own under a limit of time, and what is known is in OUT at once:
report.json (settings, seconds and results of each part), log.txt (all that was printed), gpu.csv (use of the GPU),
kitti.png and notebooks.tar.gz. A part that fails or takes too long is recorded so, and the next one begins.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / ".wheels"
USE = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop=1"]
TINY = ["--shrink", "8", "--iterations", "4"]  # for a machine without a GPU


@dataclass
class Part:
    """A command that prints its results as lines of JSON, and what else of it is worth keeping."""

    name: str
    seconds: float  # at most
    words: list[str]
    collect: Callable[[], dict] = dict  # called while it runs and at its end


def parts(out: Path, work: Path, cores: int, tiny: bool) -> list[Part]:
    """In the order of their worth; those after the tutorial are for a second call, with --part."""
    python, speed = sys.executable, str(ROOT / "benchmarks/gpu_speed.py")
    small = ["--batch", "1", "--height", "64", "--width", "64", "--network-width", "8", "--repeats", "1"]
    profile = "smoke" if tiny else "laptop"
    snakemake = ["snakemake", "--cores", str(cores), "--scheduler", "greedy", "--config", f"profile={profile}"]
    kitti = ["kitti", "--data", str(WHEELS / "kitti"), "--picture", str(out / "kitti.png")]
    tests = [python, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/test_host_sync.py"]
    tutorial = Part(
        "tutorial",
        300,
        snakemake + ["--dry-run"] * tiny,
        lambda: executed(work / "runs" / profile, out / "notebooks.tar.gz"),
    )
    return [
        Part("tests", 60, tests + ["--collect-only"] * tiny),
        Part("steps", 80, [python, speed, "steps", *small * tiny]),
        Part("kitti", 45, [python, speed, *kitti, *TINY * tiny]),
        Part("recipes", 45, [python, speed, "recipes", *TINY * tiny]),
        tutorial,
        Part("compiled", 240, [python, speed, "steps", "--compiled", *small * tiny]),
        Part("recipes_fp32", 45, [python, speed, "recipes", "--precision", "no", *TINY * tiny]),
    ]


def executed(run: Path, archive: Path) -> dict:
    """The finished stages with their seconds and metrics; archives their notebooks and the book where one is new."""
    stages = {}
    for path in sorted(run.glob("*/stage.json")):
        record = json.loads(path.read_text())
        stages[path.parent.name] = {name: record.get(name) for name in ("wall_seconds", "device", "metrics")}
    contents = [path for path in (run / "notebooks", run / "book") if path.is_dir()]
    state = json.dumps(sorted(stages))
    marker = run / "archived"
    if contents and (not marker.is_file() or marker.read_text() != state):
        with tarfile.open(archive, "w:gz") as file:
            for path in contents:
                file.add(path, path.name)
        marker.write_text(state)
    return {"stages": stages}


class Report:
    """report.json, whole at any moment."""

    def __init__(self, path: Path, **settings):
        self.path, self.content = path, settings | {"parts": {}}

    def write(self, name: str, **found) -> None:
        self.content["parts"].setdefault(name, {}).update(found)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.content, indent=1))
        fresh.replace(self.path)


def results(log: Path, start: int) -> list[dict]:
    """The lines of JSON in a log from a place on."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def run(part: Part, seconds: float, out: Path, report: Report, environment: dict[str, str]) -> None:
    """Run a part for at most so long; the report is written every second."""
    log, began = out / "log.txt", time.monotonic()
    report.write(part.name, state="running", limit=round(seconds), command=" ".join(part.words))
    with log.open("a") as file:
        start, rows = file.tell(), len(use(out))
        try:
            process = subprocess.Popen(
                part.words, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
            )
        except OSError as error:
            report.write(part.name, state=f"failed: {error}")
            return
    state = None
    while state is None:
        time.sleep(min(1.0, seconds))
        code, took = process.poll(), time.monotonic() - began
        if code is not None:
            state = "finished" if code == 0 else f"failed with {code}"
        elif took > seconds:
            state = "out of time"
            end(process)
        found = {"seconds": round(took, 1), "results": results(log, start), **summary(use(out)[rows:])}
        report.write(part.name, state=state or "running", **found)
        try:
            report.write(part.name, **part.collect())
        except (OSError, ValueError):  # a file that is being written
            continue


def end(process: subprocess.Popen) -> None:
    """Tell all processes of a part to end, and after five seconds make them."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def use(out: Path) -> list[list[float]]:
    """Percent of the time in which the GPU computed, and MiB in use, second by second; empty without one."""
    path = out / "gpu.csv"
    if not path.is_file():
        return []
    with path.open() as file:
        rows = [row for row in csv.reader(file) if len(row) == 2 and all(cell.strip().isdigit() for cell in row)]
    return [[float(cell) for cell in row] for row in rows]


def summary(used: list[list[float]]) -> dict:
    """Of these seconds: the mean use, and the most memory."""
    if not used:
        return {}
    percents, mebibytes = zip(*used, strict=True)
    return {"busy_percent": round(sum(percents) / len(used)), "peak_mib": max(mebibytes)}


def install(site: Path, wheels: list[Path]) -> dict[str, str]:
    """Install the wheels beside this Python's packages; the environment that finds them and `ssmde`.

    The library itself stays where it is: only its name and needs, which records list, and its program are put there.
    """
    (site / "bin").mkdir(parents=True)
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    if wheels:
        subprocess.run([*words, "--target", str(site), *map(str, wheels)], check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = [f"Name: {project['name']}", f"Version: {project['version']}"]
    about += [f"Requires-Dist: {needed}" for needed in project["dependencies"]]
    (site / "ssmde.dist-info").mkdir()
    (site / "ssmde.dist-info" / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *about, ""]))
    program = site / "bin" / "ssmde"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ssmde_lib.cli "$@"\n')
    program.chmod(0o755)
    found = {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PATH": f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return os.environ | found | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the report.")
@click.option("--seconds", default=530.0, help="For all parts together.")
@click.option("--cores", default=os.cpu_count() or 1, help="Jobs of the tutorial at once.")
@click.option("--part", "names", multiple=True, help="Only these.")
@click.option("--tiny", is_flag=True, help="At the least sizes: shows on a CPU that every part runs.")
def main(out: Path, seconds: float, cores: int, names: tuple[str, ...], tiny: bool) -> None:
    """Run all parts in turn, and write what they find."""
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    work = Path(f"/tmp/gpu_check_{os.getpid()}")
    report = Report(out / "report.json", seconds=seconds, cores=cores, tiny=tiny)
    wheels = [] if tiny else sorted(WHEELS.glob("*.whl"))
    environment = install(work / "site", wheels) | {"SSMDE_RUNS": str(work / "runs")}
    report.write("environment", seconds=round(time.monotonic() - began, 1), wheels=len(wheels))
    watch = None
    if shutil.which("nvidia-smi"):
        watch = subprocess.Popen(["nvidia-smi", *USE], stdout=(out / "gpu.csv").open("w"))
    for part in parts(out, work, cores, tiny):
        if names and part.name not in names:
            continue
        left = seconds - (time.monotonic() - began)
        if left < 10:
            report.write(part.name, state="no time was left")
        else:
            run(part, left if tiny else min(part.seconds, left), out, report, environment)
        click.echo(f"{part.name}: {report.content['parts'][part.name]['state']}")
    if watch:
        watch.terminate()
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
