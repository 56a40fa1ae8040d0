"""Markdown tables of the ablation's records."""

import numpy as np

from ssmde_lib.ablation.records import BASELINES, paired, summarise
from ssmde_lib.ablation.variants import MAP, QUALITIES, SCHEDULES, VARIANTS
from ssmde_lib.evaluation.results import REGIONS, markdown


def table(records: list[dict], seed: int = 0) -> str:
    """Markdown, one line per variant: AbsRel by region as mean ± deviation over seeds [95 % interval over clips]."""
    regions = [region for region in REGIONS if any(region in record["summary"] for record in records)]
    found = {region: summarise(records, region, seed) for region in regions}
    variants = []
    for name in dict.fromkeys(record["variant"] for record in records):
        figures = [cell(found[region].get(name)) for region in regions]
        some = next(found[region][name] for region in regions if name in found[region])
        variants.append([name, some["title"], str(some["seeds"]) if name not in BASELINES else "", *figures])
    return markdown(["variant", "what", "seeds", *regions], variants)


def student_table(records: list[dict], seed: int = 0) -> str:
    """Markdown: each student's AbsRel minus its teacher's, paired, with 95 % intervals over clips.

    Empty where no variant has a teacher with records.
    """
    regions = [region for region in REGIONS if any(region in record["summary"] for record in records)]
    lines = []
    for name in dict.fromkeys(record["variant"] for record in records if record["variant"] not in BASELINES):
        teacher = VARIANTS[name].teacher
        found = [paired(records, name, teacher, region, seed) for region in regions] if teacher else []
        seeds = [str(figures["seeds"]) for figures in found if figures]
        if seeds:
            lines.append([f"{name} − {teacher}", seeds[0], *(difference(figures) for figures in found)])
    return markdown(["student − teacher", "seeds", *regions], lines) if lines else ""


def difference(figures: dict | None) -> str:
    """A table's cell of a paired difference with its interval."""
    if figures is None:
        return ""
    interval = " [{:+.4f}, {:+.4f}]".format(*figures["interval"]) if figures["interval"] else ""
    return f"{figures['difference']:+.4f}{interval}".replace("-", "−")


def schedule_grid(records: list[dict], region: str) -> np.ndarray:
    """Mean AbsRel over seeds by quality of the prior (lines) and schedule of its weight (columns, as in MAP).

    nan where nothing was trained.
    """
    means = {name: figures["mean"] for name, figures in summarise(records, region).items()}
    return np.array([[means.get(variant, np.nan) for variant in MAP[quality].values()] for quality in QUALITIES])


def schedule_table(records: list[dict]) -> str:
    """Markdown of `schedule_grid`: one line per prior, one column per schedule, all / static / dynamic.

    Empty unless two priors were tried.
    """
    maps = np.stack([schedule_grid(records, region) for region in REGIONS], -1)
    tried = [bool(np.isfinite(lines[: len(SCHEDULES)]).any()) for lines in maps]
    if sum(tried) < 2:
        return ""
    cells = [
        [" / ".join(f"{value:.3f}" for value in figures) if np.isfinite(figures).all() else "" for figures in line]
        for line in maps
    ]
    lines = [
        [quality.replace("_", "-"), *line] for quality, line, some in zip(QUALITIES, cells, tried, strict=True) if some
    ]
    return markdown(["prior", *(name.replace("_", " ") for name in MAP["leres_small"])], lines)


def cell(figures: dict | None) -> str:
    """A table's cell of a mean with spread and interval."""
    if figures is None:
        return ""
    spread = f" ± {figures['spread']:.3f}" if figures["spread"] is not None else ""
    interval = " [{:.3f}, {:.3f}]".format(*figures["interval"]) if figures["interval"] else ""
    return f"{figures['mean']:.3f}{spread}{interval}"
