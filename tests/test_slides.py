"""The slides: every figure that they name is one of a notebook; built, they request nothing from a network."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from contract import SHOWING

from ssmde_lib.display.slides import FIGURE, TABLE, build_slides, stage_slides
from ssmde_lib.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DECKS = sorted((ROOT / "slides").glob("[1-4]_*.md"))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run whose notebooks have a pixel for every figure."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code" and re.search(rf"\b({'|'.join(SHOWING)})\(", cell.source):
                data, metadata = {"image/png": PIXEL}, {"image/png": {"alt": f"figure of {cell.id}"}}
                cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
        nbformat.write(notebook, folder / "notebooks" / path.name)
    (folder / "09_benchmark").mkdir()
    (folder / "09_benchmark" / "table.md").write_text("| | AbsRel |\n|---|---|\n| student | 0.1 |\n")
    return folder


def test_a_deck_a_lesson_with_figures_and_notes():
    assert len(DECKS) == 4
    for deck in DECKS:
        text = deck.read_text()
        assert len(FIGURE.findall(text)) >= 6 and text.count("{revealjs-notes}") >= 3, deck.name
        assert 8 <= text.count("\n## ") <= 14


def test_built_slides_show_the_figures_and_need_no_network(run_folder, tmp_path):
    pytest.importorskip("sphinx_revealjs")
    index = build_slides(ROOT / "slides", run_folder, tmp_path)
    pages = {path.name: path.read_text() for path in index.parent.glob("*.html")}
    for deck in DECKS:
        page = pages[f"{deck.stem}.html"]
        assert page.count("<img") == len(FIGURE.findall(deck.read_text())) and page.count('<aside class="notes">') >= 3
        assert "<math" in page or "$" not in deck.read_text()
        assert not re.search(
            r"""\b(src|data-src)=["'](https?:)?//|<link[^>]*href=["'](https?:)?//|@import|url\(["']?(https?:)?//""",
            page,
        ), deck.name
        for target in re.findall(r"""<(?:script|img)[^>]*\bsrc=["']([^"']+)|<link[^>]*href=["']([^"']+)""", page):
            assert (index.parent / "".join(target).split("?")[0]).is_file(), target
        assert "$$" not in page and "run:" not in page
        for style in re.findall(r"""<link[^>]*href="([^"?]+\.css)""", page):
            assert not re.search(
                r"""(@import|url\()\s*["']?(url\(["']?)?(https?:)?//""", (index.parent / style).read_text()
            ), style
    assert (index.parent / "_images" / "09_benchmark-s09-20.png").read_bytes() == base64.b64decode(PIXEL)
    assert "<td>" in pages["4_students_and_evaluation.html"] and TABLE.search(DECKS[3].read_text())


def test_what_is_missing_in_the_run_is_one_sentence(run_folder, tmp_path):
    with pytest.raises(UserError, match="run `make tutorial`"):
        stage_slides(ROOT / "slides", tmp_path / "no_run", tmp_path / "staged")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "1_x.md").write_text("![](run:00_start_here/nothing)")
    with pytest.raises(UserError, match="no figure in a cell with the id 'nothing'"):
        stage_slides(tmp_path / "slides", run_folder, tmp_path / "staged")
    (tmp_path / "slides" / "1_x.md").write_text("{run:00_start_here/table.md}")
    with pytest.raises(UserError, match="execute that stage"):
        stage_slides(tmp_path / "slides", run_folder, tmp_path / "staged")
