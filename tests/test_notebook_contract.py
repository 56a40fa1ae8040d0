"""Every notebook keeps the contract; and the contract's own checks find what they look for."""

import itertools
import re
import sys
from pathlib import Path

import nbformat
import pytest

from ssmde_lib.pipeline.parameters import appendix, pipeline

sys.path.insert(0, str(Path(__file__).parent))
from contract import CLOSING, OPENING, violations

ROOT = Path(__file__).resolve().parents[1]
ORDER = list(pipeline(ROOT))
NEIGHBOURS = {
    name: (before, after) for before, name, after in zip([None, *ORDER], ORDER, [*ORDER[1:], None], strict=False)
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_every_stage_is_a_notebook_and_every_notebook_a_stage():
    assert [path.stem for path in NOTEBOOKS] == sorted([*ORDER, *appendix(ROOT)])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_contract(path):
    assert violations(path, NEIGHBOURS.get(path.stem, (None, None))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
                assert re.match(r"https?:|attachment:", target) or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_begins_under_its_own_name_and_reads_only_what_it_declares(path):
    sources = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert re.findall(r"\bbegin\(\s*[\"'](\w+)[\"']", sources) == [path.stem]
    assert set(re.findall(r"\.upstream\(\s*[\"'](\w+)[\"']", sources)) <= set(
        (pipeline(ROOT) | appendix(ROOT))[path.stem]
    )


# ---- the checks themselves -------------------------------------------------------------------------------------------


def sample() -> nbformat.NotebookNode:
    v4 = nbformat.v4
    opening = "# 01 First: a sample\n" + "\n\n".join(f"**{word}.** text" for word in OPENING)
    parameters = (
        'run: str = ""  # folder\nprofile: str = "laptop"  # settings\n'
        "seed: int = 0  # randomness\nrate: float = 0.1  # a rate"
    )
    cells = [
        v4.new_markdown_cell(opening),
        v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        v4.new_code_cell('from ssmde_lib.pipeline import begin\nstage = begin("01_first", globals())'),
    ]
    for number in range(4):
        cells += [
            v4.new_markdown_cell(f"## Part {number}"),
            v4.new_code_cell('show(figure, alt="a", caption="b")'),
            v4.new_markdown_cell("Intuition.\n\n$$a = \\frac{b}{c}$$"),
            v4.new_code_cell("assert one == one"),
        ]
    cells += [v4.new_markdown_cell(f"## {title}") for title in CLOSING]
    cells.insert(-3, v4.new_code_cell('exercise("01.1", mine)'))
    cells.insert(-3, v4.new_code_cell("stage.finish()"))
    cells.append(v4.new_markdown_cell("Previous: [start](00_zero.ipynb) · Next: [second](02_second.ipynb)"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=cells, metadata=kernel, nbformat_minor=5)


def breaches(notebook, folder: Path) -> list[str]:
    path = folder / "01_first.ipynb"
    nbformat.write(notebook, path)
    return violations(path, ("00_zero", "02_second"))


def test_the_sample_keeps_the_contract(tmp_path):
    assert breaches(sample(), tmp_path) == []


EDITS = {  # what to replace, in which cell, by what: the breach that must be found
    "H1": (0, "# 01 First", "# Other", "exactly one H1"),
    "opening": (0, "**Time", "Time", "bold and in this order"),
    "untyped": (1, "rate: float", "rate", "must read 'name: int|float|str|bool"),
    "derived": (1, "0.1", "1 / 10", "parameters"),
    "uncommented": (1, "  # a rate", "", "parameter rate needs a comment"),
    "equals sign": (1, "a rate", "a = rate", "comment without '='"),
    "no seed": (1, "seed", "sead", "must hold seed"),
    "wrong type": (1, "0.1", '"x"', "must be float"),
    "setup": (2, "\n", "\n\nimport os\n", "setup, in two lines"),
    "no caption": (4, ', caption="b"', "", "without caption"),
    "empty alt": (4, '"a"', '""', "without alt"),
    "no figure": (4, "show", "hide", "has no figure"),
    "equation": (5, "$$", "$", "has no equation"),
    "bad equation": (5, "\\frac", "\\nonsense", "does not become MathML"),
    "assertion": (6, "assert ", "print", "has no assertion"),
    "long cell": (6, "assert", "pass\n" * 41 + "assert", "a cell of"),
    "exit": (6, "assert", "raise SystemExit\nassert", "may not exit"),
    "magic": (6, "assert", "!ls\nassert", "has a magic"),
    "absolute path": (6, "one", "'/home/x'", "absolute path"),
    "backend": (6, "assert", "matplotlib.use('Agg')\nassert", "backend"),
    "auto": (6, "assert", "from tqdm.auto import tqdm\nassert", "tqdm.auto"),
    "colour map": (6, "one", "'jet'", "perceptually uniform"),
    "interact": (6, "assert", "interact(f)\nassert", "explorer.explore"),
    "heading": (7, "## ", "### ", "sections, 4 to 6"),
    "neighbour": (-1, "Next", "Then", "must say 'Next"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_each_breach_is_found(edit, tmp_path):
    place, old, new, breach = EDITS[edit]
    notebook = sample()
    assert old in notebook.cells[place].source
    notebook.cells[place].source = notebook.cells[place].source.replace(old, new)
    assert any(breach in found for found in breaches(notebook, tmp_path)), breaches(notebook, tmp_path)


def test_order_tags_and_outputs(tmp_path):
    swapped = sample()
    swapped.cells[4], swapped.cells[5] = swapped.cells[5], swapped.cells[4]
    assert any("from figure to equation" in found for found in breaches(swapped, tmp_path))
    untagged = sample()
    untagged.cells[1].metadata.tags = []
    assert any("exactly one cell tagged" in found for found in breaches(untagged, tmp_path))
    executed = sample()
    executed.cells[2].execution_count = 1
    assert any("nbstripout" in found for found in breaches(executed, tmp_path))
    for title in CLOSING:
        lacking = sample()
        lacking.cells = [cell for cell in lacking.cells if cell.source != f"## {title}"]
        assert any("must end with the H2" in found for found in breaches(lacking, tmp_path)), title
    crowded = sample()
    crowded.cells += [nbformat.v4.new_code_cell(f"a{number} = 1") for number in itertools.repeat(0, 40)]
    assert any("45 at most" in found for found in breaches(crowded, tmp_path))
