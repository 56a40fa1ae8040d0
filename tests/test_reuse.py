"""What is finished is reused: opening or saving a notebook costs nothing, and JupyterLab loses no result."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_tutorial import command, run, snakemake, write_tutorial

from ssmde_lib.pipeline.manifest import read_manifest
from ssmde_lib.pipeline.opening import begin
from ssmde_lib.pipeline.staleness import code_digest, stale_stages

LAB = {"In": []}  # what IPython puts into a notebook's globals()
VALUES = {"run": "", "profile": "smoke", "retrain": False, "seed": 0}
FIRST, SECOND = VALUES | {"count": 4}, VALUES | {"factor": 1.0}


BODY = [
    "(stage.folder / 'numbers.json').write_text('[0, 1, 2, 3]')",
    "made = stage.reused or (stage.root / 'made').open('a').write('x')",
]


@pytest.fixture
def tutorial(tmp_path, monkeypatch) -> Path:
    """The tiny tutorial, its stages finished in profile smoke, where seed is 3 and factor 2."""
    root = write_tutorial(tmp_path / "tiny", BODY)
    monkeypatch.chdir(root)
    monkeypatch.delenv("SSMDE_RUNS", raising=False)
    first = begin("00_first", dict(FIRST))
    (first.folder / "numbers.json").write_text("[0, 1, 2, 3]")
    (root / "made").write_text("x")
    first.finish()
    begin("01_second", dict(SECOND)).finish({"total": 12.0})
    return root


def add_cell(path: Path, cell, before_last: bool = True) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(len(notebook.cells) - before_last, cell)
    nbformat.write(notebook, path)


class TestWorkflow:
    def test_an_evening_of_reading_plans_nothing(self, tutorial):
        """Touched, saved with outputs and comments, an exercise solved, the first notebook executed again."""
        path = tutorial / "notebooks/00_first.ipynb"
        add_cell(path, nbformat.v4.new_markdown_cell("## Exercises"), before_last=False)
        add_cell(path, nbformat.v4.new_code_cell("my_answer = 42"), before_last=False)
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[3].source = "# my note\n" + notebook.cells[3].source
        notebook.cells[3].outputs = [nbformat.v4.new_output("stream", text="an output")]
        nbformat.write(notebook, path)
        assert run(tutorial, "00_first", "--profile", "smoke").returncode == 0
        (tutorial / "runs/smoke/00_first/numbers.json").touch()
        planned = snakemake(tutorial, "--dry-run").stdout
        assert re.findall(r"^rule (\w+):", planned, re.MULTILINE) == ["book"]  # whose page is not there yet
        assert (tutorial / "made").read_text() == "x"

    def test_another_code_is_made_anew_and_what_reads_the_same_content_is_not(self, tutorial):
        add_cell(tutorial / "notebooks/00_first.ipynb", nbformat.v4.new_code_cell("more = 1"))
        before = (tutorial / "runs/smoke/01_second/stage.json").read_text()
        done = snakemake(tutorial)
        assert done.returncode == 0, done.stderr
        assert "00_first is executed again: its code has changed." in done.stderr
        assert "01_second is executed again: 00_first is executed again." in done.stderr
        assert (tutorial / "made").read_text() == "xx"
        assert (tutorial / "runs/smoke/01_second/stage.json").read_text() == before
        assert "its results are reused" in (tutorial / "runs/smoke/notebooks/01_second.ipynb").read_text()
        assert "Nothing to be done" in snakemake(tutorial, "--dry-run").stdout

    def test_changed_settings_and_lost_files_are_told(self, tutorial):
        (tutorial / "configs/smoke.yaml").write_text("00_first: {count: 5}\n01_second: {factor: 2.0}")
        (tutorial / "runs/smoke/00_first/numbers.json").unlink()
        reasons = {
            "00_first": ["count was 4, is 5", "seed was 3, is 0", "numbers.json is missing"],
            "01_second": ["seed was 3, is 0", "00_first is executed again"],
        }
        assert stale_stages(tutorial, "smoke", "smoke") == reasons


class TestInLab:
    def test_the_profile_s_settings_are_put_into_the_notebook(self, tutorial, capsys):
        namespace = LAB | SECOND
        stage = begin("01_second", namespace)
        assert (namespace["factor"], namespace["seed"], namespace["run"]) == (2.0, 3, "smoke")
        assert stage.reused and stage.folder == tutorial / "runs/smoke/01_second"
        said = capsys.readouterr().out
        assert "profile smoke: seed = 3, factor = 2.0" in said and "its results are reused. (retrain = True" in said

    def test_what_papermill_injected_goes_before_the_profile(self, tutorial):
        namespace = {"In": ["# Parameters\nfactor = 5.0\n"]} | SECOND | {"factor": 5.0}
        stage = begin("01_second", namespace)
        assert not stage.reused and namespace["factor"] == 5.0

    def test_retrain_makes_it_again(self, tutorial, capsys):
        stage = begin("00_first", LAB | FIRST | {"retrain": True})
        assert not stage.reused and not (stage.folder / "stage.json").exists()

    def test_other_parameters_go_to_a_run_of_their_own(self, tutorial, capsys):
        namespace = LAB | FIRST | {"count": 7}
        before = (tutorial / "runs/smoke/00_first/stage.json").read_text()
        stage = begin("00_first", namespace)
        assert "Run 'smoke' holds 00_first of other parameters (count was 4, is 7)." in capsys.readouterr().out
        assert stage.folder == tutorial / "runs/smoke-count_7/00_first" and namespace["run"] == "smoke-count_7"
        stage.finish()
        assert (tutorial / "runs/smoke/00_first/stage.json").read_text() == before
        assert begin("00_first", LAB | FIRST | {"count": 7}).reused

    def test_such_a_run_reads_the_stages_of_the_first_one(self, tutorial):
        (tutorial / "configs/smoke.yaml").write_text("common: {seed: 3}")
        stage = begin("01_second", LAB | SECOND | {"factor": 9.0})
        assert stage.folder.parent.name == "smoke-factor_9.0"
        assert json.loads((stage.upstream("00_first") / "numbers.json").read_text()) == [0, 1, 2, 3]
        again = begin("00_first", LAB | FIRST | {"run": stage.folder.parent.name})
        assert again.reused

    def test_a_half_way_training_of_other_parameters_stays(self, tutorial):
        (tutorial / "runs/smoke/00_first/stage.json").unlink()
        folder = begin("00_first", LAB | FIRST).folder
        (folder / "state").mkdir()
        (folder / "state/step.json").write_text("{}")
        assert begin("00_first", LAB | FIRST | {"count": 5}).folder != folder
        assert begin("00_first", LAB | FIRST).folder == folder and (folder / "state/step.json").exists()

    def test_damage_is_not_reused(self, tutorial, capsys):
        (tutorial / "runs/smoke/00_first/numbers.json").write_text("[9]")
        assert not begin("00_first", LAB | FIRST).reused
        assert "is made anew" in capsys.readouterr().out


def test_a_reused_stage_records_what_changed(tutorial):
    stage = begin("00_first", LAB | FIRST)
    made = read_manifest(stage.folder)
    (stage.folder / "more.json").write_text("1")
    stage.finish(metrics={"a": 1})
    now = read_manifest(stage.folder)
    assert set(now["outputs"]) == {"numbers.json", "more.json"} and now["metrics"] == {"a": 1}
    assert now["wall_seconds"] == made["wall_seconds"] and now["code"] == made["code"]


def test_code_counts_and_neither_comments_nor_layout_do(tutorial):
    path = tutorial / "notebooks/00_first.ipynb"
    before = code_digest(path)
    text = path.read_text()
    path.write_text(text.replace("(stage.folder / 'numbers.json')", "(stage.folder /  'numbers.json')"))
    assert path.read_text() != text and code_digest(path) == before
    path.write_text(text.replace("[0, 1, 2, 3]", "[0, 1, 2]"))
    assert code_digest(path) != before


def test_papermill_alone_knows_profiles(tutorial):
    done = command(tutorial, "papermill", "notebooks/00_first.ipynb", "out.ipynb", "-p", "profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "its results are reused" in Path(tutorial / "out.ipynb").read_text()


def test_the_last_cell_tells_why_it_was_skipped(tmp_path, monkeypatch):
    """All cells are sent at once, as Run All does; the kernel skips those after the one that fails."""
    from jupyter_client.manager import start_new_kernel

    root = write_tutorial(tmp_path / "tiny")
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    cells = [
        cell.source
        for cell in nbformat.read(root / "notebooks/01_second.ipynb", as_version=4).cells
        if cell.cell_type == "code"
    ]
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=240)
    try:
        sent = [client.execute(source) for source in cells]
        said = {number: "" for number in sent}
        while True:
            message = client.get_iopub_msg(timeout=240)
            number = message["parent_header"].get("msg_id")
            if message["msg_type"] == "stream":
                said[number] += message["content"]["text"]
            if number == sent[-1] and message["content"].get("execution_state") == "idle":
                break
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert (
        "not executed, because cell [2] failed:\nUserError: stage 00_first of run 'laptop' is missing" in said[sent[-1]]
    )
    assert not any(said[number] for number in sent[2:-1])
