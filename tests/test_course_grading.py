"""Grading: golden submissions give the known table, pages and sheet.

A function that loops, hogs or crashes hurts only itself.
"""

import csv
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssmde_lib.cli import main as ssmde
from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.cells import SOLUTIONS, STUDENT, section
from ssmde_lib.course.exercise import Written

BANK = load_bank()


def cell(source: str, kind: str = "code", **metadata) -> dict:
    return {
        "cell_type": kind,
        "source": source.splitlines(keepends=True),
        "metadata": {"ssmde": metadata} if metadata else {},
    }


def notebook(*cells: dict) -> str:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def notebooks(edition: str) -> list[tuple[str, str]]:
    """The exercise sections as an edition has them: the solutions are a perfect student's, the student's is empty."""
    found = []
    for prefix in sorted({number[:2] for number in BANK}):
        cells = section(
            [exercise for number, exercise in BANK.items() if number.startswith(prefix)], edition, nbgrader=False
        )
        found.append((f"{prefix}_x.ipynb", notebook(cell("import numpy as np\n%matplotlib inline"), *cells)))
    return found


HEADER = "import numpy as np\nfrom ssmde_lib.losses.forgetting import forgetting_factor\nrate = 0.97\n"
FAULTY = {
    "crashing": "def my_factor(progress):\n    return [][int(progress)]",
    "endless": "def my_factor(progress):\n    while True:\n        pass",
    "hog": "def my_factor(progress):\n    return np.ones((1 << 34,)).sum()",
    "signature": "def my_factor():\n    return 1",
    "quitting": "import os\n\n\ndef my_factor(progress):\n    os._exit(0)",
    "visible_only": "def my_factor(progress):\n"
    "    return {0.0: 1, 0.25: 1}.get(progress, rate ** (100 * (0.6 - 0.25) / 0.75))",
    "helped": "def rest(progress):\n    return max(0, (progress - 0.25) / 0.75)\n\n\n"
    "my_factor = lambda progress: rate ** (100 * rest(progress))",
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    handed_in = folder / "handed_in"
    (handed_in / "perfect" / ".ipynb_checkpoints").mkdir(parents=True)
    for name, text in notebooks(SOLUTIONS):
        (handed_in / "perfect" / name).write_text(text)
    (handed_in / "perfect" / ".ipynb_checkpoints" / "06_x.ipynb").write_text("{")
    with zipfile.ZipFile(handed_in / "empty.zip", "w") as file:
        for name, text in notebooks(STUDENT):
            file.writestr(f"notebooks/{name}", text)
    for student, source in FAULTY.items():
        called = cell('exercise("06.2", my_factor)', exercise="06.2")
        (handed_in / f"{student}.ipynb").write_text(
            notebook(cell(HEADER), cell(source), cell("this is no Python"), called)
        )
    (handed_in / "damaged.ipynb").write_text("{")
    (handed_in / "strange.ipynb").write_text('{"cells": [7, {"cell_type": "code", "source": null}]}')
    (handed_in / "broken.zip").write_text("no zip")
    (handed_in / "late.txt").write_text("no notebook")
    done = CliRunner().invoke(
        ssmde, ["grade", str(handed_in), "--out", str(folder / "grades.csv"), "--seconds", "1", "--memory", "512"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith("submissions graded: 12."), done.output
    return folder


def test_the_table_is_the_known_one(graded):
    with (graded / "grades.csv").open() as file:
        table = {line["student"]: line for line in csv.DictReader(file)}
    automatic = sum(exercise.points for exercise in BANK.values() if not isinstance(exercise, Written))
    written = sum(isinstance(exercise, Written) for exercise in BANK.values())
    assert list(table) == sorted(["perfect", "empty", "damaged", "strange", "broken", *FAULTY])
    expected = {"perfect": automatic, "visible_only": 1, "helped": 2}
    for student, line in table.items():
        assert (float(line["points"]), int(line["of"])) == (expected.get(student, 0), automatic), student
        assert int(line["to read"]) == (written if student == "perfect" else 0)
        for number, exercise in BANK.items():
            wanted = str(exercise.points) if student == "perfect" else "0"
            if not isinstance(exercise, Written):
                assert number == "06.2" or line[number] == wanted, (student, number)
    assert table["perfect"]["06.4"] == "" and table["empty"]["06.4"] == "0"


@pytest.mark.parametrize(
    ("student", "says"),
    [
        ("perfect", "✓ 06.2 my_factor: all cases right."),
        ("empty", "Not attempted: 00.1, 00.2, 00.3,"),
        ("crashing", "raises IndexError: list index out of range.\n  Your line 2: return [][int(progress)]"),
        ("endless", "✗ 06.2 my_factor: no answer after 1 s. Is there an endless loop?"),
        ("hog", "Unable to allocate 128. GiB"),
        ("signature", "raises TypeError: my_factor() takes 0 positional arguments but 1 was given."),
        ("quitting", "its process ended without an answer"),
        ("visible_only", "This was a hidden case; the visible ones are right."),
        ("helped", "## 06.2 A plateau first: 2 of 2"),
        ("damaged", "damaged.ipynb is no notebook that can be read."),
        ("strange", "strange.ipynb is no notebook that can be read."),
        ("broken", "broken.zip is no notebook that can be read."),
        ("hog", "a cell cannot be read (invalid syntax): 'this is no Python'"),
    ],
)
def test_feedback_says_what_happened(graded, student, says):
    assert says in (graded / "feedback" / f"{student}.md").read_text()


def test_the_sheet_holds_rubric_and_answers(graded):
    sheet = (graded / "rubric.md").read_text()
    for exercise in BANK.values():
        if isinstance(exercise, Written):
            assert f"## {exercise.id} {exercise.title}" in sheet and all(what in sheet for _, what in exercise.rubric)
            assert f"> {exercise.answer}" in sheet
    assert sheet.count("### perfect") == sum(isinstance(exercise, Written) for exercise in BANK.values())
    assert "### empty" not in sheet


def test_one_lesson_is_graded_alone(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rubric.ipynb").write_text(dict(notebooks(SOLUTIONS))["00_x.ipynb"])
    options = ["--out", str(tmp_path / "grades.csv"), "--notebook", "00"]
    done = CliRunner().invoke(ssmde, ["grade", str(tmp_path / "in"), *options])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "grades.csv").read_text() == "student,00.1,00.2,00.3,points,of,to read\nrubric,1,2,3,6,6,0\n"
    assert (tmp_path / "feedback" / "rubric.md").read_text().startswith("# Feedback for rubric")


def test_nothing_to_grade_is_one_sentence(tmp_path):
    done = CliRunner().invoke(ssmde, ["grade", str(tmp_path), "--out", str(tmp_path / "grades.csv")])
    assert done.exit_code == 1 and "holds no notebooks" in done.output
