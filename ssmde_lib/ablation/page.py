"""docs/results.md: all tables of the ablation, each under the question that it answers."""

from textwrap import fill

from ssmde_lib.ablation.grid import Grid
from ssmde_lib.ablation.held_out import held_out_records
from ssmde_lib.ablation.records import BASELINES, paired
from ssmde_lib.ablation.tables import difference, schedule_table, student_table, table
from ssmde_lib.ablation.variants import VARIANTS
from ssmde_lib.evaluation.results import REGIONS

HEAD = """# Results of the ablation

`ssmde ablation table --markdown > docs/results.md` generates this page from the records in
[results/ablation](../results/ablation); a test compares the two. Do not edit it.

Each number is AbsRel after median scaling, smaller is better: mean ± standard deviation over the training seeds, in
brackets the 95 % bootstrap interval over clips. Differences are mean paired differences on the same images; negative
means that the first variant is better. `dynamic` are the pixels of moving objects, `static` all others.

The six test clips of each synthetic world were used to select settings, so their differences are biased. The 30
held-out clips were not used for any selection. Real data sets have one clip each, hence no interval; the networks were
trained on this clip without its depth, and the median baseline has used its depth."""
QUESTIONS = {  # question: (variants in the table, pairs of a finding, of which the first with records is taken)
    "Which components lower the error?": (
        [
            *(*BASELINES, "base", "base_direct_pose", "prior", "keep_dynamic", "linear", "normals"),
            *(n for n in VARIANTS if n.startswith("teacher")),
        ],
        [("teacher_dinov2", "base"), ("teacher", "base")],
    ),
    "Does the student improve on its teacher?": (
        [
            "teacher",
            "teacher_dinov2",
            *(n for n in VARIANTS if n.startswith("student_") and n != "student_two_teachers"),
        ],
        [("student_multi_view", "teacher_dinov2"), ("student_prior_order", "teacher")],
    ),
    "Does a second teacher improve the labels?": (
        ["base_direct_pose", "student_multi_view", "student_two_teachers"],
        [("student_two_teachers", "student_multi_view")],
    ),
    "How do other self-distillation methods compare?": (
        ["base", "multi_resolution", "successive", "consistency"],
        [("consistency", "base")],
    ),
    "What changes with twice the training steps?": (
        ["base", "teacher", *(n for n in VARIANTS if n.startswith("long_"))],
        [("long_base", "base")],
    ),
    "What changes without ImageNet weights?": (
        ["base", "prior", "teacher", *(n for n in VARIANTS if n.startswith("scratch_"))],
        [("scratch_teacher", "scratch_base")],
    ),
    "What changes with a better and a worse prior?": (
        ["prior", "teacher", *(n for n in VARIANTS if n.startswith(("in_domain_", "dinov2_small_", "degraded_")))],
        [("in_domain_exponential", "in_domain_constant")],
    ),
}


def results_page(grid: Grid, clips: int = 30) -> str:
    """Markdown of every table that the grid's valid records allow, test clips and held-out clips of each world."""
    parts = [HEAD]
    for world in grid.worlds.values():
        if records := grid.records(world.name):
            parts += [
                f"## {world.name}: {'one clip of real video' if world.folder else 'test clips'}",
                *tables(records),
            ]
        if not world.folder and (records := held_out_records(grid, world.name, clips)):
            parts += [f"## {world.name}: {clips} held-out clips", *tables(records)]
    return "\n\n".join(parts) + "\n"


def tables(records: list[dict]) -> list[str]:
    """Headings, findings and tables; variants of no question come last."""
    present = dict.fromkeys(record["variant"] for record in records)
    asked = {name for names, _ in QUESTIONS.values() for name in names}
    questions = QUESTIONS | {"Other variants": ([name for name in present if name not in asked], [])}
    parts, shown = [], set()
    for question, (names, pairs) in questions.items():
        if new := [name for name in names if name in present and name not in shown]:
            shown |= set(new)
            parts += [
                f"### {question}",
                first_finding(records, pairs),
                table([r for r in records if r["variant"] in names]),
            ]
    parts += ["### All students and their teachers", student_table(records)] if student_table(records) else []
    parts += ["### Which schedule suits which prior?", schedule_table(records)] if schedule_table(records) else []
    return [part for part in parts if part]


def first_finding(records: list[dict], pairs: list[tuple[str, str]]) -> str:
    """The finding of the first pair that has common seeds; empty where none has."""
    return next(filter(None, (finding(records, *pair) for pair in pairs)), "")


def finding(records: list[dict], variant: str, other: str) -> str:
    """One sentence: by how much a variant differs from another in each region; empty where they have no common seed."""
    found = {region: paired(records, variant, other, region) for region in REGIONS}
    words = [f"{region} {difference(figures)} ({verdict(figures)})" for region, figures in found.items() if figures]
    return fill(f"`{variant}` minus `{other}`: {', '.join(words)}.", 120) if words else ""


def verdict(figures: dict) -> str:
    """Whether the interval of a difference excludes zero, in words."""
    if not figures["interval"]:
        return "no interval"
    low, high = figures["interval"]
    return "lower" if high < 0 else "higher" if low > 0 else "no significant difference"
