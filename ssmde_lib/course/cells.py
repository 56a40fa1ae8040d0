"""The exercise section of a notebook, written from the bank.

Editions differ in answers and in remarks to the teacher.
"""

from nbformat import NotebookNode, v4

from ssmde_lib.course.exercise import Code, Exercise, Prediction, Quiz, Written

STUDENT, SOLUTIONS, INSTRUCTOR = EDITIONS = ("student", "solutions", "instructor")
HEADING = "## Exercises"
INTRODUCTION = (
    f"{HEADING}\n\nWrite into the cells below, and run them: each says what is right or wrong with your answer. "
    '`hint("{first}")` gives a hint, and another one when it is called again.'
)


def write_exercises(
    notebook: NotebookNode, exercises: list[Exercise], edition: str = STUDENT, nbgrader: bool = False
) -> None:
    """Put the exercises' cells in the place of those that stand in the notebook's section "Exercises".

    Its other cells stay behind them.
    """
    start = next(place for place, cell in enumerate(notebook.cells) if cell.source.startswith(HEADING))
    end = next(place for place, cell in enumerate(notebook.cells) if place > start and cell.source.startswith("## "))
    others = [cell for cell in notebook.cells[start + 1 : end] if "ssmde" not in cell.metadata]
    notebook.cells[start:end] = [*section(exercises, edition, nbgrader), *others]


def section(exercises: list[Exercise], edition: str, nbgrader: bool) -> list[NotebookNode]:
    """Heading, set-up cell and the cells of every exercise."""
    first = exercises[0].id
    names = sorted({name for exercise in exercises for name in names_used(exercise)})
    imports = f"from ssmde_lib.course import {', '.join(names)}  # noqa: F401 some are for you to call"
    cells = [markdown(INTRODUCTION.format(first=first), first[:2], "intro"), code(imports, first[:2], "import")]
    return cells + [cell for exercise in exercises for cell in cells_of(exercise, edition, nbgrader)]


def names_used(exercise: Exercise) -> list[str]:
    """What of `ssmde_lib.course` the cells of an exercise call."""
    text = "\n".join(
        [
            exercise.given,
            exercise.use,
            exercise.text,
            "hint(",
            *(cell.source for cell in answer_cells(exercise, STUDENT, False)),
        ]
    )
    return [name for name in ("choice", "compare_runs", "exercise", "hint", "predict", "reveal") if f"{name}(" in text]


def cells_of(exercise: Exercise, edition: str, nbgrader: bool = False) -> list[NotebookNode]:
    """All cells of one exercise, in order."""
    cells = [markdown(task(exercise), exercise.id, "task")]
    if exercise.given:
        cells.append(code(exercise.given, exercise.id, "given"))
    cells += answer_cells(exercise, edition, nbgrader)
    if exercise.use:
        cells.append(code(exercise.use, exercise.id, "use"))
    if edition == INSTRUCTOR:
        cells.append(markdown(for_the_teacher(exercise), exercise.id, "teacher"))
    return cells


def task(exercise: Exercise) -> str:
    """Title, what to expect, and the task."""
    points = "1 point" if exercise.points == 1 else f"{exercise.points} points"
    lines = [
        f"**{exercise.id} {exercise.title}** ({exercise.kind}, level {exercise.level} of 3, "
        f"{exercise.minutes} minutes, {points})",
        "",
        exercise.text,
    ]
    if isinstance(exercise, Quiz) and isinstance(exercise.answer, str):
        lines += ["", *(f"- **{letter}** {text}" for letter, text in exercise.options.items())]
    return "\n".join(lines)


def answer_cells(exercise: Exercise, edition: str, nbgrader: bool) -> list[NotebookNode]:
    """Where the student writes: empty for a student, with the answer in the other editions."""
    solved = edition != STUDENT
    if isinstance(exercise, Code):
        text, call = exercise.answer if solved else exercise.stub, f'exercise("{exercise.id}", {exercise.name})'
        if nbgrader:
            return [
                code(text, exercise.id, "answer", nbgrader=grading(exercise, "answer", solution=True)),
                code(f"assert {call}", exercise.id, "check", nbgrader=grading(exercise, "check", grade=True)),
            ]
        return [code(f"{text}\n\n\n{'verdict = ' if exercise.use else ''}{call}", exercise.id, "answer")]
    if isinstance(exercise, Quiz):
        answer = (
            exercise.answer if solved else dict.fromkeys(exercise.answer) if isinstance(exercise.answer, dict) else None
        )
        return [code(f'choice("{exercise.id}", {quoted(answer)})', exercise.id, "answer")]
    if isinstance(exercise, Prediction):
        return [code(f'predict("{exercise.id}", {exercise.measured if solved else None})', exercise.id, "answer")]
    assert isinstance(exercise, Written)
    extra = {"nbgrader": grading(exercise, "answer", grade=True, solution=True)} if nbgrader else {}
    return [markdown(exercise.answer if solved else "*Your answer:*", exercise.id, "answer", **extra)]


def quoted(answer) -> str:
    """Python source of a quiz's answer, in double quotes, one line for each question."""
    if isinstance(answer, dict):
        return "{\n" + "".join(f'    "{key}": {quoted(value)},\n' for key, value in answer.items()) + "}"
    return "None" if answer is None else f'"{answer}"'


def for_the_teacher(exercise: Exercise) -> str:
    """What the instructor's edition adds: time, what is believed, typical mistakes, rubric, hidden cases."""
    lines = [
        f"> **For the teacher.** {exercise.minutes} minutes, {exercise.points} points. "
        f"*Misconception:* {exercise.misconception}",
        ">",
    ]
    lines += [f"> - Hint: {hint}" for hint in exercise.hints]
    if isinstance(exercise, Code):
        lines += [
            f"> - Typical mistake `{function.__name__}`: {message}" for message, function in exercise.wrong.items()
        ]
        lines.append(
            f"> - Graded by {len(exercise.visible)} visible and {len(exercise.hidden)} hidden cases, "
            "half of the points each."
        )
    if isinstance(exercise, Written):
        lines += [f"> - {points}: {what}" for points, what in exercise.rubric]
    return "\n".join(lines)


def grading(exercise: Exercise, part: str, grade: bool = False, solution: bool = False) -> dict:
    """nbgrader's metadata of a cell (its schema, version 3)."""
    found = {
        "schema_version": 3,
        "grade_id": cell_id(exercise.id, part),
        "grade": grade,
        "solution": solution,
        "locked": not solution,
        "task": False,
    }
    return found | ({"points": exercise.points} if grade else {})


def cell_id(number: str, part: str) -> str:
    """The id of an exercise's cell, unique in its notebook."""
    return f"ex-{number.replace('.', '-')}-{part}"


def markdown(source: str, number: str, part: str, **metadata) -> NotebookNode:
    """A Markdown cell that belongs to an exercise."""
    return v4.new_markdown_cell(
        source, id=cell_id(number, part), metadata={"ssmde": {"exercise": number, "part": part}} | metadata
    )


def code(source: str, number: str, part: str, **metadata) -> NotebookNode:
    """A code cell that belongs to an exercise."""
    return v4.new_code_cell(
        source, id=cell_id(number, part), metadata={"ssmde": {"exercise": number, "part": part}} | metadata
    )
