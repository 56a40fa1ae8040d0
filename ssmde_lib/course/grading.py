"""Grades a folder of handed-in notebooks: a table, feedback for every student, a sheet of answers to read."""

import csv
import json
import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.check import FAILED, MISSING, PASSED
from ssmde_lib.course.exercise import Code, Exercise, Prediction, Quiz, Written
from ssmde_lib.course.notebook import judge_choice
from ssmde_lib.course.submission import Submission, read_submissions
from ssmde_lib.course.worker import run

TO_READ = "to read"
PATIENCE = 20  # so many times the limit of processor time may pass on the clock: the machine may be busy
BLANK = ("", "*Your answer:*")


@dataclass(frozen=True)
class Grade:
    """What one answer earns; points are None where a person has to read it."""

    status: str
    points: float | None
    text: str = ""


def grade_folder(
    submissions: Path,
    out: Path,
    feedback: Path,
    *,
    notebooks: tuple[str, ...] = (),
    seconds: float = 5,
    memory: int = 1024,
    jobs: int = 2,
) -> dict[str, dict[str, Grade]]:
    """Grade every submission below a folder, and write the table, the sheet `rubric.md` beside it, and the pages.

    Args:
        submissions: one .ipynb, folder or .zip a student.
        out: the table, CSV.
        feedback: folder for `<student>.md`.
        notebooks: the exercises of these notebooks only, "00" to "10"; all of them where it is empty.
        seconds, memory: limits of one function: processor time, and MiB.
        jobs: processes at once.
    """
    bank = {number: each for number, each in load_bank().items() if not notebooks or number[:2] in notebooks}
    handed_in = read_submissions(submissions, {number: e.name for number, e in bank.items() if isinstance(e, Code)})
    context = multiprocessing.get_context("forkserver")
    uses_torch = any("torch" in source for each in handed_in for _, source in each.functions.values())
    context.set_forkserver_preload(["ssmde_lib.course.worker", *(["torch"] if uses_torch else [])])
    with ThreadPoolExecutor(jobs) as pool:
        grades = list(pool.map(lambda each: grade_submission(each, bank, context, seconds, memory), handed_in))
    table = {each.student: found for each, found in zip(handed_in, grades, strict=True)}
    feedback.mkdir(parents=True, exist_ok=True)
    write_table(out, bank, table)
    out.with_name("rubric.md").write_text(rubric_sheet(handed_in, bank))
    for each in handed_in:
        (feedback / f"{each.student}.md").write_text(feedback_page(each, bank, table[each.student]))
    return table


def grade_submission(
    submission: Submission, bank: dict[str, Exercise], context, seconds: float, memory: int
) -> dict[str, Grade]:
    """The grade of every exercise, by id."""
    grades = {}
    for number, exercise in bank.items():
        if isinstance(exercise, Code):
            grades[number] = grade_function(
                exercise, *submission.functions.get(number, ("", "")), context, seconds, memory
            )
        elif isinstance(exercise, Quiz):
            grades[number] = grade_quiz(exercise, submission.literals.get(number))
        elif isinstance(exercise, Prediction):
            guessed = isinstance(submission.literals.get(number), (int, float))
            grades[number] = Grade(PASSED, exercise.points, exercise.explanation) if guessed else Grade(MISSING, 0)
        else:
            text = submission.texts.get(number, "").strip()
            grades[number] = Grade(MISSING, 0) if text in BLANK else Grade(TO_READ, None)
    return grades


def grade_quiz(exercise: Quiz, answer) -> Grade:
    """A single choice earns all or nothing, a table its share of right entries."""
    verdict = judge_choice(exercise.public(), answer)
    entries = len(exercise.answer) if isinstance(exercise.answer, dict) else 1
    return Grade(verdict.status, exercise.points * verdict.passed / entries, verdict.text)


def grade_function(exercise: Code, name: str, source: str, context, seconds: float, memory: int) -> Grade:
    """Runs a function in a process of its own; one that does not answer in time is killed."""
    if not source:
        return Grade(MISSING, 0)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(exercise.id, name, source, seconds, memory, theirs), daemon=True)
    process.start()
    theirs.close()
    endless = f"no answer after {seconds:g} s. Is there an endless loop?"
    try:
        if not ours.poll(PATIENCE * seconds):
            return Grade(FAILED, 0, f"✗ {exercise.id} {name}: {endless}")
        result = json.loads(ours.recv_bytes())
        return Grade(result["status"], exercise.points * result["share"], result["text"])
    except EOFError:
        process.join(1)
        crash = f"its process ended without an answer (memory above {memory} MiB, or a crash)."
        reason = endless if process.exitcode == -signal.SIGPROF else crash
        return Grade(FAILED, 0, f"✗ {exercise.id} {name}: {reason}")
    finally:
        kill(process)
        ours.close()


def kill(process) -> None:
    """Ends a process and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.join()


# ---- what is written -------------------------------------------------------------------------------------------------


def total(grades: dict[str, Grade]) -> float:
    """Points earned, without what a person has not read yet."""
    return sum(grade.points or 0 for grade in grades.values())


def of_automatic(bank: dict[str, Exercise]) -> int:
    """Points of all exercises that need no person."""
    return sum(exercise.points for exercise in bank.values() if not isinstance(exercise, Written))


def write_table(path: Path, bank: dict[str, Exercise], table: dict[str, dict[str, Grade]]) -> None:
    """One line a student: points by exercise, empty where a person reads.

    Their sum, of how many, and how many are to be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["student", *bank, "points", "of", "to read"])
        for student, grades in table.items():
            points = ["" if grade.points is None else f"{grade.points:g}" for grade in grades.values()]
            to_read = sum(grade.status == TO_READ for grade in grades.values())
            writer.writerow([student, *points, f"{total(grades):g}", of_automatic(bank), to_read])


def feedback_page(submission: Submission, bank: dict[str, Exercise], grades: dict[str, Grade]) -> str:
    """Markdown for one student; what was not attempted is named on one line."""
    lines = [
        f"# Feedback for {submission.student}",
        "",
        f"{total(grades):g} of {of_automatic(bank)} points, without what a person reads.",
        "",
    ]
    lines += [f"> {remark}" for remark in submission.remarks]
    for number, grade in grades.items():
        if grade.status != MISSING:
            points = "to be read" if grade.points is None else f"{grade.points:g} of {bank[number].points}"
            lines += [
                f"## {number} {bank[number].title}: {points}",
                "",
                *(["```", grade.text, "```", ""] if grade.text else []),
            ]
    missing = [number for number, grade in grades.items() if grade.status == MISSING]
    return "\n".join([*lines, f"Not attempted: {', '.join(missing) or 'nothing'}.", ""])


def rubric_sheet(handed_in: list[Submission], bank: dict[str, Exercise]) -> str:
    """Markdown for the teacher: exercises that a person grades, with rubric, model answer and students' answers."""
    lines = ["# Answers to read", ""]
    for number, exercise in bank.items():
        if isinstance(exercise, Written):
            lines += [f"## {number} {exercise.title} ({exercise.points} points)", "", exercise.text, ""]
            lines += [f"- {points}: {what}" for points, what in exercise.rubric] + [
                "",
                f"A model answer: {exercise.answer}",
                "",
            ]
            for each in handed_in:
                text = each.texts.get(number, "").strip()
                if text not in BLANK:
                    lines += [
                        f"### {each.student}: __ of {exercise.points}",
                        "",
                        *(f"> {line}" for line in text.splitlines()),
                        "",
                    ]
    return "\n".join(lines)
