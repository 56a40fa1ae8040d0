"""Takes the answers out of handed-in notebooks: functions by their syntax tree, choices, predictions, texts.

Nothing is executed here.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssmde_lib.errors import UserError

CALLS = ("exercise", "choice", "predict")
LARGEST = 50 * 1024**2  # bytes of a notebook


@dataclass
class Submission:
    """What one student handed in."""

    student: str
    functions: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # exercise: (name of the function, source of it and what it uses)
    literals: dict[str, object] = field(default_factory=dict)  # exercise: a choice or a prediction
    texts: dict[str, str] = field(default_factory=dict)  # exercise: an answer in words
    remarks: list[str] = field(default_factory=list)  # what could not be read


def read_submissions(folder: Path, names: dict[str, str]) -> list[Submission]:
    """One submission for every notebook, folder or zip of notebooks directly below `folder`, by name.

    Args:
        names: the function's name of every code exercise, by the exercise's id.

    Raises:
        UserError: there is no notebook.
    """
    found: dict[str, Submission] = {}
    for student, name, text in notebooks_below(folder):
        submission = found.setdefault(student, Submission(student))
        try:
            read_notebook(submission, name, json.loads(text)["cells"], names)
        except (ValueError, KeyError, TypeError, AttributeError):  # whatever JSON a student may hand in
            submission.remarks.append(f"{name} is no notebook that can be read.")
    if not found:
        raise UserError(f"{folder} holds no notebooks: one .ipynb, folder or .zip a student is expected in it.")
    return [found[student] for student in sorted(found)]


def notebooks_below(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(student, notebook's name, its text); Jupyter's own copies are left out."""
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".ipynb":
            yield entry.stem, entry.name, entry.read_text(errors="replace")
        elif entry.is_dir():
            for path in sorted(entry.rglob("*.ipynb")):
                if ".ipynb_checkpoints" not in path.parts:
                    yield entry.name, path.name, path.read_text(errors="replace")
        elif entry.suffix == ".zip":
            yield from notebooks_in_zip(entry)


def notebooks_in_zip(path: Path) -> Iterator[tuple[str, str, str]]:
    """(student, notebook, its text) of every notebook in the archive."""
    try:
        with zipfile.ZipFile(path) as file:
            for info in sorted(file.infolist(), key=lambda info: info.filename):
                name = info.filename
                if name.endswith(".ipynb") and ".ipynb_checkpoints" not in name and info.file_size < LARGEST:
                    yield path.stem, name.rsplit("/", 1)[-1], file.read(info).decode(errors="replace")
    except zipfile.BadZipFile:
        yield path.stem, path.name, ""


def read_notebook(submission: Submission, name: str, cells: list[dict], names: dict[str, str]) -> None:
    """Adds what the cells of a notebook hold; a cell that is no Python becomes a remark."""
    definitions: dict[str, tuple[int, ast.stmt, str]] = {}
    called: dict[str, str] = {}
    for cell in cells:
        source, number = "".join(cell.get("source", "")), cell.get("metadata", {}).get("ssmde", {}).get("exercise")
        if cell.get("cell_type") == "markdown" and number and cell["metadata"]["ssmde"].get("part") == "answer":
            submission.texts[number] = source.strip()
        elif cell.get("cell_type") == "code":
            if number in names:
                called.setdefault(number, names[number])
            try:
                read_cell(source, definitions, called, submission.literals)
            except (SyntaxError, RecursionError) as error:
                submission.remarks.append(
                    f"{name}: a cell cannot be read ({error.args[0]}): {source.strip().splitlines()[0][:60]!r}"
                )
    for number, function in called.items():
        submission.functions[number] = function, closure(function, definitions)


def read_cell(source: str, definitions: dict, called: dict[str, str], literals: dict[str, object]) -> None:
    """Adds a cell's definitions, by name, and its calls of `exercise`, `choice` and `predict`."""
    source = re.sub(r"^\s*[%!].*$", "", source, flags=re.MULTILINE)
    tree = ast.parse(source)
    for node in tree.body:
        for name in names_defined(node):
            definitions[name] = len(definitions), node, segment(source, node)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in CALLS
            and len(node.args) == 2
        ):
            number, answer = node.args
            if not isinstance(number, ast.Constant) or not isinstance(number.value, str):
                continue
            if node.func.id == "exercise" and isinstance(answer, ast.Name):
                called[number.value] = answer.id
            elif node.func.id != "exercise":
                literals[number.value] = literal(answer)


def literal(node: ast.expr):
    """The value of a literal expression; None of any other."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def segment(source: str, node: ast.stmt) -> str:
    """The lines of a statement, its decorators too."""
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def names_defined(node: ast.stmt) -> list[str]:
    """Names that a statement defines; only definitions, imports, and assignments of literals and lambdas count."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        harmless = (
            isinstance(node.value, ast.Lambda)
            or not isinstance(literal(node.value), str)
            or isinstance(node.value, ast.Constant)
        )
        return [node.targets[0].id] if harmless else []
    return []


def closure(name: str, definitions: dict[str, tuple[int, ast.stmt, str]]) -> str:
    """Source of a definition and of all that it uses, in the notebook's order; empty where the name is not defined."""
    wanted, open_names = {}, [name]
    while open_names:
        current = open_names.pop()
        if current in definitions and current not in wanted:
            wanted[current] = definitions[current]
            open_names += [node.id for node in ast.walk(definitions[current][1]) if isinstance(node, ast.Name)]
    return "\n\n".join(dict.fromkeys(text for _, _, text in sorted(wanted.values(), key=lambda item: item[0])))
