"""The exercises: one module a notebook, each with a tuple EXERCISES.

It holds solutions and hidden cases: the student edition is made without it.
"""

from importlib import import_module

from ssmde_lib.course.exercise import Exercise

MODULES = tuple(f"nb{number:02}" for number in range(11))


def load_bank() -> dict[str, Exercise]:
    """All exercises by id, in the order of the notebooks."""
    modules = [import_module(f"{__name__}.{module}") for module in MODULES]
    return {exercise.id: exercise for module in modules for exercise in module.EXERCISES}
