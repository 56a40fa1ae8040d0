"""The book of a run: its executed notebooks, the documentation and the API reference, staged for Sphinx and built."""

import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory

import click
import nbformat

from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import appendix, find_root, pipeline

LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!https?:|#)([^)\s#]+)(#[^)\s]*)?\)")
PACKAGES = (
    "geometry", "metrics", "networks", "losses", "data", "synthetic", "prior", "labels", "training", "evaluation",
    "inference", "pipeline", "ablation", "course", "display",
)  # fmt: skip


def build_book(run_folder: Path, root: Path) -> Path:
    """Stage and build the book of a run; returns its first page, `<run>/book/index.html`.

    Raises:
        UserError: the run has no executed notebook, or Sphinx reports a warning.
    """
    from sphinx.cmd.build import main as sphinx_build

    executed = {path.stem: path for path in sorted((run_folder / "notebooks").glob("*.ipynb"))}
    if not executed:
        raise UserError(f"{run_folder} holds no executed notebook: run `make tutorial` first.")
    documents = sorted((root / "docs").glob("*.md"))
    pages = {f"notebooks/{name}.ipynb" for name in executed} | {f"docs/{page.name}" for page in documents}
    with TemporaryDirectory() as scratch:
        staged, html = Path(scratch, "source"), Path(scratch, "html")
        shutil.copytree(root / "book", staged)
        stage_notebooks(run_folder, root, staged, executed, pages)
        stage_documents(root, staged, documents, pages)
        if (root / "ssmde_lib").is_dir():
            stage_reference(staged)
        if sphinx_build(["-q", "-W", "--keep-going", "-b", "html", str(staged), str(html)]):
            raise UserError(
                f"Sphinx could not build the book of {run_folder} without a warning: see its messages above."
            )
        out = run_folder / "book"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(html, out, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    return out / "index.html"


# ---- notebooks -------------------------------------------------------------------------------------------------------


def stage_notebooks(run_folder: Path, root: Path, staged: Path, executed: dict[str, Path], pages: set[str]) -> None:
    """Copy the executed notebooks and write the first page, with the run's results and a table of its notebooks."""
    (staged / "notebooks").mkdir()
    names = [name for name in (*pipeline(root), *appendix(root)) if name in executed]
    manifests, rows = {}, []
    for name in names:
        notebook = nbformat.read(executed[name], as_version=4)
        nbformat.write(
            prepare_notebook(notebook, root, f"notebooks/{name}.ipynb", pages), staged / "notebooks" / f"{name}.ipynb"
        )
        manifest = run_folder / name / "stage.json"
        cells = "| not finished |"
        if manifest.is_file():
            manifests[name] = json.loads(manifest.read_text())
            memory = manifests[name]["peak_memory_mib"]["process"]
            cells = f"| {duration(manifests[name]['wall_seconds'])} | {memory:.0f} MiB |"
        rows.append(f"| [{title_of(notebook)}](notebooks/{name}.ipynb) {cells}")
    table = "\n".join(["| notebook | time | peak memory |", "|---|---|---|", *rows])
    (staged / "index.md").write_text(first_page((staged / "index.md").read_text(), run_folder, manifests, table, names))


def prepare_notebook(notebook: nbformat.NotebookNode, root: Path, page: str, pages: set[str]) -> nbformat.NotebookNode:
    """The notebook as Sphinx needs it: alternative texts as metadata, joined streams, links that lead somewhere."""
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = mend_links(cell.source, root, page, pages)
            continue
        CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
        alternatives = [
            output.metadata["image/png"]["alt"]
            for output in cell.outputs
            if "alt" in output.get("metadata", {}).get("image/png", {})
        ]
        if alternatives:
            cell.metadata["mystnb"] = {"image": {"alt": " ".join("; ".join(alternatives).split())}}
    return notebook


def first_page(template: str, run_folder: Path, manifests: dict[str, dict], notebooks: str, names: list[str]) -> str:
    """The book's first page: what the run is, and its results."""
    table = run_folder / "09_benchmark" / "table.md"
    last = max(manifests.values(), key=lambda manifest: manifest["started"], default=None)
    return template.format(
        run=run_folder.resolve().name,
        made=f"{last['started'][:10]}, commit {(last['git_commit'] or 'unknown')[:10]}, {last['device']}"
        if last
        else "unfinished",
        results=table.read_text().strip() if table.is_file() else "Notebook 09 has not been executed in this run.",
        notebooks=notebooks,
        total=duration(sum(manifest["wall_seconds"] for manifest in manifests.values())),
    ) + contents("Notebooks", [f"notebooks/{name}" for name in names])


def title_of(notebook: nbformat.NotebookNode) -> str:
    """The notebook's H1."""
    lines = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return next(line.removeprefix("# ").strip() for line in lines if line.startswith("# "))


def duration(seconds: float) -> str:
    """Seconds below a minute and a half, minutes above."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def contents(caption: str, pages: list[str]) -> str:
    """A part of the sidebar."""
    return "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


# ---- documents and reference -----------------------------------------------------------------------------------------


def stage_documents(root: Path, staged: Path, documents: list[Path], pages: set[str]) -> None:
    """Copy docs/*.md with their pictures and list them in the sidebar."""
    if (root / "docs/pictures").is_dir():
        shutil.copytree(root / "docs/pictures", staged / "docs/pictures")
    (staged / "docs").mkdir(exist_ok=True)
    for page in documents:
        (staged / "docs" / page.name).write_text(mend_links(page.read_text(), root, f"docs/{page.name}", pages))
    with (staged / "index.md").open("a") as index:
        index.write(contents("Documentation", [f"docs/{page.stem}" for page in documents]) if documents else "")


def mend_links(text: str, root: Path, page: str, pages: set[str]) -> str:
    """Links to what is no page of the book (source files, notebooks not executed) become the name of that file."""

    def mend(match: re.Match) -> str:
        target = ((root / page).parent / match[2]).resolve().relative_to(root)
        return match[0] if target.as_posix() in pages else f"{match[1]} (`{target}`)"

    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else LINK.sub(mend, part) for part in parts)


def stage_reference(staged: Path) -> None:
    """One page a package of the library, with every module's public functions and classes."""
    folder = staged / "reference"
    folder.mkdir()
    for name in PACKAGES:
        package = import_module(f"ssmde_lib.{name}")
        modules = [module.name for module in iter_modules(getattr(package, "__path__", []), f"ssmde_lib.{name}.")]
        sections = [
            f"## {module.removeprefix('ssmde_lib.')}\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"
            for module in modules or [package.__name__]
        ]
        (folder / f"{name}.md").write_text(f"# `ssmde_lib.{name}`\n\n" + "\n".join(sections))
    text = "# API reference\n\nThe packages of `ssmde_lib`, from the lowest layer to the highest.\n"
    with (staged / "index.md").open("a") as index:
        index.write(contents("Reference", ["reference/index"]))
    (folder / "index.md").write_text(text + "\n".join(["", "```{toctree}", *PACKAGES, "```", ""]))


@click.command()
@click.argument("run_folder", type=click.Path(path_type=Path))
def book(run_folder: Path) -> None:
    """Build the book of RUN_FOLDER, such as runs/laptop: its executed notebooks, the documentation, the reference."""
    click.echo(f"the book: {build_book(run_folder.resolve(), find_root())}")
