"""All notebooks, executed in order at smoke scale by the workflow, once a session (`--dist loadfile`)."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ssmde_lib.pipeline.manifest import read_manifest
from ssmde_lib.pipeline.parameters import pipeline, profile_parameters

ROOT = Path(__file__).resolve().parents[1]
STAGES = pipeline(ROOT)


@pytest.fixture(scope="session")
def executed(tmp_path_factory) -> Path:
    """The run folder of a fresh smoke run. One notebook at a time: the other core belongs to the other tests."""
    runs = tmp_path_factory.mktemp("runs")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"SSMDE_RUNS": str(runs), "OMP_NUM_THREADS": "1", "PATH": path}
    words = ["snakemake", "--cores", "1", "--nolock", "--keep-going", "--config", "profile=smoke"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.returncode == 0, "\n".join(errors) or done.stderr[-3000:]
    return runs / "smoke"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_is_finished_with_the_profile_s_parameters(executed, stage):
    manifest = read_manifest(executed / stage)
    assert profile_parameters(ROOT, "smoke", stage).items() <= manifest["parameters"].items()
    assert set(manifest["upstream"]) == set(STAGES[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_figures_and_alternative_texts_survive_in_the_executed_notebook(executed, stage):
    notebook = nbformat.read(executed / "notebooks" / f"{stage}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 4
    assert all(output.metadata["image/png"]["alt"] for output in pictures)
    assert not [output for output in outputs if output.output_type == "error"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_exercise_of_ours_is_wrong(executed, stage):
    notebook = nbformat.read(executed / "notebooks" / f"{stage}.ipynb", as_version=4)
    said = "".join(
        output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"
    )
    assert "✗" not in said


def test_the_book_has_every_notebook_and_the_results(executed):
    """And asks no other host for anything."""
    pages = sorted((executed / "book").rglob("*.html"))
    index = (executed / "book" / "index.html").read_text()
    assert all(f'href="notebooks/{stage}.html"' in index for stage in STAGES)
    assert "not finished" not in index and "has not been executed" not in index
    assert {"docs/method.html", "reference/geometry.html"} <= {
        p.relative_to(executed / "book").as_posix() for p in pages
    }
    for page in pages:
        assert not re.search(r'(<script[^>]*src|<link[^>]*href|<img[^>]*src)="https?:', page.read_text()), page
    assert json.loads((executed / "09_benchmark" / "results.json").read_text())
