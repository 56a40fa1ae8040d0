"""`ssmde ablation`: the jobs of a grid one by one, and the tables of their records."""

from pathlib import Path

import click

from ssmde_lib.errors import UserError


@click.group()
def ablation() -> None:
    """Variants of the ablation without notebooks: `make ablation` runs all of them (workflow/ablation.yaml)."""


profile_option = click.option("--profile", default="laptop", show_default=True, help="Grid in workflow/ablation.yaml.")
world_option = click.option("--world", required=True, help="World of the grid, such as street.")


def read_grid(profile: str):
    """The ablation's grid of a profile, of the repository that we stand in."""
    from ssmde_lib.ablation import Grid
    from ssmde_lib.pipeline.parameters import find_root, runs_folder

    root = find_root()
    return Grid.read(profile, root, runs_folder(root))


@ablation.command("run")
@world_option
@click.option("--variant", required=True, help="Variant of ssmde_lib/ablation/variants.py, such as base.")
@click.option("--seed", default=0, show_default=True)
@profile_option
@click.option("--force", is_flag=True, help="Also where a record with these settings exists.")
def ablation_run(world: str, variant: str, seed: int, profile: str, force: bool) -> None:
    """Train and evaluate one variant, and write its record to results/ablation."""
    from ssmde_lib.ablation import Job, run_variant

    grid, job = read_grid(profile), Job(world, variant, seed)
    grid.check(job)
    for change in grid.changes(job) or []:
        click.echo(f"the record of {job} is stale: {change}", err=True)
    record = run_variant(grid, job, force=force)
    figures = "  ".join(f"{region} {figures['abs_rel']:.3f}" for region, figures in record["summary"].items())
    click.echo(f"{job}: AbsRel {figures} ({grid.record_path(job).relative_to(grid.root)})")


@ablation.command("prepare")
@world_option
@click.option("--quality", help="Also the pseudo-depth of this prior: in_domain, leres_small or degraded.")
@profile_option
def ablation_prepare(world: str, quality: str | None, profile: str) -> None:
    """Make a world's data, and a prior's maps of it."""
    from ssmde_lib.ablation import QUALITIES, prepare_data, prepare_pseudo

    grid = read_grid(profile)
    if quality and quality not in QUALITIES:
        raise UserError(f"unknown quality {quality!r}: choose one of {', '.join(QUALITIES)}.")
    click.echo(prepare_pseudo(grid, world, quality) if quality else prepare_data(grid, world))


@ablation.command("status")
@profile_option
def ablation_status(profile: str) -> None:
    """Which jobs are finished, missing or stale, and why; what the trainings so far have cost."""
    from ssmde_lib.ablation import cost

    grid = read_grid(profile)
    for sentence in grid.absent.values():
        click.echo(sentence)
    for job in grid.jobs:
        changes = grid.changes(job)
        state = "missing" if changes is None else f"stale: {'; '.join(changes)}" if changes else "finished"
        click.echo(f"{job}: {state}")
    for device, (jobs, hours) in cost([record for world in grid.worlds for record in grid.records(world)]).items():
        click.echo(f"on {device}: {jobs} trainings, {hours:.1f} h of processor time")


@ablation.command("export-weights")
@world_option
@click.option("--variant", required=True, help="Variant of ssmde_lib/ablation/variants.py, such as scratch_teacher.")
@click.option("--seed", default=0, show_default=True)
@profile_option
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Files to write: OUT.safetensors and OUT_pose.safetensors.",
)
def ablation_export_weights(world: str, variant: str, seed: int, profile: str, out: Path) -> None:
    """Write a variant's weights, trained here, in half precision, each with its training record."""
    from ssmde_lib.ablation import Job, export_weights

    grid, job = read_grid(profile), Job(world, variant, seed)
    grid.check(job)
    for path in export_weights(grid, job, out):
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


@ablation.command("table")
@click.option("--world", help="World of the profile's grid, such as street.")
@click.option("--markdown", is_flag=True, help="The whole page docs/results.md, of all worlds.")
@profile_option
def ablation_table(world: str | None, markdown: bool, profile: str) -> None:
    """AbsRel of the variants with valid records, by region: mean and deviation over seeds, 95 % interval over clips.

    A second table holds the differences of students and teachers, a third priors by schedules where several were tried.
    """
    from ssmde_lib.ablation import results_page

    if markdown == bool(world):
        raise UserError("give either --world NAME for its tables or --markdown for the page of all worlds.")
    grid = read_grid(profile)
    if world:
        print_tables(grid.records(world))
    else:
        click.echo(results_page(grid), nl=False)


@ablation.command("held-out")
@world_option
@profile_option
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Number of held-out clips, of another seed than the grid's.",
)
def ablation_held_out(world: str, profile: str, clips: int) -> None:
    """Measure the variants with weights on this machine on held-out clips, and print their tables."""
    from ssmde_lib.ablation import measure_held_out

    print_tables(measure_held_out(read_grid(profile), world, clips))


def print_tables(records: list[dict]) -> None:
    """Print the tables that these records fill."""
    from ssmde_lib.ablation import schedule_table, student_table, table

    click.echo("\n\n".join(filter(None, (table(records), student_table(records), schedule_table(records)))))
