"""The appendix notebook that retrains the prior, at smoke scale (A2 and A3 run in test_ablation_workflow.py)."""

import json
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_tutorial import REPOSITORY, command

from ssmde_lib.networks import checkpoint
from ssmde_lib.pipeline.manifest import read_manifest

NAME = "A1_train_the_prior"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    done = command(REPOSITORY, "ssmde", "run", NAME, "--profile", "smoke", SSMDE_RUNS=str(runs))
    assert done.returncode == 0, done.stderr[-2000:]
    return runs / "smoke"


def test_it_trains_and_scores_a_prior_and_its_upper_bounds(run):
    metrics = read_manifest(run / NAME)["metrics"]
    assert {
        f"{who} {world}"
        for who in ("trained here", "bundled weights", "in-domain, street")
        for world in ("street", "room")
    } <= set(metrics)
    record = checkpoint.read_record(run / NAME / "leres_small.safetensors")
    assert (record["views"], record["steps"]) == (4, 4)
    bound = checkpoint.read_record(run / NAME / "in_domain_room.safetensors")
    assert "upper bound" in bound["trained_on"] and bound["steps"] == 2
    assert json.loads((run / NAME / "scores.json").read_text())["trained here"]["room"]["images"] == 2


def test_its_figures_have_alternative_texts(run):
    notebook = nbformat.read(run / "notebooks" / f"{NAME}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 10 and all(output.metadata["image/png"]["alt"] for output in pictures)
