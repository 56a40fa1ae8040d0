"""The course: exercises, their checker, editions of the notebooks, grading. What a notebook needs is here."""

from ssmde_lib.course.material import spoiled_clips
from ssmde_lib.course.notebook import choice, compare_runs, exercise, hint, predict, reveal

__all__ = ["choice", "compare_runs", "exercise", "hint", "predict", "reveal", "spoiled_clips"]
