"""The exercise bank: every solution passes, every typical mistake gets its message, stubs are not attempted.

Solutions equal the library's.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ssmde_lib.course import handout, notebook
from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.check import FAILED, MISSING, PASSED, check
from ssmde_lib.course.exercise import KINDS, Code, Prediction, Quiz, Written, as_table, renamed, source
from ssmde_lib.errors import UserError

BANK = load_bank()
FUNCTIONS = {number: exercise for number, exercise in BANK.items() if isinstance(exercise, Code)}


def compiled(text: str, name: str):
    """A function from its source, with the names that a notebook has, and its lines known to tracebacks."""
    import linecache

    filename = f"<cell {name} {hash(text)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope = {"np": np}
    exec(compile(text, filename, "exec"), scope)
    return scope[name]


def test_every_notebook_has_exercises_of_rising_difficulty():
    for notebook_number in range(11):
        levels = [exercise.level for number, exercise in BANK.items() if number.startswith(f"{notebook_number:02}.")]
        assert len(levels) >= 2
        functions = [e.level for number, e in FUNCTIONS.items() if number.startswith(f"{notebook_number:02}.")]
        assert (functions == sorted(functions) and functions[0] == 1) or notebook_number == 4
    assert {exercise.kind for exercise in BANK.values()} == set(KINDS)


def test_the_syllabus_has_the_minutes_of_the_bank():
    page = (Path(__file__).parents[1] / "docs" / "teaching.md").read_text()
    lines = re.findall(r"^\| [^|]+ \| ([\d, ]+) \| [^|]+ \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert [stem for stems, _, _ in lines for stem in stems.split(", ")] == sorted({number[:2] for number in BANK})
    for stems, own, ablations in lines:
        minutes = [
            (exercise.kind == "ablation", exercise.minutes)
            for number, exercise in BANK.items()
            if number[:2] in stems.split(", ")
        ]
        assert int(own) == sum(each for ablation, each in minutes if not ablation)
        assert int(ablations) == sum(each for ablation, each in minutes if ablation)
    assert f"{len(BANK)} exercises stand" in page and f"all {len(FUNCTIONS)} functions" in page
    named = set(re.findall(r"\b\d\d\.\d\b", page.split("## Projects")[0]))
    assert named <= set(BANK)


@pytest.mark.parametrize("exercise", BANK.values(), ids=BANK)
def test_is_complete(exercise):
    assert re.fullmatch(r"(0\d|10)\.[1-9]", exercise.id) and exercise.level in (1, 2, 3)
    assert exercise.minutes > 0 < exercise.points and exercise.text and exercise.misconception
    assert exercise.hints or isinstance(exercise, Written)
    if isinstance(exercise, Written):
        assert sum(points for points, _ in exercise.rubric) == exercise.points and exercise.answer


@pytest.mark.parametrize("exercise", FUNCTIONS.values(), ids=FUNCTIONS)
class TestFunctions:
    def test_solution_passes_and_stub_is_not_attempted(self, exercise):
        cases = exercise.cases(exercise.visible + exercise.hidden)
        verdict = check(exercise.public(), exercise.solution, cases)
        assert (
            verdict.status == PASSED
            and verdict.text == f"✓ {exercise.id} {exercise.name}: right ({len(cases)} of {len(cases)} cases)."
        )
        assert check(exercise.public(), compiled(exercise.stub, exercise.name), cases).status == MISSING
        assert check(exercise.public(), None, cases).status == MISSING
        assert len(exercise.visible) >= 1 <= len(exercise.hidden)

    def test_each_mistake_gets_its_message(self, exercise):
        assert exercise.wrong
        for message, function in exercise.wrong.items():
            verdict = check(exercise.public(), function, exercise.cases(exercise.visible + exercise.hidden))
            assert verdict.status == FAILED and message in verdict.text, verdict.text
            assert f"{exercise.name}(" in verdict.text and "Your line" in verdict.text

    def test_broken_version_fails_once_it_is_touched(self, exercise):
        if exercise.broken:
            touched = compiled(exercise.stub + "\n    # touched\n    pass\n", exercise.name)
            assert check(exercise.public(), touched, exercise.cases(exercise.visible)).status == FAILED

    def test_nothing_of_the_solution_is_public(self, exercise):
        packed = handout.pack([exercise.public()])
        import gzip

        text = gzip.decompress(packed).decode()
        body = [line.strip() for line in exercise.answer.splitlines()[1:] if line.strip() and line not in exercise.stub]
        assert all(line not in text for line in body if len(line) > 12)
        assert packed == handout.pack([exercise.public()])


def test_the_handout_gives_what_the_bank_gives(tmp_path):
    handout.write_handout(tmp_path / handout.NAME, list(BANK.values()))
    parts = handout.read_handout(tmp_path / handout.NAME)
    assert list(parts) == list(BANK)
    for number, exercise in FUNCTIONS.items():
        part = parts[number]
        assert check(part, exercise.solution, part["cases"]).status == PASSED
        assert check(part, compiled(exercise.stub, exercise.name), part["cases"]).status == MISSING
        first = next(iter(exercise.wrong.values()))
        own = check(exercise.public(), first, exercise.cases(exercise.visible))
        assert check(part, first, part["cases"]).text == own.text


QUIZZES = {number: exercise for number, exercise in BANK.items() if isinstance(exercise, Quiz)}


@pytest.mark.parametrize("quiz", QUIZZES.values(), ids=QUIZZES)
def test_every_wrong_choice_gets_its_remark(quiz):
    public, right = quiz.public(), as_table(quiz.answer)
    assert notebook.judge_choice(public, quiz.answer).status == PASSED
    assert notebook.judge_choice(public, None).status == MISSING
    assert notebook.judge_choice(public, dict.fromkeys(right) if "" not in right else None).status == MISSING
    for key, value in right.items():
        for option in set(quiz.options) - {value}:
            verdict = notebook.judge_choice(public, right | {key: option} if key else option)
            assert verdict.status == FAILED and quiz.feedback[key or option] in verdict.text


def my_factor(progress):
    decay = 0.97 ** (100 * progress)
    return decay


def raises(progress):
    weights = [1.0]
    return weights[int(progress * 10)]


def changes_its_arguments(image, K):
    K[0, 2] = 0
    return image, K


def test_feedback_names_the_call_the_line_and_the_way_out(capsys):
    assert not notebook.exercise("06.2", my_factor)
    assert capsys.readouterr().out == (
        "✗ 06.2 my_factor: case 2 of 3. my_factor(0.25): the value is 0.466975, expected is 1.\n"
        "  Your line 3: return decay\n"
        "  There is no plateau: the decay begins at once.\n"
        '  hint("06.2") gives a hint.\n'
    )
    assert not notebook.exercise("06.2", raises)
    assert (
        "my_factor(0.25) raises IndexError: list index out of range.\n  Your line 3: return weights["
        in capsys.readouterr().out
    )
    assert not notebook.exercise("01.4", changes_its_arguments)
    assert "changes its own arguments" in capsys.readouterr().out
    notebook.hints_given.clear()
    for expected in ("Hint 1 of 2", "Hint 2 of 2", "Hint 2 of 2"):
        notebook.hint("06.2")
        assert capsys.readouterr().out.startswith(expected)


def prints(K, s):
    print("stray")
    return K


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda K, s: None, "is there a return statement"),
        (lambda K, s: K[:2], "the shape is (2, 3), expected is (3, 3)"),
        (lambda K, s: K * np.nan, "it contains nan"),
        (lambda K, s: "text", "a number or an array is expected, not str"),
        (prints, "the value at (0, 0) is 100, expected is 50 (44% of the values differ)"),
        (lambda K: K, "raises TypeError"),
    ],
)
def test_other_wrong_answers_are_named(answer, message, capsys):
    verdict = notebook.exercise("01.3", answer)
    printed = capsys.readouterr().out
    assert not verdict and message in printed and "stray" not in printed and verdict._ipython_display_() is None


def test_predictions_are_noted_before_they_are_revealed(capsys):
    notebook.guesses.clear()
    notebook.reveal("00.1", 0.5)
    assert "measured 0.5, you made no guess" in capsys.readouterr().out
    notebook.predict("00.1", None)
    assert "not attempted" in capsys.readouterr().out
    notebook.predict("00.1", 0.4)
    notebook.reveal("00.1", 0.5)
    assert "measured 0.5, you guessed 0.4" in capsys.readouterr().out
    assert all(isinstance(exercise, (Prediction, Quiz)) for exercise in BANK.values() if exercise.kind == "prediction")


def test_runs_are_compared_with_all_that_they_read(tmp_path, monkeypatch, capsys):
    def write(run, stage, upstream, parameters, metrics):
        (tmp_path / run / stage).mkdir(parents=True)
        content = {"parameters": {"run": run, **parameters}, "upstream": upstream, "metrics": metrics, "outputs": {}}
        (tmp_path / run / stage / "stage.json").write_text(json.dumps(content))

    monkeypatch.setenv("SSMDE_RUNS", str(tmp_path))
    for run, kind, seed, error in (("a", "extended", 0, 0.2), ("b", "plain", 0, 0.25), ("c", "plain", 1, 0.3)):
        write(run, "07_multiview_mask", {}, {"kind": kind}, {})
        write(run, "08_student", {"07_multiview_mask": "hash"}, {"seed": seed}, {"student all": error, "regions": {}})
    notebook.compare_runs("08_student", "a", "b")
    shown = "07_multiview_mask.kind: 'extended' in a, 'plain' in b\nstudent all                      0.2000   0.2500\n"
    assert capsys.readouterr().out == shown
    notebook.compare_runs("08_student", "a", "c")
    assert "✗ 2 parameters differ: an ablation changes exactly one." in capsys.readouterr().out
    with pytest.raises(UserError, match="stage 08_student of run 'd' is missing"):
        notebook.compare_runs("08_student", "a", "d")


def test_renaming_a_broken_function_changes_its_name_only():
    exercise = BANK["00.3"]
    assert renamed(exercise.broken, "my_chain").replace("my_chain", exercise.broken.__name__) == source(exercise.broken)
