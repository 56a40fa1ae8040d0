"""docs/performance.md says what results/performance holds, and the goals it claims are met."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RECORDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "results" / "performance").glob("*.json")}
PAGE = (ROOT / "docs" / "performance.md").read_text()
HISTORY = (ROOT / "docs" / "history.md").read_text()


def result(name: str):
    return RECORDS[name]["result"]


def goal_rows() -> list[list[str]]:
    lines = PAGE.split("## The goals")[1].split("\n\n")[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# The rows of the goals' table in order: the record's value in the row's unit, its digits, whether it meets the goal,
# its record.
STEPS = [
    ("step_base", True),
    ("step_full", True),
    ("step_full_source_gradient_one", True),
    ("step_full_source_gradient", False),  # missed, and so are the loader and the written world on this machine
]
EXPECTED = [
    row
    for name, fits in STEPS
    for row in ((result(name)["step"]["wall_s"], 2, fits, name), (result(name)["peak_mib"] / 1024, 2, fits, name))
] + [
    (result("inference_width24")["wall_ms"]["predictor"], 1, True, "inference_width24"),
    (result("inference_width64")["wall_ms"]["predictor"], 1, True, "inference_width64"),
    (result("loader")["item_ms"][0], 1, False, "loader"),
    (max(row["wall_s"] for row in result("world_write")), 1, False, "world_write"),
    (max(row["s_640_frames_2_cores"] for row in result("world") if row["size"] == "192x640"), 1, True, "world"),
    (result("evaluation")["wall_s"], 1, True, "evaluation"),
]


@pytest.mark.parametrize("row", range(len(EXPECTED)))
def test_the_goals_table_holds_the_records(row):
    cells = goal_rows()
    assert len(cells) == len(EXPECTED)
    what, goal, measured, _, command = cells[row]
    value, digits, met, name = EXPECTED[row]
    assert float(measured.strip("*")) == pytest.approx(value, abs=0.51 * 10**-digits), what
    assert (value <= float(goal)) == met and measured.startswith("**") == (not met), what
    if command:
        assert command.strip("`") in RECORDS[name]["command"]


def test_the_steps_table_holds_the_records():
    for name, label in {"step_base": "base", "step_full": "full"}.items():
        report = result(name)
        cells = [
            f"{report['step']['wall_s']:.2f}",
            f"{report['reference']['wall_s']:.2f}",
            f"{report['cpu_ratio']:.1f}",
            f"{report['peak_mib']:.0f}",
            f"{report['reference_peak_mib']:.0f}",
        ]
        assert f"| {label} | {' | '.join(cells)} |" in PAGE
    for name in ("step_base_channels_last", "step_full_channels_last"):
        label = name.split("_")[1]
        assert (
            f"| {label}, `channels_last` | {result(name)['step']['wall_s']:.2f} | | | {result(name)['peak_mib']:.0f} | "
            "|" in PAGE
        )


def test_every_record_says_how_it_was_made():
    for name, record in RECORDS.items():
        script = re.search(r"python (\S+)", record["command"])[1]
        assert (ROOT / script).is_file() and {"date", "machine"} <= set(record), name


def test_the_threads_table_holds_the_record_and_the_goal():
    report = result("side_by_side")
    labels = {"one thread": "one thread: `make`", "library": "half of the cores, asleep: the library",
              "asleep": "all cores, asleep", "torch": "all cores, spinning: torch by itself"}  # fmt: skip
    for setting, label in labels.items():
        row = report[setting]
        alone, two, one_busy, busy = (
            f"{row[name]['step_s']:.3f}" for name in ("alone", "two_at_once", "beside_one_busy", "beside_busy_cores")
        )
        two = f"**{two}**" if setting == "torch" else two
        assert f"| {label} | {alone} | {two} | {row['ratio_of_two']:.2f} | {one_busy} | {busy} |" in PAGE
    assert max(report[ours]["ratio_of_two"] for ours in ("one thread", "library")) <= report["goal_ratio_of_two"] == 2.2


def test_what_compiling_brings_is_said_as_measured():
    compiled, plain = result("step_full_compile"), result("step_full_plain")
    words = f"in {compiled['step']['wall_s']:.2f} s against {plain['step']['wall_s']:.2f} s without"
    words += (
        f", measured one after the other, inference in {1000 * compiled['infer']['wall_s']:.0f} against "
        f"{1000 * plain['infer']['wall_s']:.0f} ms"
    )
    assert words in " ".join(HISTORY.split())


def test_the_table_of_large_input_holds_the_records():
    rows = PAGE.split("## Large input")[1].split("\n\n")[2].splitlines()[2:]
    results = list((result("size_4k") | result("size_long")).values())
    for row, found in zip(rows, results, strict=True):
        frames, cpu, peaks, megabytes = [cell.strip() for cell in row.strip("|").split("|")][1:]
        assert frames == ", ".join(map(str, found["frames"])) and peaks == ", ".join(map(str, found["peak_mib"]))
        assert float(cpu) == found["cpu_s_a_frame"]
        if megabytes:
            assert megabytes == f"{found['mb_a_frame']} (goal 20)" and found["mb_a_frame"] <= 20


def test_the_table_of_what_a_run_computes_holds_the_records():
    steps = result("training")
    for losses in ("base", "base, direct poses", "teacher", "student"):
        small, large = (steps[f"step {size} {losses}"] for size in ("64x192", "192x640"))
        cells = [f"{one[key]:{form}}" for one in (small, large) for key, form in (("step_s", ".2f"), ("peak_mib", ""))]
        assert f"| {losses} | {' | '.join(cells)} |" in PAGE
    for what in ("prior dinov2_small", "prior dinov2_small, fast", "prior leres_small", "prior leres_small, fast"):
        assert f"| {what} | {steps[what]['cpu_s_a_frame']:.3f} | {steps[what]['peak_mib']} |" in PAGE
    for scale, words in ((1, "the training's pictures"), (2, "pictures twice as large")):
        one = steps[f"labels, pictures {scale} times as large"]
        assert f"| labels, {words} | {one['cpu_s_a_frame']:.3f} | {one['peak_mib']} |" in PAGE


def test_the_minutes_of_the_notebooks_are_those_of_the_record():
    minutes = result("tutorial")["minutes"]
    readme = (ROOT / "README.md").read_text()
    for stage, taken in minutes.items():
        row = next(line for line in readme.splitlines() if f"(notebooks/{stage}.ipynb)" in line)
        assert row.split("|")[4].strip() == (f"{taken:.0f}" if taken >= 1 else "< 1")
    assert f"synthetic video: a street, a room | {result('tutorial')['all']:.0f} min" in readme
    assert f"fewer clips and steps: {result('tutorial_short')['all']:.0f} min |" in readme
