"""The ablation: which parts of SS-MDE bring what. One row is one training; rows that need a teacher name the row that is theirs."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from ssmde_lib.datasets.clip import find_clips
from ssmde_lib.errors import UserError
from ssmde_lib.evaluation import Protocol, evaluate_clips
from ssmde_lib.inference import Predictor
from ssmde_lib.objective import Losses
from ssmde_lib.stages import Architecture, Filter, train_network, write_labels
from ssmde_lib.training import Schedule

PRIOR = {"ranking": 0.1, "normal": 0.1, "edge_normal": 0.1}
STUDENT = {"distillation": 0.1}


@dataclasses.dataclass(frozen=True)
class Row:
    """One configuration: what it changes of the base network's losses and architecture, and whose filtered depth it learns from."""

    title: str
    losses: dict
    architecture: dict = dataclasses.field(default_factory=dict)
    teacher: str | None = None
    filter: Filter | None = None


ROWS = {
    "base": Row("base: self-supervised only", {}),
    "prior": Row("+ prior, constant weight", PRIOR | {"forgetting": "constant"}),
    "teacher": Row("+ forgetting factor: the teacher", PRIOR),
    "keep_dynamic": Row("+ forgetting on static pixels only", PRIOR | {"keep_dynamic": True}),
    "student_unfiltered": Row("student, no filter", STUDENT, teacher="teacher", filter=Filter("none")),
    "student_plain": Row("student, multi-view filter", STUDENT, teacher="teacher", filter=Filter("plain")),
    "student_extended": Row("student, filter or the prior's order", STUDENT, teacher="teacher", filter=Filter("extended")),
    "multi_resolution": Row("neighbour: multi-resolution distillation", {"multi_resolution": 0.1}),
    "successive": Row(
        "neighbour: successive depth maps, dense skips", {"successive": 0.1, "photometric_scales": 1}, architecture={"skips": "dense"}
    ),
    "consistency": Row("neighbour: EMA teacher, filtered", {"distillation": 0.1, "teacher": "ema", "filter": "plain"}),
}


def run_row(name: str, folder: Path, data: Path, pseudo: Path, protocol: Protocol, schedule: Schedule, architecture: Architecture, *, seed: int, teacher: Path | None = None, step: int = 1, start: Path | None = None) -> dict:
    """Train one row into `folder`, evaluate it on the test split and return its record (also in `folder/record.json`).

    `teacher` is the folder of the teacher's row of the same seed. Interrupted, it goes on where it stopped.
    """
    if name not in ROWS:
        raise UserError(f"unknown row {name!r} of the ablation: choose one of {', '.join(ROWS)}.")
    row, began = ROWS[name], time.perf_counter()
    losses = Losses(**row.losses)
    architecture = dataclasses.replace(architecture, **row.architecture)
    coverage, labels = None, None
    if row.teacher:
        if teacher is None:
            raise UserError(f"row {name!r} learns from row {row.teacher!r}: run that first and name its folder.")
        labels = folder / "labels"
        coverage = write_labels(labels, data, teacher, row.filter, step=step, pseudo=pseudo)
    validation = find_clips(data, "val")

    def validate(net) -> dict:
        summary = evaluate_clips(Predictor(net), validation, protocol).summary()
        return {f"val_{region}": figures["abs_rel"] for region, figures in summary.items()}

    log = train_network(
        folder, data, architecture, losses, schedule, seed=seed, step=step, start=start, labels=labels,
        pseudo=pseudo if losses.uses_prior else None, validate=validate, validate_every=max(1, schedule.steps // 8),
    )
    results = evaluate_clips(Predictor.load(folder / "depth.safetensors"), find_clips(data, "test"), protocol)
    record = {
        "row": name,
        "title": row.title,
        "seed": seed,
        "summary": results.summary(),
        "by_clip": by_clip(results),
        "coverage": coverage,
        "curve": [{k: v for k, v in entry.items() if k == "step" or k.startswith("val_")} for entry in log if any(k.startswith("val_") for k in entry)],
        "losses": dataclasses.asdict(losses),
        "schedule": dataclasses.asdict(schedule),
        "architecture": dataclasses.asdict(architecture),
        "seconds": round(time.perf_counter() - began, 1),
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1))
    return record


def by_clip(results) -> dict[str, dict[str, list[float]]]:
    """{region: {clip: AbsRel of its images}}: what bootstrap intervals over clips need."""
    table: dict = {}
    for record in results.records:
        for region, figures in record["regions"].items():
            table.setdefault(region, {}).setdefault(record["clip"], []).append(round(figures["abs_rel"], 5))
    return table


def read_records(folder: Path) -> list[dict]:
    """All records below a folder, in the order of the rows."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("**/*.json"))]
    return sorted((r for r in records if r.get("row") in ROWS), key=lambda r: (list(ROWS).index(r["row"]), r["seed"]))


def summarise(records: list[dict], region: str, draws: int = 2000) -> dict[str, dict]:
    """{row: mean AbsRel over seeds, spread (standard deviation) over seeds, 95 % bootstrap interval over clips, seeds}."""
    rng = np.random.default_rng(0)
    table = {}
    for name in dict.fromkeys(record["row"] for record in records):
        mine = [record for record in records if record["row"] == name and region in record["summary"]]
        if not mine:
            continue
        figures = [record["summary"][region]["abs_rel"] for record in mine]
        clips = sorted(mine[0]["by_clip"][region])
        sums = np.array([np.sum([v for r in mine for v in r["by_clip"][region].get(clip, [])]) for clip in clips])
        counts = np.array([np.sum([len(r["by_clip"][region].get(clip, [])) for r in mine]) for clip in clips])
        drawn = rng.integers(len(clips), size=(draws, len(clips)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        low, high = np.percentile(means, [2.5, 97.5])
        spread = float(np.std(figures, ddof=1)) if len(figures) > 1 else None
        table[name] = {"mean": float(np.mean(figures)), "spread": spread, "low": float(low), "high": float(high), "seeds": len(figures)}
    return table
