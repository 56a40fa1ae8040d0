"""What an evaluation found: records per image, their means, bootstrap intervals, tables."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ssmde_lib.errors import UserError
from ssmde_lib.evaluation.bootstrap import bootstrap_interval
from ssmde_lib.evaluation.protocols import Protocol
from ssmde_lib.metrics import METRICS

REGIONS = ("all", "static", "dynamic")
HEADINGS = dict(zip(METRICS, ("AbsRel", "SqRel", "RMSE", "RMSElog", "log10", "δ1", "δ2", "δ3"), strict=True))


@dataclass
class Results:
    """Per-image records of one predictor under one protocol.

    Every figure is the mean over images of the image's own figure; a region counts only the images that show it.
    """

    protocol: Protocol
    records: list[dict]

    def clips(self) -> list[str]:
        """Names of the clips."""
        return sorted({record["clip"] for record in self.records})

    def regions(self) -> list[str]:
        """The regions that any image has."""
        return [region for region in REGIONS if any(region in record["regions"] for record in self.records)]

    def summary(self) -> dict[str, dict[str, float]]:
        """{region: {metric: mean over images, "images": their number}}."""
        return {region: self.region_summary(region) for region in self.regions()}

    def region_summary(self, region: str) -> dict[str, float]:
        """Means over the images that have the region."""
        rows = [record["regions"][region] for record in self.records if region in record["regions"]]
        return {metric: float(np.mean([row[metric] for row in rows])) for metric in METRICS} | {"images": len(rows)}

    def bins(self) -> dict[str, float]:
        """AbsRel by depth bin, near to far, over the images that have pixels there."""
        return mean_by_key([record["bins"] for record in self.records])

    def edges(self) -> dict[str, float]:
        """Mean edge errors in pixels; empty where the truth is sparse."""
        return mean_by_key([record["edges"] for record in self.records if record.get("edges")])

    def intervals(
        self, draws: int = 2000, level: float = 0.95, seed: int = 0
    ) -> dict[str, dict[str, list[float] | None]] | None:
        """Bootstrap intervals over clips: neighbouring frames are no independent samples. None with a single clip."""
        if len(self.clips()) < 2:
            return None
        return {
            region: {
                metric: bootstrap_interval(*sums_by_clip(self, region, metric), draws=draws, level=level, seed=seed)
                for metric in METRICS
            }
            for region in self.regions()
        }

    def to_json(self) -> dict:
        """Everything, as plain dicts for `json.dump`; `from_json` reads it back."""
        return {
            "protocol": dataclasses.asdict(self.protocol),
            "summary": self.summary(),
            "intervals": self.intervals(),
            "bins": self.bins(),
            "edges": self.edges(),
            "records": self.records,
        }

    @classmethod
    def from_json(cls, source: dict | str | Path) -> "Results":
        """Results from `to_json`'s dict, or from a file that holds it."""
        try:
            results = source if isinstance(source, dict) else json.loads(Path(source).read_text())
        except (OSError, json.JSONDecodeError):
            raise UserError(f"{source} is missing or no JSON of results: run the evaluation again.") from None
        facts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in results["protocol"].items()
        }
        return cls(Protocol(**facts), results["records"])

    def table(self) -> str:
        """Markdown, one line per region and one column per metric."""
        summary = self.summary()
        rows = [[region, *cells(summary[region]), str(summary[region]["images"])] for region in summary]
        return markdown(["region", *HEADINGS.values(), "images"], rows)


def comparison_table(results: dict[str, Results], region: str = "all") -> str:
    """Markdown, one line per predictor, with the bootstrap interval of AbsRel.

    Predictors that never saw the region are left out.
    """
    rows = []
    for name, result in results.items():
        if region not in result.regions():
            continue
        intervals = result.intervals()
        interval = intervals[region]["abs_rel"] if intervals else None
        spread = "[{:.3f}, {:.3f}]".format(*interval) if interval else "one clip"
        rows.append([name, *cells(result.region_summary(region)), spread])
    return markdown([region, *HEADINGS.values(), "AbsRel 95 %"], rows)


def paired_difference(
    a: Results,
    b: Results,
    region: str = "all",
    metric: str = "abs_rel",
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float | list[float] | None]:
    """Mean of a - b over the same images, and its bootstrap interval over clips (None with a single clip)."""
    if [(r["clip"], r["frame"]) for r in a.records] != [(r["clip"], r["frame"]) for r in b.records]:
        raise UserError("the two results hold different images: evaluate both on the same clips.")
    difference = a.region_summary(region)[metric] - b.region_summary(region)[metric]
    (sums, counts), (other_sums, _) = (sums_by_clip(results, region, metric) for results in (a, b))
    interval = bootstrap_interval(sums - other_sums, counts, draws=draws, level=level, seed=seed)
    return {"difference": difference, "interval": interval}


def sums_by_clip(
    results: Results, region: str, metric: str
) -> tuple[Float[np.ndarray, " clips"], Float[np.ndarray, " clips"]]:
    """(sum of the metric over the clip's images that show the region, number of these images) of every clip."""
    values = {clip: [] for clip in results.clips()}
    for record in results.records:
        if region in record["regions"]:
            values[record["clip"]].append(record["regions"][region][metric])
    return np.array([sum(v) for v in values.values()], float), np.array([len(v) for v in values.values()], float)


def mean_by_key(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means of each key over the rows that have it."""
    keys = sorted(
        {key for row in rows for key in row}, key=lambda key: float(key.split("-")[0]) if key[0].isdigit() else 0
    )
    return {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}


def cells(figures: dict[str, float]) -> list[str]:
    """The metrics as a table's cells."""
    return [f"{figures[metric]:.3f}" for metric in METRICS]


def markdown(headings: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
