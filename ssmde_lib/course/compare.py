"""How an answer differs from what is expected: numbers, arrays, tensors, and tuples, lists and dictionaries of them."""

import numpy as np


def difference(expected, answer, rtol: float, atol: float) -> str:
    """What is wrong with `answer`, in words; empty if nothing is."""
    if answer is None and expected is not None:
        return "it returns nothing: is there a return statement?"
    if isinstance(expected, dict):
        if not isinstance(answer, dict) or set(answer) != set(expected):
            return f"a dictionary with the keys {sorted(expected)} is expected"
        problems = ((key, difference(expected[key], answer[key], rtol, atol)) for key in expected)
        return next((f"{key}: {problem}" for key, problem in problems if problem), "")
    if isinstance(expected, (tuple, list)):
        if not isinstance(answer, (tuple, list)) or len(answer) != len(expected):
            return f"{len(expected)} values are expected"
        problems = (difference(*pair, rtol, atol) for pair in zip(expected, answer, strict=True))
        return next((f"value {place}: {problem}" for place, problem in enumerate(problems, 1) if problem), "")
    if isinstance(expected, str) or callable(expected) or expected is None:
        return (
            ""
            if isinstance(answer, type(expected)) and expected == answer  # pyright: ignore[reportArgumentType]
            else f"it is {answer!r}, expected is {expected!r}"
        )
    return array_difference(expected, answer, rtol, atol)


def array_difference(expected, answer, rtol: float, atol: float) -> str:
    """What is wrong with an array or a number, in words; "" where it is right."""
    try:
        expected, answer = to_array(expected), to_array(answer)
    except (TypeError, ValueError):
        return f"a number or an array is expected, not {type(answer).__name__}"
    if answer.dtype.kind not in "biufc":
        return f"a number or an array is expected, not {type(answer.item() if answer.ndim == 0 else answer).__name__}"
    if answer.shape != expected.shape:
        return f"the shape is {answer.shape}, expected is {expected.shape}"
    if np.isnan(answer).any() and not np.isnan(expected).any():
        return "it contains nan"
    wrong = ~np.isclose(answer, expected, rtol, atol, equal_nan=True)
    if not wrong.any():
        return ""
    place = np.unravel_index(wrong.argmax(), wrong.shape)
    where = f" at {tuple(map(int, place))}" if place else ""
    share = f" ({wrong.mean():.0%} of the values differ)" if place else ""
    return f"the value{where} is {answer[place]:.6g}, expected is {expected[place]:.6g}{share}"


def to_array(value) -> np.ndarray:
    """A number, list, array or tensor as a numpy array."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
