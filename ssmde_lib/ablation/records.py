"""Records of finished jobs: small JSON files, their means over seeds and paired differences."""

import json
from pathlib import Path

import numpy as np

from ssmde_lib.ablation.variants import VARIANTS
from ssmde_lib.evaluation.bootstrap import bootstrap_interval
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
    """A copy with every float rounded to five digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value


def read_records(folder: Path) -> list[dict]:
    """The records of a world's folder, baselines first, then in the order of VARIANTS."""
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
    """{variant: mean AbsRel and standard deviation over seeds, 95 % bootstrap interval over clips, number of seeds}.

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
                "title": VARIANTS[name].title if name in VARIANTS else mine[0]["title"],
            }
    return table


def paired(records: list[dict], variant: str, other: str, region: str, seed: int = 0) -> dict | None:
    """Mean of variant - other over their common seeds, and its 95 % bootstrap interval over clips.

    None where nothing is paired. Both were evaluated on the same images, so the differences of the clips are drawn.
    """
    by_variant = [
        {r["seed"]: r for r in records if r["variant"] == name and region in r["summary"]} for name in (variant, other)
    ]
    shared = sorted(by_variant[0].keys() & by_variant[1].keys())
    if not shared:
        return None
    (sums, counts), (other_sums, other_counts) = (
        sums_by_clip([mine[s] for s in shared], region) for mine in by_variant
    )
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
