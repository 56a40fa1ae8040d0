"""Three editions of the course from one source, as zips that hold the same bytes whenever they are rebuilt."""

import re
import tomllib
import zipfile
from pathlib import Path

import nbformat

from ssmde_lib.course import handout
from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.cells import EDITIONS, STUDENT, write_exercises
from ssmde_lib.course.exercise import Exercise
from ssmde_lib.errors import UserError

FOLDER = "ssmde-course"  # that a zip unpacks to
TEACHERS = ("teaching.md",)  # pages that students do not get
README = """# SS-MDE, {edition} edition

1. Install the package `ssmde`, as your teacher says (Python 3.11 or later).
2. `jupyter lab notebooks`, and begin with `00_start_here.ipynb`.
3. Keep this folder together: the notebooks find each other, and the exercises, by it. What they write lies in `runs/`.

To hand in, give your teacher the notebooks that you have worked on, as a folder or a zip with your name.
"""


def write_editions(root: Path, out: Path, editions: tuple[str, ...] = EDITIONS, nbgrader: bool = False) -> list[Path]:
    """Write `<out>/ssmde-<edition>.zip` for every edition.

    Args:
        root: the tutorial's repository.
        nbgrader: mark the student's cells for nbgrader, and split code cells into an answer and a test.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for edition in editions:
        paths.append(out / f"ssmde-{edition}.zip")
        write_zip(paths[-1], edition_files(root, edition, nbgrader))
    return paths


def edition_files(root: Path, edition: str, nbgrader: bool = False) -> dict[str, bytes]:
    """Every file of an edition, by its path in the zip."""
    bank, repository = load_bank(), repository_of(root)
    files = {
        "README.md": README.format(edition=edition).encode(),
        handout.NAME: handout.pack([exercise.public() for exercise in bank.values()]),
    }
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        exercises = of_notebook(path.stem, bank)
        if exercises:
            write_exercises(notebook, exercises, edition, nbgrader)
        if repository:
            add_links(notebook, repository, path.stem)
        files[f"notebooks/{path.name}"] = (nbformat.writes(notebook) + "\n").encode()
    copied = [
        *root.glob("notebooks/*.yaml"),
        *root.glob("configs/*.yaml"),
        *root.glob("docs/*.md"),
    ]
    for path in copied:
        if edition != STUDENT or path.name not in TEACHERS:
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files


def of_notebook(stem: str, bank: dict[str, Exercise]) -> list[Exercise]:
    """The exercises of one notebook."""
    return [exercise for number, exercise in bank.items() if number.startswith(f"{stem[:2]}.")]


def sync_notebooks(root: Path) -> list[str]:
    """Write the exercise sections of the repository's notebooks from the bank; the names of those that changed."""
    changed, bank = [], load_bank()
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        if exercises := of_notebook(path.stem, bank):
            before = path.read_text()
            notebook = nbformat.reads(before, as_version=4)
            write_exercises(notebook, exercises)
            after = nbformat.writes(notebook) + "\n"
            if after != before:
                path.write_text(after)
                changed.append(path.name)
    return changed


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """A zip of which neither the clock nor the file system has a say: names sorted, one date, one mode."""
    with zipfile.ZipFile(path, "w") as file:
        for name in sorted(files):
            info = zipfile.ZipInfo(f"{FOLDER}/{name}", (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, files[name])


# ---- Colab and Binder ------------------------------------------------------------------------------------------------


def repository_of(root: Path) -> str | None:
    """Owner and name on GitHub, from `[project.urls] Repository`; None where it is not set.

    Raises:
        UserError: the setting is no repository on GitHub, which Colab and Binder need.
    """
    url = tomllib.loads((root / "pyproject.toml").read_text())["project"].get("urls", {}).get("Repository")
    if url is None:
        return None
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", url)
    if not found:
        raise UserError(f"pyproject.toml: Repository must read https://github.com/OWNER/NAME, not {url!r}.")
    return found[1]


def add_links(notebook: nbformat.NotebookNode, repository: str, stem: str) -> None:
    """Links to Colab and Binder under the title, and the cell that Colab needs first."""
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{stem}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/main?labpath=notebooks/{stem}.ipynb"
    title, *rest = notebook.cells[0].source.split("\n")
    notebook.cells[0].source = "\n".join([title, "", f"[Open in Colab]({colab}) · [Open in Binder]({binder})", *rest])
    folder = repository.split("/")[1]
    setup = (
        "# On Colab only: the package, and the folder that the notebooks need\n"
        f"!git clone --depth 1 https://github.com/{repository}\n%cd {folder}\n%pip install -q ."
    )
    notebook.cells.insert(1, nbformat.v4.new_code_cell(setup, id="colab-setup", metadata={"tags": ["skip-execution"]}))
