"""What an exercise is: five kinds of answers, and the part of each that a student may see.

The bank (`ssmde_lib.course.bank`) holds the whole: solution, hidden cases, typical wrong answers, rubric. `public()`
gives the part that goes out with a student edition: the stub, the hints, and the visible cases with their expected
*values*, no code.
"""

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssmde_lib.course.material import MEASURES

KINDS = ("code", "bug hunt", "prediction", "ablation", "quiz", "reading")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of a student's function: the arguments, what is expected, and what typical mistakes give instead."""

    arguments: tuple
    expected: object
    mistakes: list[tuple[object, str]] = field(default_factory=list)  # (the wrong value, the message it must get)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What all exercises have in common.

    Args:
        id: notebook and number, "06.1".
        kind: one of KINDS.
        level: 1 (a formula to write down) to 3 (needs an idea).
        text: the task, Markdown, as it stands in the notebook.
        hints: a ladder, from a nudge to nearly the answer.
        misconception: what those who fail usually believe; for the instructor.
        given: code that stands in the notebook before the answer.
        use: code that stands after it, where a right answer is measured or used.
    """

    id: str
    title: str
    kind: str
    level: int
    minutes: int
    points: int
    text: str
    hints: tuple[str, ...] = ()
    misconception: str = ""
    given: str = ""
    use: str = ""

    def public(self) -> dict:
        """What a student may see, as plain data."""
        return {"id": self.id, "title": self.title, "kind": self.kind, "points": self.points, "hints": list(self.hints)}


@dataclass(frozen=True, kw_only=True)
class Code(Exercise):
    """A function to write (kind "code") or to repair (kind "bug hunt").

    Args:
        solution: the function; its signature and docstring are the stub.
        broken: for a bug hunt, the function that the student is given, of the same name and signature.
        visible, hidden: tuples of arguments.
        wrong: typical wrong answers, by the message that each must get.
        rtol, atol: tolerances of the comparison.
        measure: for answers that are not unique, what of them is compared: a name in `material.MEASURES`.
    """

    solution: Callable
    broken: Callable | None = None
    visible: list[tuple]
    hidden: list[tuple]
    wrong: dict[str, Callable] = field(default_factory=dict)
    rtol: float = 1e-4
    atol: float = 1e-6
    measure: str = ""

    @property
    def name(self) -> str:
        """The name of the student's function."""
        return self.solution.__name__

    @property
    def stub(self) -> str:
        """The source that the student starts from."""
        return renamed(self.broken, self.name) if self.broken else stub_of(self.solution)

    @property
    def answer(self) -> str:
        """The source of the solution."""
        return source(self.solution)

    def cases(self, arguments: list[tuple]) -> list[Case]:
        """Cases with the values that the solution and the typical wrong answers give."""
        return [
            Case(arguments=each, expected=self.value(self.solution, each), mistakes=self.mistakes(each))
            for each in arguments
        ]

    def value(self, function: Callable, arguments: tuple):
        """What of the function's answer is compared."""
        answer = function(*arguments)
        return MEASURES[self.measure](arguments, answer) if self.measure else answer

    def mistakes(self, arguments: tuple) -> list[tuple[object, str]]:
        """The typical wrong answers to a case, each with the message that it gets."""
        with np.errstate(all="ignore"):
            return [(self.value(function, arguments), message) for message, function in self.wrong.items()]

    def public(self) -> dict:
        """What a student may see, as plain data."""
        cases = [vars(case) for case in self.cases(self.visible)]
        settings = {name: getattr(self, name) for name in ("name", "stub", "rtol", "atol", "measure")}
        return super().public() | settings | {"cases": cases}


@dataclass(frozen=True, kw_only=True)
class Quiz(Exercise):
    """A choice among options, or a table to fill in.

    Args:
        options: the texts by letter; for a table, what each value means.
        answer: the letter; for a table, the value of every key.
        feedback: what is said to a wrong letter, or to a wrong value of a key.
    """

    options: dict[str, str]
    answer: str | dict[str, str]
    feedback: dict[str, str]

    def public(self) -> dict:
        """What a student may see, as plain data."""
        right = {key: seal(self.id, key, value) for key, value in as_table(self.answer).items()}
        return super().public() | {"options": list(self.options), "right": right, "feedback": self.feedback}


@dataclass(frozen=True, kw_only=True)
class Prediction(Exercise):
    """A number to guess before it is measured: the guess is graded for being made, not for being right.

    Args:
        measured: what the run shows at laptop scale, for the solutions.
        explanation: why; shown with the measured value.
    """

    measured: float
    explanation: str

    def public(self) -> dict:
        """What a student may see, as plain data."""
        return super().public() | {"explanation": self.explanation}


@dataclass(frozen=True, kw_only=True)
class Written(Exercise):
    """An answer in words, read by a person: an ablation's report or a reading.

    Args:
        rubric: (points, what earns them).
        answer: a model answer.
    """

    rubric: tuple[tuple[int, str], ...]
    answer: str


def as_table(answer: Any) -> dict[str, Any]:
    """A quiz's answer by key; a single choice has the key ""."""
    return answer if isinstance(answer, dict) else {"": answer}


def seal(exercise: str, key: str, value) -> str:
    """A right answer that cannot be read at a glance (four options are soon tried out: this keeps no secret)."""
    return hashlib.sha256(json.dumps([exercise, key, value]).encode()).hexdigest()


# ---- source of functions ---------------------------------------------------------------------------------------------


def source(function: Callable) -> str:
    """The function's source, from the left margin."""
    return textwrap.dedent(inspect.getsource(function)).rstrip()


def stub_of(function: Callable) -> str:
    """Signature and docstring, and a body that says that it is not written yet."""
    text = source(function)
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    head = "\n".join(text.splitlines()[: definition.body[0].end_lineno])  # the docstring is the first statement
    return f"{head}\n    raise NotImplementedError  # your code"


def renamed(function: Callable, name: str) -> str:
    """The function's source under another name."""
    return source(function).replace(f"def {function.__name__}(", f"def {name}(", 1)


def same_code(one: str, other: str) -> bool:
    """Whether two sources are the same program; comments and layout do not count."""
    try:
        return ast.dump(ast.parse(textwrap.dedent(one))) == ast.dump(ast.parse(textwrap.dedent(other)))
    except SyntaxError:
        return False
