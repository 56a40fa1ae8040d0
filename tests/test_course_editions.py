"""The three editions: from one source, the same bytes each time, nothing of a solution in the student's.

Colab and Binder only where they are set.
"""

import gzip
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from ssmde_lib.cli import main as ssmde
from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.cells import EDITIONS, STUDENT
from ssmde_lib.course.editions import edition_files, repository_of, write_editions
from ssmde_lib.course.exercise import Code, Written
from ssmde_lib.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
BANK = load_bank()


@pytest.fixture(scope="module")
def zips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("editions")
    write_editions(ROOT, folder)
    return folder


@cache
def texts(path: Path) -> dict[str, str]:
    """Every readable file of a zip, the handout unpacked, notebooks as their cells."""
    found = {}
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            content = file.read(name)
            if name.endswith(".ipynb"):
                found[name] = "\n".join(cell.source for cell in nbformat.reads(content.decode(), 4).cells)
            else:
                found[name] = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    return found


def test_rebuilt_zips_are_the_same_bytes(zips, tmp_path):
    for path in write_editions(ROOT, tmp_path):
        assert path.read_bytes() == (zips / path.name).read_bytes()
    with zipfile.ZipFile(zips / "ssmde-student.zip") as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert file.namelist() == sorted(file.namelist())


def test_the_student_gets_no_solution_and_no_hidden_case(zips):
    student, solutions = texts(zips / "ssmde-student.zip"), texts(zips / "ssmde-solutions.zip")
    everything = "\n".join(student.values())
    for exercise in BANK.values():
        if isinstance(exercise, Code):
            lines = [line.strip() for line in exercise.answer.splitlines() if line not in exercise.stub.splitlines()]
            assert lines and not [line for line in lines if len(line) > 34 and line in everything], exercise.id
            assert exercise.answer not in everything and any(exercise.answer in text for text in solutions.values())
        if isinstance(exercise, Written):
            assert exercise.answer not in everything and all(what not in everything for _, what in exercise.rubric)
            assert any(exercise.answer in text for text in solutions.values())
        assert exercise.misconception not in everything and exercise.text in everything
    assert not any("teaching" in name or name.endswith(".py") for name in student)
    notebooks = "\n".join(text for name, text in student.items() if name.endswith(".ipynb"))
    assert not re.search(r"For the teacher|BEGIN SOLUTION", notebooks)


def test_handed_out_cases_are_the_visible_ones(zips):
    with zipfile.ZipFile(zips / "ssmde-student.zip") as file:
        parts = json.loads(gzip.decompress(file.read("ssmde-course/exercises.json.gz")))
    counts = {part["id"]: len(part["cases"]) for part in parts if "cases" in part}
    assert counts == {number: len(exercise.visible) for number, exercise in BANK.items() if isinstance(exercise, Code)}


def test_the_teacher_gets_all_that_is_needed(zips):
    teacher = "\n".join(texts(zips / "ssmde-instructor.zip").values())
    for exercise in BANK.values():
        assert exercise.misconception in teacher
        if isinstance(exercise, Code):
            assert all(message in teacher for message in exercise.wrong) and exercise.answer in teacher
        if isinstance(exercise, Written):
            assert all(what in teacher for _, what in exercise.rubric)


def test_links_of_the_zips_lead_somewhere(zips):
    for edition in EDITIONS:
        files = texts(zips / f"ssmde-{edition}.zip")
        for name in files:
            for target in (
                re.findall(r"\]\(([\w./]+\.(?:ipynb|md))[)#]", files[name]) if name.endswith(".ipynb") else []
            ):
                assert posixpath.normpath(posixpath.join(posixpath.dirname(name), target)) in files, (
                    edition,
                    name,
                    target,
                )


def test_the_notebooks_are_those_of_the_bank():
    done = CliRunner().invoke(ssmde, ["course", "--sync"])
    assert done.output == "the notebooks are those of the bank\n", done.output


def test_a_student_edition_runs_with_the_installed_package(zips, tmp_path):
    """In an empty folder: the handout is what is asked, not the bank."""
    with zipfile.ZipFile(zips / "ssmde-student.zip") as file:
        file.extractall(tmp_path)
    script = (
        "import sys\nfrom ssmde_lib.course import choice, exercise, hint\n"
        "def my_rho(weight, progress):\n    return weight ** (1 / progress)\n"
        'print(bool(exercise("06.1", my_rho)))\nchoice("03.3", "b")\nhint("06.1")\n'
        'print("ssmde_lib.course.bank" in sys.modules)\n'
    )
    (tmp_path / "script.py").write_text(script)
    folder, environment = tmp_path / "ssmde-course" / "notebooks", {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert "rho is per *hundredth* of the training" in done.stdout and lines[-1] == "False"
    assert (
        "✓ 03.3 What the photometric error cannot see: right." in lines
        and "Your line 2: return weight ** (1 / progress)" in done.stdout
    )


def test_nbgrader_metadata():
    files = edition_files(ROOT, STUDENT, nbgrader=True)
    notebook = nbformat.reads(files["notebooks/06_teacher.ipynb"].decode(), 4)
    marked = [(cell, cell.metadata.nbgrader) for cell in notebook.cells if "nbgrader" in cell.metadata]
    ids = [meta.grade_id for _, meta in marked]
    assert len(ids) == len(set(ids)) == 2 * 3 + 1
    assert sum(meta.get("points", 0) for _, meta in marked) == sum(
        e.points for n, e in BANK.items() if n.startswith("06.")
    )
    for cell, meta in marked:
        assert meta.schema_version == 3 and meta.locked == (not meta.solution)
        assert not cell.source.startswith("assert") or (meta.grade and meta.locked)


def test_no_link_to_colab_or_binder_where_no_repository_is_set(zips):
    if repository_of(ROOT) is None:
        for edition in EDITIONS:
            for name, text in texts(zips / f"ssmde-{edition}.zip").items():
                assert not name.endswith(".ipynb") or not re.search("colab|mybinder", text, re.IGNORECASE), name


@pytest.mark.parametrize("url", ["https://github.com/someone/ssmde", "https://github.com/someone/ssmde.git"])
def test_links_where_a_repository_is_set(url, tmp_path):
    text = (ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(
        re.sub(r"\n\[project\.urls\][^\[]*", "\n", text) + f'\n[project.urls]\nRepository = "{url}"\n'
    )
    assert repository_of(tmp_path) == "someone/ssmde"
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    notebook = nbformat.reads(edition_files(tmp_path, STUDENT)["notebooks/03_view_synthesis.ipynb"].decode(), 4)
    assert (
        "[Open in Colab](https://colab.research.google.com/github/someone/ssmde/blob/main/notebooks/03_view_synthesis.ipynb)"
        in notebook.cells[0].source
    )
    assert "mybinder.org/v2/gh/someone/ssmde/main?labpath=notebooks/03_view_synthesis.ipynb" in notebook.cells[0].source
    setup = [cell for cell in notebook.cells if "skip-execution" in cell.metadata.get("tags", [])]
    assert len(setup) == 1 and "git clone --depth 1 https://github.com/someone/ssmde" in setup[0].source
    nbformat.validate(notebook)


def test_binder_installs_the_packages_and_the_tutorial():
    assert (ROOT / "binder" / "environment.yml").read_text() == (ROOT / "environment.yml").read_text()
    assert "pip install --no-deps --editable ." in (ROOT / "binder" / "postBuild").read_text()
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


def test_another_forge_is_one_sentence(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nurls = { Repository = "https://example.org/x" }\n')
    with pytest.raises(UserError, match="https://github.com/OWNER/NAME"):
        repository_of(tmp_path)
