"""The notebook contract (docs/design.md), as a list of what a notebook breaks.

An appendix notebook (A1_…) reports and need not teach: no exercises, and its sections are free.

python tests/contract.py notebooks/04_pose_and_depth.ipynb
"""

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from ssmde_lib.display.mathml import MATH, to_mathml
from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import read_parameters

OPENING = [
    "Question",
    "Objectives",
    "Time",
    "Prerequisites",
    "Artifacts",
]  # bold words, in this order, in the first cells
CLOSING = [
    "What you should see",
    "Exercises",
    "Summary",
    "Troubleshooting",
    "Further reading",
]  # H2, in this order, at the end
SHOWING = ("show", "filmstrip", "scrub", "show_cloud", "explore")  # what shows a figure, with alt and caption
FORBIDDEN = {
    r"\bSystemExit\b|\bsys\.exit\(|\bos\._exit\(|^\s*(exit|quit)\(": "may not exit: Papermill would report success",
    r"tqdm\.(auto|notebook)": "tqdm.auto and tqdm.notebook freeze in executed notebooks: use plain tqdm",
    r"matplotlib\.use\(|switch_backend\(": "sets a Matplotlib backend",
    r"\bplt\.show\(|\.savefig\(": "figures go through show(figure, alt=..., caption=...)",
    r"\binteract(ive)?\(": "widgets go through ssmde_lib.display.explorer.explore",
    r"[\"'](jet|rainbow|hsv|gist_\w+|nipy_spectral|turbo|prism|flag)[\"']": (
        "uses a colour map that is not perceptually uniform"
    ),
    r"\bimport utils\b|\bfrom utils\b|\.utils\b": "hides something in utils",
    r"[\"'](/|~|[A-Z]:\\)[\w.]": "holds an absolute path",
    r"ssmde_lib\.(cli|site)\b": "imports what is not meant for notebooks",
}


def violations(path: Path, neighbours: tuple[str | None, str | None] = (None, None)) -> list[str]:
    """Every breach of the contract, in words; `neighbours` are the previous and the next notebook."""
    return list(find(path, nbformat.read(path, as_version=nbformat.NO_CONVERT), neighbours))


def find(path: Path, notebook: nbformat.NotebookNode, neighbours: tuple[str | None, str | None]) -> Iterator[str]:
    yield from format_of(path, notebook)
    yield from parameters_of(path, notebook)
    yield from cells_of(notebook)
    yield from code_of(path, notebook)
    yield from order_of(notebook, neighbours, appendix=re.match(r"A\d_", path.stem) is not None)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def headings(notebook, level: int) -> list[str]:
    """Headings of one level, code fences left out."""
    texts = [
        re.sub(r"^```.*?^```", "", c.source, flags=re.MULTILINE | re.DOTALL)
        for c in notebook.cells
        if c.cell_type == "markdown"
    ]
    return [found.strip() for text in texts for found in re.findall(rf"^#{{{level}}} (.+)$", text, re.MULTILINE)]


def format_of(path: Path, notebook) -> Iterator[str]:
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        yield "must be nbformat 4.5"
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) != len(ids):
        yield "cells need unique ids"
    kernel = notebook.metadata.get("kernelspec", {})
    if kernel.get("name") != "python3" or kernel.get("language") != "python":
        yield "kernelspec must be python3 with language python"
    if any(cell.outputs or cell.execution_count for cell in code_cells(notebook)):
        yield "has outputs or execution counts: run nbstripout"
    titles = headings(notebook, 1)
    number = path.stem.split("_")[0]
    if len(titles) != 1 or not titles[0].startswith(f"{number} "):
        yield f"needs exactly one H1, which begins with the number {number!r} of the file name, not {titles}"


def parameters_of(path: Path, notebook) -> Iterator[str]:
    try:
        declared = read_parameters(path)
    except (UserError, ValueError, SyntaxError) as error:
        yield f"parameters: {error}"
        return
    for name, kind, default in (("run", "str", ""), ("profile", "str", "laptop"), ("seed", "int", 0)):
        if name not in declared or (declared[name].kind, declared[name].default) != (kind, default):
            yield f"parameters must hold {name}: {kind} = {default!r}"
    for parameter in declared.values():
        if not parameter.comment or "=" in parameter.comment:
            yield f"parameter {parameter.name} needs a comment without '='"


def cells_of(notebook) -> Iterator[str]:
    cells = code_cells(notebook)
    lengths = [len(cell.source.splitlines()) for cell in cells]
    if len(cells) > 45:
        yield f"has {len(cells)} code cells: 45 at most"
    if lengths and statistics.median(lengths) > 10:
        yield f"median code cell has {statistics.median(lengths):g} lines: 10 at most"
    for cell, length in zip(cells, lengths, strict=False):
        if length > 40:
            yield f"a cell of {length} lines (40 at most) begins with {cell.source.splitlines()[0]!r}"
        if not cell.source.strip():
            yield "has an empty code cell"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for math in MATH.finditer(cell.source):
                if not math[1] and "\\" in re.sub(r"&#x0*5C;", "", to_mathml(math[0])):
                    yield f"an equation does not become MathML: {math[0][:60]!r}"


def code_of(path: Path, notebook) -> Iterator[str]:
    for cell in code_cells(notebook):
        if "skip-execution" in tags(cell):
            continue
        if re.search(r"^\s*[%!]", cell.source, re.MULTILINE):
            yield f"has a magic outside of a cell tagged skip-execution: {cell.source.splitlines()[0]!r}"
            continue
        for pattern, why in FORBIDDEN.items():
            if found := re.search(pattern, cell.source, re.MULTILINE):
                yield f"{why}: {found[0].strip()!r}"
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SHOWING:
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                for wanted in ("alt", "caption"):
                    if wanted not in given or not ast.unparse(given[wanted]).strip("'\""):
                        yield f"a figure without {wanted}: {ast.unparse(node)[:60]!r}"


def order_of(notebook, neighbours, appendix: bool) -> Iterator[str]:
    cells = notebook.cells
    parameters = [index for index, cell in enumerate(cells) if "parameters" in tags(cell)]
    if len(parameters) != 1:
        return
    opening = "\n".join(cell.source for cell in cells[: parameters[0]] if cell.cell_type == "markdown")
    places = [opening.find(f"**{word}") for word in OPENING]
    if -1 in places or places != sorted(places):
        yield f"before the parameters must stand, bold and in this order: {', '.join(OPENING)}"
    code = code_cells(notebook)
    place = code.index(cells[parameters[0]])
    setup = code[place + 1].source if place + 1 < len(code) else ""
    if place != len([cell for cell in code[:place] if "skip-execution" in tags(cell)]):
        yield "the parameters cell must be the first code cell"
    if len(setup.strip().splitlines()) != 2 or "begin(" not in setup:
        yield "after the parameters comes the setup, in two lines: import begin, stage = begin(name, globals())"
    finishing = [cell for cell in code if "stage.finish(" in cell.source]
    if len(finishing) != 1:
        yield "stage.finish(...) must be called exactly once"
    yield from sections_of(notebook, parameters[0], appendix)
    end = cells[-1].source
    for word, name in zip(("Previous", "Next"), neighbours, strict=False):
        if name and not re.search(rf"{word}.*\({name}\.ipynb\)", end):
            yield f"the last cell must say '{word}: [...]({name}.ipynb)'"


def sections_of(notebook, parameters: int, appendix: bool) -> Iterator[str]:
    titles, due = headings(notebook, 2), [title for title in CLOSING if not (appendix and title == "Exercises")]
    closing = [title for title in titles if title in CLOSING]
    if closing != due:
        yield f"must end with the H2 headings {due}, not {closing}"
        return
    if titles[-len(due) :] != due:
        yield f"no other H2 heading may stand among or after {due}"
    if appendix:
        return
    sections: dict[str, list] = {}
    current = None
    for cell in notebook.cells[parameters + 1 :]:
        found = re.match(r"## (.+)", cell.source) if cell.cell_type == "markdown" else None
        current = found[1].strip() if found else current
        if current:
            sections.setdefault(current, []).append(cell)
    teaching = {title: content for title, content in sections.items() if title not in CLOSING}
    if not 4 <= len(teaching) <= 6:
        yield f"has {len(teaching)} sections, 4 to 6 are due (an H2 must begin its cell): {list(teaching)}"
    for title, content in teaching.items():
        marks = [
            ("a figure", lambda c: c.cell_type == "code" and re.search(rf"\b({'|'.join(SHOWING)})\(", c.source)),
            ("an equation", lambda c: c.cell_type == "markdown" and "$$" in c.source),
            ("an assertion", lambda c: c.cell_type == "code" and re.search(r"^\s*assert ", c.source, re.MULTILINE)),
        ]
        places = [[index for index, cell in enumerate(content) if test(cell)] for _, test in marks]
        for (what, _), found in zip(marks, places, strict=False):
            if not found:
                yield f"section {title!r} has no {what.split(' ', 1)[1]}"
        if all(places) and not places[0][0] < places[1][-1] < places[2][-1]:
            yield f"section {title!r} must go from figure to equation to assertion"
    if not any(
        cell.cell_type == "code" and re.search(r"\b(exercise|choice|predict)\(", cell.source)
        for cell in sections.get("Exercises", [])
    ):
        yield "the exercises need a checker: exercise(number, function), choice or predict"


if __name__ == "__main__":
    broken = [f"{name}: {breach}" for name in sys.argv[1:] for breach in violations(Path(name))]
    print("\n".join(broken) or "the contract holds")
    sys.exit(bool(broken))
