"""Scripts in benchmarks/ at their least size: who repeats a measurement finds them working."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_loader_is_measured():
    words = [sys.executable, "benchmarks/loader.py", "--items", "2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"item_ms", "read_memory_ms"} <= set(json.loads(done.stdout))


def test_the_minutes_of_a_run_come_from_its_manifests(tmp_path):
    for stage, started, seconds in (("01_data", "10:00:00", 120), ("02_pseudo_depth", "10:02:30", 90)):
        (tmp_path / stage).mkdir()
        manifest = {"stage": stage, "started": f"2026-11-27T{started}+00:00", "wall_seconds": seconds}
        (tmp_path / stage / "stage.json").write_text(json.dumps(manifest))
    words = [sys.executable, "benchmarks/tutorial.py", str(tmp_path)]
    found = json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert found == {"minutes": {"01_data": 2.0, "02_pseudo_depth": 1.5}, "all": 4.0}
