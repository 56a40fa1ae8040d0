"""A run as web pages that need no network: every executed notebook, and an index with the results.

python -m ssmde_lib.display.site runs/laptop        writes runs/laptop/index.html and runs/laptop/html/
"""

import html
import json
import re
import warnings
from pathlib import Path

import click
import nbformat

from ssmde_lib.errors import UserError
from ssmde_lib.pipeline.parameters import appendix, find_root, pipeline

MATH = re.compile(r"(`+).*?\1|\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+?)(?<!\\)\$", re.DOTALL)
STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; font-weight: 650; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
td.number, th.number { text-align: right; }
td img { max-height: 3.2rem; max-width: 12rem; display: block; border-radius: 3px; }
.scroll { overflow-x: auto; } .note { opacity: .75; font-size: .9rem; }
"""


def to_mathml(text: str) -> str:
    """Markdown with its `$…$` and `$$…$$` made MathML, which browsers show without any script; code spans stay."""
    from latex2mathml.converter import convert

    def replace(match: re.Match) -> str:
        if match[1]:
            return match[0]
        latex = (match["block"] or match["inline"]).replace("{aligned}", "{align*}")
        return convert(" ".join(latex.split()), display="block" if match["block"] else "inline")

    return MATH.sub(replace, text)


def notebook_page(notebook: nbformat.NotebookNode, title: str) -> str:
    """An executed notebook as one self-contained HTML page, its figures with their alternative texts."""
    from nbconvert import HTMLExporter

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            fences = re.split(r"(^```.*?^```)", cell.source, flags=re.DOTALL | re.MULTILINE)
            cell.source = "".join(part if part.startswith("```") else to_mathml(part) for part in fences)
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = to_mathml("".join(output.data["text/markdown"]))
    exporter = HTMLExporter(
        template_name="classic", mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url=""
    )
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    page = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    return re.sub(r'href="(\w+)\.ipynb', r'href="\1.html', page)


def first_figure(notebook: nbformat.NotebookNode) -> str:
    """The first figure as an `img` element; empty where there is none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                data = "".join(output["data"]["image/png"].split())
                return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'
    return ""


def title_of(notebook: nbformat.NotebookNode) -> str:
    return next(
        line.removeprefix("# ").strip()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def results_table(run_folder: Path) -> str:
    """The benchmark's table as HTML; a note where there is none."""
    from nbconvert.filters import markdown2html

    path = run_folder / "09_benchmark" / "table.md"
    if not path.is_file():
        return '<p class="note">09_benchmark has not been executed in this run.</p>'
    return f'<div class="scroll">{markdown2html(path.read_text())}</div>'


def build_site(run_folder: Path) -> Path:
    """Write the pages of a run and return the path of its index.

    Notebooks that have not been executed are listed as such.
    """
    root = find_root()
    executed = {path.stem: path for path in sorted((run_folder / "notebooks").glob("*.ipynb"))}
    if not executed:
        raise UserError(f"{run_folder} holds no executed notebook: run `make tutorial` first.")
    pages, rows, manifests = run_folder / "html", [], {}
    pages.mkdir(exist_ok=True)
    for stage in [*pipeline(root), *(name for name in appendix(root) if name in executed)]:
        if stage not in executed:
            rows.append(f'<tr><td></td><td>{stage}</td><td class="number" colspan="2">not executed</td></tr>')
            continue
        notebook = nbformat.read(executed[stage], as_version=4)
        title, figure = html.escape(title_of(notebook)), first_figure(notebook)
        (pages / f"{stage}.html").write_text(notebook_page(notebook, title))
        manifest_path = run_folder / stage / "stage.json"
        cells = '<td class="number" colspan="2">not finished</td>'
        if manifest_path.is_file():
            manifests[stage] = manifest = json.loads(manifest_path.read_text())
            memory = manifest["peak_memory_mib"]["process"]
            cells = (
                f'<td class="number">{duration(manifest["wall_seconds"])}</td><td class="number">{memory:.0f} MiB</td>'
            )
        rows.append(f'<tr><td>{figure}</td><td><a href="html/{stage}.html">{title}</a></td>{cells}</tr>')
    index = run_folder / "index.html"
    index.write_text(index_page(run_folder, rows, manifests))
    return index


def index_page(run_folder: Path, rows: list[str], manifests: dict[str, dict]) -> str:
    total = duration(sum(manifest["wall_seconds"] for manifest in manifests.values()))
    last = max(manifests.values(), key=lambda manifest: manifest["started"], default=None)
    made = (
        f"{last['started'][:10]}, commit {(last['git_commit'] or 'unknown')[:10]}, {last['device']}"
        if last
        else "unfinished"
    )
    run = html.escape(run_folder.resolve().name)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SS-MDE: {run}</title>
<style>{STYLE}</style></head><body>
<h1>Self-supervised self-distillation for monocular depth</h1>
<p>Run <b>{run}</b> <span class="note">({made})</span></p>
<h2>Results</h2>
{results_table(run_folder)}
<h2>Notebooks, as executed</h2>
<div class="scroll"><table>
<tr><th></th><th>notebook</th><th class="number">time</th><th class="number">peak memory</th></tr>
{"".join(rows)}</table></div>
<p class="note">Time inside the notebooks: {total}.
Parameters, hashes and package versions stand in each stage's stage.json.</p>
</body></html>
"""


@click.command()
@click.argument("run_folder", type=click.Path(path_type=Path))
def main(run_folder: Path) -> None:
    """Write the HTML pages of RUN_FOLDER, such as runs/laptop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbconvert's own deprecations
        click.echo(build_site(run_folder))


if __name__ == "__main__":
    main()
