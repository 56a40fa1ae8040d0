"""Records of finished jobs: small JSON files, and what all of them together say."""

import json
from pathlib import Path

import numpy as np

from ssmde_lib.ablation.variants import MAP, QUALITIES, SCHEDULES, VARIANTS
from ssmde_lib.evaluation.bootstrap import bootstrap_interval
from ssmde_lib.evaluation.results import REGIONS, markdown
from ssmde_lib.files import write_text

BASELINES = ("constant", "median")
ORDER = [*BASELINES, *VARIANTS]


def by_clip(results) -> dict[str, dict[str, list]]:
    """{region: {clip: [mean AbsRel of its images, their number]}}: what bootstrap intervals over clips need."""
    table: dict = {}
    for record in results.records:
        for region, figures in record["regions"].items():
            table.setdefault(region, {}).setdefault(Path(record["clip"]).name, []).append(figures["abs_rel"])
    return {region: {clip: [float(np.mean(v)), len(v)] for clip, v in clips.items()} for region, clips in table.items()}


def write_record(path: Path, record: dict) -> None:
    """Five digits, one line a key, so that differences can be read.

    The file appears under its name only when complete.
    """
    record = {key: value if key == "settings" else rounded(value) for key, value in record.items()}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in record.items())
    write_text(path, f"{{\n{lines}\n}}\n")


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value


def read_records(folder: Path) -> list[dict]:
    """The records of a world's folder, baselines first, then in the order of the rows."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted(
        (r for r in records if r["variant"] in ORDER), key=lambda r: (ORDER.index(r["variant"]), r["seed"] or 0)
    )


def cost(records: list[dict]) -> dict[str, tuple[int, float]]:
    """{device: (trainings, their hours of processor time)}; older records name no device and are a CPU's."""
    found: dict = {}
    for record in records:
        if record["seed"] is not None:
            device = record.get("device", "cpu")
            jobs, hours = found.get(device, (0, 0.0))
            found[device] = jobs + 1, hours + record["seconds"]["processor"] / 3600
    return found


def summarise(records: list[dict], region: str, seed: int = 0) -> dict[str, dict]:
    """{row: mean AbsRel over seeds, spread (standard deviation) over seeds, 95 % bootstrap interval over clips, seeds}.

    The interval is drawn over clips (by `seed`), all seeds of a clip together; None with a single clip.
    """
    table = {}
    for name in dict.fromkeys(record["variant"] for record in records):
        mine = [record for record in records if record["variant"] == name and region in record["summary"]]
        if mine:
            figures = [record["summary"][region]["abs_rel"] for record in mine]
            spread = float(np.std(figures, ddof=1)) if len(figures) > 1 else None
            interval = bootstrap_interval(*sums_by_clip(mine, region), seed=seed)
            table[name] = {
                "mean": float(np.mean(figures)),
                "spread": spread,
                "interval": interval,
                "seeds": len(mine),
                "title": mine[0]["title"],
            }
    return table


def paired(records: list[dict], variant: str, other: str, region: str, seed: int = 0) -> dict | None:
    """Mean of row - other over the seeds that both have, and its 95 % bootstrap interval over clips.

    None where nothing is paired.

    Both saw the same images of the same clips: the difference of each clip is drawn, not the two errors.
    """
    by_row = [
        {r["seed"]: r for r in records if r["variant"] == name and region in r["summary"]} for name in (variant, other)
    ]
    shared = sorted(by_row[0].keys() & by_row[1].keys())
    if not shared:
        return None
    (sums, counts), (other_sums, other_counts) = (sums_by_clip([mine[s] for s in shared], region) for mine in by_row)
    if not np.array_equal(counts, other_counts):
        return None
    return {
        "difference": float((sums - other_sums).sum() / counts.sum()),
        "interval": bootstrap_interval(sums - other_sums, counts, seed=seed),
        "seeds": len(shared),
    }


def sums_by_clip(records: list[dict], region: str) -> tuple[np.ndarray, np.ndarray]:
    """(sum of AbsRel, number of images) of each clip over all records."""
    clips = sorted({clip for record in records for clip in record["by_clip"][region]})
    found = np.array([[r["by_clip"][region].get(clip, [0.0, 0]) for clip in clips] for r in records])
    return (found[..., 0] * found[..., 1]).sum(0), found[..., 1].sum(0)


def table(records: list[dict], seed: int = 0) -> str:
    """Markdown: a row a row; AbsRel of each region as mean ± spread over seeds [95 % interval over clips]."""
    regions = [region for region in REGIONS if any(region in record["summary"] for record in records)]
    found = {region: summarise(records, region, seed) for region in regions}
    variants = []
    for name in dict.fromkeys(record["variant"] for record in records):
        figures = [cell(found[region].get(name)) for region in regions]
        some = next(found[region][name] for region in regions if name in found[region])
        variants.append([name, some["title"], str(some["seeds"]) if name not in BASELINES else "", *figures])
    return markdown(["variant", "what", "seeds", *regions], variants)


def student_table(records: list[dict], seed: int = 0) -> str:
    """Markdown: each student's AbsRel less its teacher's, paired, with 95 % over clips.

    Empty where no row has a teacher with records.
    """
    regions = [region for region in REGIONS if any(region in record["summary"] for record in records)]
    lines = []
    for name in dict.fromkeys(record["variant"] for record in records if record["variant"] not in BASELINES):
        found = [paired(records, name, VARIANTS[name].teacher, region, seed) for region in regions]
        if any(found):
            lines.append(
                [
                    f"{name} − {VARIANTS[name].teacher}",
                    str(found[0]["seeds"]),
                    *(difference(figures) for figures in found),
                ]
            )
    return markdown(["student − teacher", "seeds", *regions], lines) if lines else ""


def difference(figures: dict | None) -> str:
    if figures is None:
        return ""
    interval = " [{:+.4f}, {:+.4f}]".format(*figures["interval"]) if figures["interval"] else ""
    return f"{figures['difference']:+.4f}{interval}".replace("-", "−")


def schedule_grid(records: list[dict], region: str) -> np.ndarray:
    """Mean AbsRel over seeds by quality of the prior (lines) and forgetting schedule (columns, as in MAP).

    nan where nothing was trained.
    """
    means = {name: figures["mean"] for name, figures in summarise(records, region).items()}
    return np.array([[means.get(variant, np.nan) for variant in MAP[quality].values()] for quality in QUALITIES])


def schedule_table(records: list[dict]) -> str:
    """Markdown of `when_to_forget`: a quality a line, a schedule a column, all / static / dynamic.

    Empty unless two priors were tried.
    """
    maps = np.stack([schedule_grid(records, region) for region in REGIONS], -1)
    tried = np.isfinite(maps[:, : len(SCHEDULES)]).any((1, 2))
    if tried.sum() < 2:
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
    if figures is None:
        return ""
    spread = f" ± {figures['spread']:.3f}" if figures["spread"] is not None else ""
    interval = " [{:.3f}, {:.3f}]".format(*figures["interval"]) if figures["interval"] else ""
    return f"{figures['mean']:.3f}{spread}{interval}"
