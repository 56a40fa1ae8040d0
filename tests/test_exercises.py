"""The exercise checker: right answers pass, each kind of wrong answer is named."""

import numpy as np
import pytest
import torch

from ssmde_lib.course.exercises import check

X = torch.arange(6.0, device="cpu").reshape(2, 3)
CASES = [(X, 2.0), (X + 1, -1.0)]


def scale(x, factor):
    return x * factor


def unsolved(x, factor):
    raise NotImplementedError


def crash(x, factor):
    return x @ x


def silent(x, factor):
    x * factor


def in_place(x, factor):
    return x.mul_(factor)


def test_right_answers_pass(capsys):
    assert check(scale, scale, CASES)
    assert check(lambda x, factor: (x * factor).numpy(), scale, CASES)
    assert check(lambda x: {"a": float(x), "b": (x, x > 1)}, lambda x: {"a": x, "b": [x, x > 1]}, [(1.5,)])
    assert capsys.readouterr().out.startswith("✓ scale: all 2 cases")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (unsolved, "not solved yet"),
        (crash, "raises RuntimeError"),
        (silent, "is there a return statement"),
        (in_place, "changes its own arguments"),
        (lambda x, factor: (x * factor).flatten(), r"the shape is (6,), expected is (2, 3)"),
        (lambda x, factor: x * factor + 0.01, "value at (0, 0) is 0.01, expected is 0 (100% of the values differ)"),
        (lambda x, factor: x * float("nan"), "nan or inf"),
        (lambda x, factor: "text", "shape is ()"),
        (lambda x, factor: x * abs(factor), "case 2 of 2"),
    ],
)
def test_wrong_answers_are_named(answer, message, capsys):
    assert not check(answer, scale, CASES, hint="multiply")
    assert message in capsys.readouterr().out


def test_tuples_and_dictionaries(capsys):
    assert not check(lambda x: (x, x + 1), lambda x: (x, x), [(np.ones(2),)])
    assert "value 2: the value at (0,) is 2" in capsys.readouterr().out
    assert not check(lambda x: {"b": x}, lambda x: {"a": x}, [(1.0,)], hint="name it a")
    assert "keys ['a'] is expected. Hint: name it a." in capsys.readouterr().out


def test_none_is_not_attempted(capsys):
    assert not check(None, scale, CASES)
    assert capsys.readouterr().out.startswith("… not attempted yet")
