"""A throw-away tutorial of two notebooks, with this repository's Snakefile: what the workflow's own tests run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
STREET = {  # the least world that a grid takes
    "height": 64,
    "width": 64,
    "clips": {"train": 1, "val": 1, "test": 2},
    "frames": 4,
    "test_frames": 2,
}
FIRST = ["numbers = list(range(count))", "(stage.folder / 'numbers.json').write_text(json.dumps(numbers))"]
SECOND = [
    "numbers = json.loads((stage.upstream('00_first') / 'numbers.json').read_text())",
    "total = sum(numbers) * factor",
]


def notebook(name: str, parameters: list[str], body: list[str], metrics: str = "None") -> nbformat.NotebookNode:
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell(f"# {name}"),
        v4.new_code_cell("\n".join(parameters), metadata={"tags": ["parameters"]}),
        v4.new_code_cell(f"import json\nfrom ssmde_lib.pipeline import begin\nstage = begin({name!r}, globals())"),
        *map(v4.new_code_cell, body),
        v4.new_code_cell(f"stage.finish(metrics={metrics})"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return v4.new_notebook(cells=cells, metadata=kernel)


def write_tutorial(root: Path, first: list[str] = FIRST, second: list[str] = SECOND) -> Path:
    """Two stages, `00_first` and `01_second`, which reads it; profile `smoke`."""
    (root / "notebooks").mkdir(parents=True)
    (root / "configs").mkdir()
    common = [
        'run: str = ""  # folder under runs/',
        'profile: str = "laptop"  # settings',
        "retrain: bool = False  # make anew",
        "seed: int = 0  # of all randomness",
    ]
    for name, cells in {
        "00_first": notebook("00_first", [*common, "count: int = 4  # numbers to write"], first),
        "01_second": notebook("01_second", [*common, "factor: float = 1.0  # times"], second, "{'total': total}"),
    }.items():
        nbformat.write(cells, root / "notebooks" / f"{name}.ipynb")
    (root / "notebooks" / "pipeline.yaml").write_text(yaml.safe_dump({"00_first": [], "01_second": ["00_first"]}))
    (root / "configs" / "laptop.yaml").touch()
    (root / "configs" / "smoke.yaml").write_text(yaml.safe_dump({"common": {"seed": 3}, "01_second": {"factor": 2.0}}))
    shutil.copy(REPOSITORY / "Snakefile", root)
    shutil.copytree(REPOSITORY / "book", root / "book")
    return root


def command(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """A program of this Python's environment, run in `root`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {key: value for key, value in os.environ.items() if key != "SSMDE_RUNS"}
    environment = clean | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)} | environment
    return subprocess.run(words, check=False, cwd=root, env=environment, capture_output=True, text=True, timeout=900)


def run(root: Path, name: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return command(root, "ssmde", "run", name, *words, **environment)


def snakemake(root: Path, *words: str) -> subprocess.CompletedProcess:
    options = ["--cores", "2", "--rerun-triggers", "mtime", "params"]  # as the Makefile says
    return command(root, "snakemake", *words, *options, "--config", "profile=smoke")


def manifest(root: Path, stage: str, run: str = "smoke") -> dict:
    return json.loads((root / "runs" / run / stage / "stage.json").read_text())
