"""What notebooks call: `exercise`, `choice`, `predict`, `reveal`, `hint`, `compare_runs`.

Each prints one verdict and nothing else.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from ssmde_lib.course import handout
from ssmde_lib.course.check import FAILED, MISSING, PASSED, Verdict, check
from ssmde_lib.course.exercise import Case, as_table, seal
from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.manifest import read_manifest
from ssmde_lib.pipeline.parameters import find_root, runs_folder

guesses: dict[str, float] = {}
hints_given: dict[str, int] = {}


def exercise(number: str, function: Callable | None) -> Verdict:
    """Try a function of the student's on the visible cases.

    Args:
        number: "06.2", the second exercise of notebook 06.
        function: the student's own; None or the untouched stub is "not attempted".
    """
    public = public_part(number)
    return say(check(public, function, public["cases"]))


def choice(number: str, answer: str | dict[str, str | None] | None) -> Verdict:
    """Check the answer of a quiz: a letter, or a table of what is asked for."""
    return say(judge_choice(public_part(number), answer))


def judge_choice(public: dict, answer: str | dict[str, str | None] | None) -> Verdict:
    """The verdict on a choice, or on a table that was filled in."""
    title, given = f"{public['id']} {public['title']}", as_table(answer)
    if answer is None:
        return Verdict(MISSING, f"… {title}: not attempted.")
    if set(given) != set(public["right"]):
        return Verdict(FAILED, f"✗ {title}: answer {', '.join(filter(None, public['right'])) or 'with one letter'}.")
    if None in given.values():
        return Verdict(MISSING, f"… {title}: not attempted.")
    unknown = sorted(set(given.values()) - set(public["options"]))
    if unknown:
        return Verdict(FAILED, f"✗ {title}: {unknown[0]!r} is none of {', '.join(public['options'])}.")
    wrong = [key for key, value in given.items() if seal(public["id"], key, value) != public["right"][key]]
    if not wrong:
        return Verdict(PASSED, f"✓ {title}: right.", len(given))
    remarks = [f"{key}: {public['feedback'][key]}" if key else public["feedback"][given[key]] for key in wrong]
    count = f"{len(given) - len(wrong)} of {len(given)} right." if len(given) > 1 else "not so."
    return Verdict(FAILED, "\n  ".join([f"✗ {title}: {count}", *remarks]), len(given) - len(wrong))


def predict(number: str, guess: float | None) -> None:
    """Note a guess before the number is measured."""
    title = f"{number} {public_part(number)['title']}"
    if guess is None:
        print(f"… {title}: not attempted. Write a number in the place of None.")
        return
    if not isinstance(guess, (int, float)):
        raise UserError(f"{title}: a number is expected, not {guess!r}.")
    guesses[number] = float(guess)
    print(f"{title}: {guess:g} is noted. Now run the next cell.")


def reveal(number: str, measured: float) -> None:
    """Show what is measured beside what was guessed."""
    public = public_part(number)
    guessed = f"you guessed {guesses[number]:.3g}" if number in guesses else "you made no guess"
    print(f"{number} {public['title']}: measured {measured:.3g}, {guessed}.\n  {public['explanation']}")


def hint(number: str) -> None:
    """The next hint of the ladder; after the last one, the last one again."""
    ladder = public_part(number)["hints"]
    if not ladder:
        print(f"{number} has no hints.")
        return
    place = min(hints_given.get(number, 0), len(ladder) - 1)
    hints_given[number] = place + 1
    print(f"Hint {place + 1} of {len(ladder)} for {number}: {ladder[place]}")


def compare_runs(stage: str, first: str, second: str) -> None:
    """What differs between two runs of a stage and of all that it reads, and the metrics of both.

    An ablation changes exactly one parameter.

    Raises:
        UserError: a run is not there, or its stage is not finished.
    """
    folder = runs_folder(find_root())
    one, two = (parameters_behind(folder / run, stage) for run in (first, second))
    changed = [name for name in sorted(one.keys() | two.keys()) if one.get(name) != two.get(name)]
    for name in changed:
        print(f"{name}: {one.get(name)!r} in {first}, {two.get(name)!r} in {second}")
    if len(changed) != 1:
        print(f"✗ {len(changed)} parameters differ: an ablation changes exactly one.")
    metrics = [read_manifest(folder / run / stage)["metrics"] for run in (first, second)]
    for name, value in metrics[0].items():
        if isinstance(value, float) and isinstance(metrics[1].get(name), float):
            print(f"{name:30} {value:8.4f} {metrics[1][name]:8.4f}")


def parameters_behind(run: Path, stage: str) -> dict[str, object]:
    """The parameters of a stage and of all stages that it reads, by "stage.name"; the run's own name is none."""
    manifest = read_manifest(run / stage)
    found = {f"{stage}.{name}": value for name, value in manifest["parameters"].items() if name != "run"}
    for upstream in manifest["upstream"]:
        found |= parameters_behind(run, upstream)
    return found


def say(verdict: Verdict) -> Verdict:
    """Print the verdict and return it."""
    print(verdict.text)
    return verdict


# ---- where the exercises come from -----------------------------------------------------------------------------------


def public_part(number: str) -> dict:
    """The public part of an exercise: from the handout in the folder of the course, else from the bank."""
    root = find_root()
    parts = read(root / handout.NAME) if (root / handout.NAME).is_file() else from_bank()
    if number not in parts:
        raise UserError(f"there is no exercise {number!r}: choose one of {', '.join(parts)}.")
    return parts[number]


@cache
def read(path: Path) -> dict[str, dict]:
    """The exercises of a handout, by number."""
    return handout.read_handout(path)


@cache
def from_bank() -> dict[str, dict]:
    """The exercises of the bank, by number, where no handout is there."""
    from ssmde_lib.course.bank import load_bank

    parts = {number: exercise.public() for number, exercise in load_bank().items()}
    return {
        number: part | {"cases": [Case(**case) for case in part.get("cases", [])]} for number, part in parts.items()
    }
