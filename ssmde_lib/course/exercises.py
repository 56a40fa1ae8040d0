"""Exercises check the student's own function against a reference and say what is wrong.

def my_ssim(x, y): ...
check(my_ssim, ssim, [(x, y), (x, x)], hint="variances can be negative by rounding: clamp them")
"""

import copy
from collections.abc import Callable

import numpy as np


def check(
    function: Callable | None,
    reference: Callable,
    cases: list[tuple],
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    hint: str = "",
) -> bool:
    """True if `function` agrees with `reference` on every case (a tuple of arguments); prints the verdict, never raises.

    A notebook sets the student's function to None at first: that is "not attempted yet". Results may be numbers,
    arrays, tensors, or tuples, lists and dictionaries of them.
    """
    if function is None:
        print("… not attempted yet: write the function and run the cell again.")
        return False
    name = getattr(function, "__name__", "your function")
    for number, arguments in enumerate(cases, 1):
        problem = compare(function, reference, arguments, rtol, atol)
        if problem == "unsolved":
            print(f"… {name}: not solved yet. Replace the NotImplementedError and run the cell again.")
            return False
        if problem:
            print(f"✗ {name}: case {number} of {len(cases)}: {problem}." + (f" Hint: {hint}." if hint else ""))
            return False
    print(f"✓ {name}: all {len(cases)} cases agree with the reference.")
    return True


def compare(function: Callable, reference: Callable, arguments: tuple, rtol: float, atol: float) -> str:
    """What is wrong with one case: empty if nothing, `unsolved` if the function is still a stub."""
    expected, given = reference(*copy.deepcopy(arguments)), copy.deepcopy(arguments)
    try:
        answer = function(*given)
    except NotImplementedError:
        return "unsolved"
    except Exception as error:
        return f"it raises {type(error).__name__}: {error}"
    if difference(arguments, given, 0, 0):
        return "it changes its own arguments: work on copies"
    return difference(expected, answer, rtol, atol)


def difference(expected, answer, rtol: float, atol: float) -> str:
    """How an answer differs from what is expected; empty if it does not."""
    if answer is None and expected is not None:
        return "it returns nothing: is there a return statement?"
    if isinstance(expected, dict):
        if not isinstance(answer, dict) or set(answer) != set(expected):
            return f"a dictionary with the keys {sorted(expected)} is expected"
        expected, answer = zip(*((expected[key], answer[key]) for key in expected), strict=False)
    if isinstance(expected, (tuple, list)):
        if not isinstance(answer, (tuple, list)) or len(answer) != len(expected):
            return f"{len(expected)} values are expected"
        problems = (difference(*pair, rtol, atol) for pair in zip(expected, answer, strict=False))
        return next((f"value {place}: {problem}" for place, problem in enumerate(problems, 1) if problem), "")
    return array_difference(expected, answer, rtol, atol)


def array_difference(expected, answer, rtol: float, atol: float) -> str:
    try:
        expected, answer = to_array(expected), to_array(answer)
    except (TypeError, ValueError):
        return f"a number or an array is expected, not {type(answer).__name__}"
    if expected.dtype.kind not in "biufc":  # text and other objects, found among arguments
        return "" if np.array_equal(expected, answer) else f"{expected} is expected, not {answer}"
    if answer.shape != expected.shape:
        return f"the shape is {answer.shape}, expected is {expected.shape}"
    if answer.dtype.kind not in "biufc":
        return f"a number or an array is expected, not {answer.dtype}"
    if not np.isfinite(answer).all() and np.isfinite(expected).all():
        return "it contains nan or inf"
    wrong = ~np.isclose(answer, expected, rtol, atol, equal_nan=True)
    if not wrong.any():
        return ""
    place = np.unravel_index(wrong.argmax(), wrong.shape)
    where = f" at {tuple(map(int, place))}" if place else ""
    share = f" ({wrong.mean():.0%} of the values differ)" if place else ""
    return f"the value{where} is {answer[place]:.6g}, expected is {expected[place]:.6g}{share}"


def to_array(value) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
