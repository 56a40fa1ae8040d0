"""Tries a student's function on cases and says what is wrong: the call, the value, and the student's own line."""

import copy
import inspect
import linecache
import reprlib
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from types import CodeType

import numpy as np

from ssmde_lib.course.compare import difference
from ssmde_lib.course.exercise import Case, same_code
from ssmde_lib.course.material import MEASURES

PASSED, FAILED, MISSING = "passed", "failed", "not attempted"


@dataclass(frozen=True)
class Verdict:
    """What is said about an answer; true if it is right. A notebook cell that ends in one shows its text once."""

    status: str
    text: str
    passed: int = 0  # cases

    def __bool__(self) -> bool:
        return self.status == PASSED

    def _ipython_display_(self) -> None:
        """Nothing: the text has been printed."""


@dataclass
class Outcome:
    """What a call came to: a value or an error, and the line of the function where it ended."""

    value: object = None
    error: BaseException | None = None
    line: str = ""


def check(exercise: dict, function: Callable | None, cases: list[Case]) -> Verdict:
    """The verdict on a function: of the first case that fails, or of all of them.

    Args:
        exercise: the public part, with `id`, `name`, `stub`, `rtol` and `atol`.
        function: the student's; None, a stub or an unchanged bug hunt is "not attempted".
    """
    title = f"{exercise['id']} {exercise['name']}"
    if function is None or is_stub(function, exercise["stub"]):
        return Verdict(MISSING, f"… {title}: not attempted.")
    for number, case in enumerate(cases):
        given = copy.deepcopy(case.arguments)
        outcome = measured(exercise["measure"], case, call(function, given))
        if isinstance(outcome.error, NotImplementedError):
            return Verdict(MISSING, f"… {title}: not attempted.")
        problem = problem_of(exercise, case, given, outcome)
        if problem:
            lines = [f"✗ {title}: case {number + 1} of {len(cases)}. {problem}"]
            lines += [f"Your {outcome.line}"] if outcome.line else []
            lines += advice(case, outcome, exercise)
            return Verdict(FAILED, "\n  ".join(lines), number)
    return Verdict(PASSED, f"✓ {title}: right ({len(cases)} of {len(cases)} cases).", len(cases))


def is_stub(function: Callable, stub: str) -> bool:
    """Whether the function is still as it was given out."""
    try:
        return same_code(inspect.getsource(function), stub)
    except (OSError, TypeError):
        return False


def call(function: Callable, arguments: tuple) -> Outcome:
    """Calls a student's function; what it prints is kept from the notebook, what it raises is kept for the report."""
    code, ended = getattr(function, "__code__", None), []

    def trace(frame, event, _):
        if frame.f_code is not code:
            return None
        frame.f_trace_lines = False  # loops keep their speed
        if event == "return":
            ended.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    try:
        with redirect_stdout(StringIO()), np.errstate(all="ignore"):
            sys.settrace(trace)
            try:
                value = function(*arguments)
            finally:
                sys.settrace(before)
    except (Exception, SystemExit) as error:
        places = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if code and frame.filename == code.co_filename and frame.lineno
        ]
        return Outcome(error=error, line=line_of(code, places[-1:]))
    return Outcome(value=value, line=line_of(code, ended[-1:]))


def measured(name: str, case: Case, outcome: Outcome) -> Outcome:
    """The outcome with what is compared of its value: the value itself, or a measure of it."""
    if not name or outcome.error:
        return outcome
    try:
        return replace(outcome, value=MEASURES[name](case.arguments, outcome.value))
    except (TypeError, ValueError) as error:
        return replace(outcome, error=error)


def line_of(code: CodeType | None, places: list[int]) -> str:
    """ "line 3: return x": counted from the function's first line."""
    if not code or not places:
        return ""
    text = linecache.getline(code.co_filename, places[0]).strip()
    return f"line {places[0] - code.co_firstlineno + 1}: {text}" if text else ""


def problem_of(exercise: dict, case: Case, given: tuple, outcome: Outcome) -> str:
    """What is wrong with one call, in a sentence; empty if nothing."""
    shown = f"{exercise['name']}({', '.join(map(short, case.arguments))})"
    if outcome.error:
        return f"{shown} raises {type(outcome.error).__name__}: {outcome.error}."
    if difference(case.arguments, given, 0, 0):
        return f"{shown} changes its own arguments: work on copies."
    problem = difference(case.expected, outcome.value, exercise["rtol"], exercise["atol"])
    return f"{shown}: {problem}." if problem else ""


def advice(case: Case, outcome: Outcome, exercise: dict) -> list[str]:
    """The message of the typical mistake that gives the same value, and where hints are."""
    alike = [
        message
        for value, message in case.mistakes
        if outcome.error is None and not difference(value, outcome.value, exercise["rtol"], exercise["atol"])
        and difference(value, case.expected, exercise["rtol"], exercise["atol"])
    ]  # fmt: skip
    return alike[:1] + ([f'hint("{exercise["id"]}") gives a hint.'] if exercise["hints"] else [])


def short(value) -> str:
    """An argument, short enough for a sentence."""
    if callable(value):
        return value.__name__
    if isinstance(value, np.ndarray):
        return (
            " ".join(np.array2string(value, precision=4, separator=", ").split())
            if value.size <= 6
            else f"<array {value.shape}>"
        )
    return reprlib.repr(value)
