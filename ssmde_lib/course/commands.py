"""The course's commands: `ssmde course` writes the editions, `ssmde grade` grades what comes back."""

from pathlib import Path

import click


@click.command()
@click.argument("submissions", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The table to write, CSV.")
@click.option(
    "--feedback",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the pages (default: feedback beside the table).",
)
@click.option(
    "--notebook",
    "notebooks",
    multiple=True,
    metavar="NN",
    help="Only the exercises of this notebook, 00 to 10 (repeat).",
)
@click.option(
    "--seconds", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Processor time of one function."
)
@click.option(
    "--memory",
    default=1024,
    show_default=True,
    type=click.IntRange(64),
    help="MiB of one function, besides what Python needs.",
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Processes at once.")
def grade(submissions: Path, out: Path, feedback: Path | None, notebooks: tuple[str, ...], **limits) -> None:
    """Grade the notebooks in SUBMISSIONS: one .ipynb, folder or .zip a student.

    Writes the table, FEEDBACK/<student>.md, and, beside the table, rubric.md with the answers that a person reads.
    Functions run one by one in processes of their own, limited in time and memory. This is no sandbox: grade code of
    strangers in a container.
    """
    from ssmde_lib.course.grading import grade_folder

    feedback = feedback or out.parent / "feedback"
    table = grade_folder(submissions, out, feedback, notebooks=notebooks, **limits)
    click.echo(
        f"submissions graded: {len(table)}. Table {out}, to be read {out.with_name('rubric.md')}, feedback {feedback}"
    )


@click.command()
@click.option(
    "--out",
    default="dist/course",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the zips.",
)
@click.option("--nbgrader", is_flag=True, help="Mark the cells of the exercises for nbgrader.")
@click.option(
    "--sync", is_flag=True, help="Only write the exercises of the repository's own notebooks anew, from the bank."
)
def course(out: Path, nbgrader: bool, sync: bool) -> None:
    """Write the student's, the solutions' and the instructor's edition of the notebooks, a zip each."""
    from ssmde_lib.course.editions import sync_notebooks, write_editions
    from ssmde_lib.pipeline.parameters import find_root

    if sync:
        click.echo("\n".join(sync_notebooks(find_root())) or "the notebooks are those of the bank")
        return
    for path in write_editions(find_root(), out, nbgrader=nbgrader):
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
