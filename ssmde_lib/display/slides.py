"""Slides with a run's figures: Markdown in, pages out that request nothing from a network.

In a deck, `![](run:STAGE/CELL)` is the figure of a cell of the executed notebook, by the cell's id, and
`{run:STAGE/FILE.md}` a table that the stage wrote. Equations become MathML.
"""

import base64
import re
import shutil
from pathlib import Path

import click
import nbformat

from ssmde_lib.display.figures import png_outputs
from ssmde_lib.display.mathml import to_mathml
from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import find_root

FIGURE = re.compile(r"!\[\]\(run:(\w+)/([\w-]+)\)")
TABLE = re.compile(r"^\{run:(\w+)/([\w.]+)\}$", re.MULTILINE)


def build_slides(source: Path, run_folder: Path, out: Path) -> Path:
    """Build the decks of `source` with the figures of a run; returns the index.

    Raises:
        UserError: a figure is not in the run, or Sphinx is not installed.
    """
    try:
        from sphinx.cmd.build import main as sphinx_build
    except ImportError:
        raise UserError("slides need Sphinx: pip install ssmde[docs].") from None
    staged = out / "source"
    stage_slides(source, run_folder, staged)
    if sphinx_build(["-q", "-E", "-b", "revealjs", str(staged), str(out / "html")]):
        raise UserError(f"Sphinx could not build {staged}: see its messages above.")
    return out / "html" / "index.html"


def stage_slides(source: Path, run_folder: Path, staged: Path) -> None:
    """Copy the decks and put the run's figures, tables and MathML in."""
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(source, staged)
    for deck in sorted(staged.glob("*.md")):
        text = FIGURE.sub(lambda found: place_figure(run_folder, staged, *found.groups()), deck.read_text())
        text = TABLE.sub(lambda found: read_table(run_folder / found[1] / found[2]), text)
        deck.write_text(to_mathml(text))


def place_figure(run_folder: Path, staged: Path, stage: str, cell_id: str) -> str:
    """Write a figure of an executed notebook, and return the Markdown that shows it with its alternative text."""
    path = run_folder / "notebooks" / f"{stage}.ipynb"
    if not path.is_file():
        raise UserError(f"{path} does not exist: run `make tutorial` for this profile first.")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.id == cell_id]
    figures = png_outputs(cells)
    if not figures:
        raise UserError(f"{path} has no figure in a cell with the id {cell_id!r}: was it executed to the end?")
    target = staged / "figures" / f"{stage}-{cell_id}.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(base64.b64decode(figures[0].data["image/png"]))
    return f"![{figures[0].metadata.get('image/png', {}).get('alt', '')}](figures/{target.name})"


def read_table(path: Path) -> str:
    """A Markdown table that a stage wrote."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: execute that stage first.")
    return path.read_text().strip()


@click.command()
@click.argument("run_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    default="dist/slides",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to.",
)
def slides(run_folder: Path, out: Path) -> None:
    """Build the four decks of slides with the figures of RUN_FOLDER, a run of the tutorial.

    Open OUT/html/index.html.
    """
    click.echo(f"the slides: {build_slides(find_root() / 'slides', run_folder, out)}")
