"""The ablation's grid, its jobs and its records: what is asked, what is done again, and what the tables say."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny_tutorial import STREET

from ssmde_lib.ablation import (
    MAP,
    PRIOR,
    VARIANTS,
    Grid,
    Job,
    export_weights,
    held_out_records,
    measure_held_out,
    paired,
    read_records,
    run,
    run_variant,
    summarise,
    table,
)
from ssmde_lib.ablation.records import cost, write_record
from ssmde_lib.ablation.tables import schedule_table, student_table
from ssmde_lib.cli import main
from ssmde_lib.data.layout import find_clips
from ssmde_lib.devices import device_name
from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.dinov2 import installed_file
from ssmde_lib.pipeline.parameters import find_root, load_yaml, read_parameters
from ssmde_lib.pipeline.stages import write_labels

ROOT = find_root()
PROFILES = load_yaml(ROOT / "workflow" / "ablation.yaml")
TINY = {
    "seeds": [0],
    "schedule": {"steps": 2, "batch_size": 2},
    "student": {"steps": 1},
    "architecture": {"width": 8, "pose_width": 8},
    "worlds": {"street": STREET | {"variants": ["base", "teacher", "student_plain"]}},
}


def grid_in(folder, **changes) -> Grid:
    return Grid("tiny", folder, folder / "runs", TINY | changes)


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_ask_for_rows_that_exist(profile, tmp_path):
    grid = Grid(profile, ROOT, tmp_path, PROFILES[profile])
    assert {job.variant for job in grid.jobs} <= set(VARIANTS)
    assert len({grid.folder(job) for job in grid.jobs}) == len(grid.jobs) > 0


def test_the_laptop_grid_holds_the_issue_s_rows(tmp_path):
    grid = Grid("laptop", ROOT, tmp_path, PROFILES["laptop"])
    main = {
        "base",
        "prior",
        "teacher",
        "student_unfiltered",
        "student_plain",
        "student_prior_order",
        "multi_resolution",
        "successive",
        "consistency",
    }
    assert all(set(grid.worlds[world].variants) >= main for world in ("street", "room"))
    assert {variant for schedules in MAP.values() for variant in schedules.values()} <= set(
        grid.worlds["street"].variants
    )
    assert len(grid.spec["seeds"]) >= 3
    assert all(
        set(grid.worlds[name].variants) >= {"base", "prior", "teacher", "student_prior_order"}
        for name in ("kitti_drive", "hololens")
    )


def test_jobs_come_row_by_row(tmp_path):
    grid = grid_in(tmp_path, seeds=[0, 1], worlds={name: TINY["worlds"]["street"] for name in ("street", "room")})
    assert [job.variant for job in grid.jobs] == [
        variant for variant in ("base", "teacher", "student_plain") for _ in range(4)
    ]


def test_rows_ask_what_the_notebooks_ask():
    base = read_parameters(ROOT / "notebooks" / "04_pose_and_depth.ipynb")
    variant = VARIANTS["base_direct_pose"]
    assert variant.losses == {name: base[name].default for name in variant.losses}
    declared = read_parameters(ROOT / "notebooks" / "06_teacher.ipynb")
    variant = VARIANTS["teacher_dinov2"]
    asked = ("ranking", "log_ratio", "ssi", "normal", "edge_normal", "forgetting", "direct_pose_iterations")
    assert {name: declared[name].default for name in asked if declared[name].default} == variant.losses
    assert read_parameters(ROOT / "notebooks" / "02_pseudo_depth.ipynb")["provider"].default == variant.quality
    student = read_parameters(ROOT / "notebooks" / "08_student.ipynb")
    variant = VARIANTS["student_multi_view"]
    assert variant.losses == {name: student[name].default for name in variant.losses}
    assert variant.schedule == {"steps": student["steps"].default}
    assert PROFILES["laptop"]["student"]["warm_start"] is student["warm_start"].default


def test_shipped_weights_are_the_job_s_and_say_how_to_make_them(tmp_path):
    grid, job = grid_in(tmp_path), Job("street", "base", 0)
    with pytest.raises(UserError, match=r"depth\.safetensors does not exist: train it first"):
        export_weights(grid, job, tmp_path / "base")
    run_variant(grid, job)
    paths = export_weights(grid, job, tmp_path / "base")
    assert [path.name for path in paths] == ["base.safetensors", "base_pose.safetensors"]
    for path, name in zip(paths, ("depth", "pose"), strict=True):
        assert (
            checkpoint.read_record(path)["command"]
            == "ssmde ablation run --world street --variant base --seed 0 --profile tiny"
        )
        trained = checkpoint.load(grid.folder(job) / f"{name}.safetensors").state_dict()
        assert all(
            torch.allclose(value, trained[key], rtol=1e-3, atol=1e-6)
            for key, value in checkpoint.load(path).state_dict().items()
        )


@pytest.mark.skipif(installed_file() is None, reason="needs the backbone of dinov2_small")
def test_labels_from_many_views_are_made_of_larger_pictures_where_the_world_says_so(tmp_path, monkeypatch):
    seen = []

    def watched(*places, **options):
        seen.append(options)
        return write_labels(*places, **options)

    monkeypatch.setattr(run, "write_labels", watched)
    world = TINY["worlds"]["street"] | {
        "variants": ["base_direct_pose", "teacher_dinov2", "student_two_teachers"],
        "label_scale": 2,
    }
    grid = grid_in(tmp_path, worlds={"street": world})
    student, teacher = Job("street", "student_two_teachers", 0), Job("street", "teacher_dinov2", 0)
    assert grid.settings(student)["labels"]["scale"] == 2 and "labels" not in grid.settings(teacher)
    assert run_variant(grid, student)["coverage"]["all"]["coverage"] > 0
    (options,) = seen
    assert options["static_teacher"] == grid.folder(Job("street", "base_direct_pose", 0))
    (larger,) = find_clips(options["pictures"], "train")
    (clip,) = find_clips(grid.data_folder("street"), "train")
    assert larger.size == (128, 128) and clip.size == (64, 64) and len(larger) == len(clip)


def test_a_job_is_run_once_and_again_when_its_settings_change(tmp_path):
    grid, student = grid_in(tmp_path), Job("street", "student_plain", 0)
    assert grid.unfinished() == [
        Job("street", "base", 0),
        Job("street", "teacher", 0),
        student,
    ]  # a teacher before its student
    record = run_variant(grid, student)
    assert set(record["summary"]) == {"all", "static", "dynamic"} and record["coverage"]["all"]["coverage"] < 1
    assert [entry["step"] for entry in record["curve"]] == [1] and record["device"] == device_name()
    assert student not in grid.unfinished() and grid.record_path(student).stat().st_size < 8000
    weights = grid.folder(student) / "depth.safetensors"
    trained = weights.stat().st_mtime_ns
    assert run_variant(grid, student) == record
    assert weights.stat().st_mtime_ns == trained

    longer = grid_in(tmp_path, student={"steps": 2})
    assert longer.changes(student) == ["schedule.steps 1 → 2"]
    assert longer.stale() == {student: ["schedule.steps 1 → 2"]}
    assert student.variant in {r["variant"] for r in grid.records("street")} - {
        r["variant"] for r in longer.records("street")
    }
    assert [*map(longer.folder, longer.teachers_of(student))] == [*map(grid.folder, grid.teachers_of(student))]  # stay
    assert run_variant(longer, student)["curve"][-1]["step"] == 2
    assert longer.changes(student) == []
    other_teacher = grid_in(tmp_path, schedule={"steps": 3, "batch_size": 2}, student={"steps": 2})
    assert [change.split()[0] for change in other_teacher.changes(student)] == ["teacher"]


def test_what_was_trained_is_measured_again_on_clips_of_another_seed(tmp_path, monkeypatch):
    grid, student = grid_in(tmp_path), Job("street", "student_plain", 0)
    run_variant(grid, student)
    records = measure_held_out(grid, "street", 3)
    assert [r["variant"] for r in records] == [
        "constant",
        "median",
        "teacher",
        "student_plain",
    ]  # base was not trained here
    assert list(records[-1]["by_clip"]["all"]) == ["street_000", "street_001", "street_002"]
    other = json.loads(grid.record_path(student).read_text())
    assert records[-1]["by_clip"]["all"]["street_000"] != other["by_clip"]["all"]["street_000"]
    written = grid.results / "street" / "held_out" / "student_plain_seed0.json"
    before = written.stat().st_mtime_ns
    assert measure_held_out(grid, "street", 3) == records and written.stat().st_mtime_ns == before
    assert held_out_records(grid, "street", 2) == [] and [r["variant"] for r in grid.records("street")] == [
        "constant",
        "median",
        "student_plain",
    ]
    longer = grid_in(tmp_path, student={"steps": 2})
    assert [r["variant"] for r in held_out_records(longer, "street", 3)] == ["constant", "median", "teacher"]

    real = grid_in(
        tmp_path, worlds=TINY["worlds"] | {"drive": {"folder": ".", "height": 64, "width": 64, "variants": ["base"]}}
    )
    monkeypatch.setattr(import_module("ssmde_lib.cli.ablation"), "read_grid", lambda profile: real)
    said = CliRunner().invoke(main, ["ablation", "held-out", "--world", "street", "--clips", "3"])
    assert said.exit_code == 0 and f"{table(records)}\n\n{student_table(records)}\n" == said.stdout
    said = CliRunner().invoke(main, ["ablation", "held-out", "--world", "drive"])
    assert said.exit_code == 1 and "drive is one clip of real video: choose street." in said.output


def test_settings_hold_what_differs_from_the_defaults_alone(tmp_path):
    """So that a field that is new, and whose default changes nothing, leaves the records valid."""
    grid, base = grid_in(tmp_path), Job("street", "base", 0)
    assert grid.settings(base)["losses"] == {} and grid.settings(Job("street", "teacher", 0))["losses"] == PRIOR
    asked = grid.settings(base)
    assert asked["schedule"].keys() <= {"steps", "batch_size"} and "seed" not in asked["data"]
    write_record(grid.record_path(base), {"variant": "base", "settings": asked | {"losses": {"smoothness": 0.5}}})
    assert grid.changes(base) == ["losses.smoothness 0.5 → None"]


def test_bad_grids_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="unknown variant 'students'"):
        grid_in(tmp_path, worlds={"street": TINY["worlds"]["street"] | {"variants": ["students"]}})
    with pytest.raises(UserError, match="learns from 'teacher': list that before it"):
        _ = grid_in(tmp_path, worlds={"street": TINY["worlds"]["street"] | {"variants": ["student_plain"]}}).jobs
    with pytest.raises(UserError, match=r"unknown keys \['sceduel'\]"):
        grid_in(tmp_path, sceduel={})
    with pytest.raises(UserError, match="did you mean 'steps'"):
        grid_in(tmp_path, schedule={"stepz": 1}).settings(Job("street", "base", 0))
    with pytest.raises(UserError, match="has no world 'town'"):
        grid_in(tmp_path).world("town")


def test_an_absent_clip_is_left_out_with_a_sentence(tmp_path):
    grid = grid_in(
        tmp_path,
        worlds={"drive": {"folder": "nowhere", "height": 64, "width": 64, "variants": ["base"]}} | TINY["worlds"],
    )
    assert {job.world for job in grid.jobs} == {"street"}
    assert "drive is left out" in grid.absent["drive"] and "nowhere does not exist" in grid.absent["drive"]
    with pytest.raises(UserError, match="drive is left out"):
        run_variant(grid, Job("drive", "base", 0))


# ---- tables from records with known figures --------------------------------------------------------------------------


def record(variant: str, seed: int, clips: dict[str, float], region: str = "all") -> dict:
    """Two images a clip."""
    return {
        "variant": variant,
        "title": variant,
        "seed": seed,
        "summary": {region: {"abs_rel": float(np.mean(list(clips.values())))}},
        "by_clip": {region: {clip: [value, 2] for clip, value in clips.items()}},
    }


def test_means_spreads_and_intervals():
    records = [record("base", 0, {"a": 0.1, "b": 0.3}), record("base", 1, {"a": 0.3, "b": 0.5})]
    variant = summarise(records, "all")["base"]
    assert variant["mean"] == pytest.approx(0.3) and variant["seeds"] == 2
    assert variant["spread"] == pytest.approx(0.2 / 2**0.5)
    assert variant["interval"] == pytest.approx(
        [0.2, 0.4]
    )  # clip a alone, clip b alone: each drawn twice in a quarter of the draws
    assert summarise(records[:1], "all")["base"]["spread"] is None
    assert summarise([record("base", 0, {"a": 0.1})], "all")["base"]["interval"] is None
    assert summarise(records, "dynamic") == {}


def test_a_paired_difference_is_surer_than_the_two_errors():
    clips = {f"c{n}": 0.1 * n for n in range(1, 9)}
    records = [
        record("teacher", 0, clips),
        record("student_plain", 0, {clip: value - 0.01 for clip, value in clips.items()}),
    ]
    found = paired(records, "student_plain", "teacher", "all")
    assert found["difference"] == pytest.approx(-0.01) and found["interval"] == pytest.approx([-0.01, -0.01])
    low, high = summarise(records, "all")["teacher"]["interval"]
    assert high - low > 0.1
    assert paired(records, "student_plain", "base", "all") is None
    assert paired([*records, record("base", 1, clips)], "student_plain", "base", "all") is None  # no seed in common


def test_each_student_is_compared_with_its_own_teacher():
    errors = {
        "base": 0.5,
        "teacher": 0.25,
        "student_plain": 0.24,
        "scratch_teacher": 0.3,
        "scratch_student_prior_order": 0.31,
    }
    records = [record(variant, 0, {"a": error, "b": error + 0.1}) for variant, error in errors.items()]
    assert student_table(records).splitlines() == [
        "| student − teacher | seeds | all |", "| --- | --- | --- |",
        "| student_plain − teacher | 1 | −0.0100 [−0.0100, −0.0100] |",
        "| scratch_student_prior_order − scratch_teacher | 1 | +0.0100 [+0.0100, +0.0100] |",
    ]  # fmt: skip
    assert student_table(records[:2]) == student_table([record("student_plain", 0, {"a": 0.1})]) == ""


def test_the_cost_is_counted_by_device():
    hours = {"seconds": {"processor": 1800}}
    records = [
        record("median", None, {"a": 0.1}),
        record("base", 0, {"a": 0.1}) | hours,
        record("base", 1, {"a": 0.1}) | hours | {"device": "A GPU"},
    ]
    assert cost([*records, records[1]]) == {"cpu": (2, 1.0), "A GPU": (1, 0.5)}


def test_the_map_of_forgetting_holds_two_priors_and_what_is_not_trained_is_left_open():
    def everywhere(variant: str, error: float) -> dict:
        regions = {region: {"abs_rel": error} for region in ("all", "static", "dynamic")}
        return record(variant, 0, {"a": error}) | {
            "summary": regions,
            "by_clip": {region: {"a": [error, 2]} for region in regions},
        }

    records = [everywhere("base", 0.5), everywhere("teacher", 0.25)]
    assert schedule_table(records) == ""
    lines = schedule_table([*records, everywhere("degraded_linear", 0.4)]).splitlines()
    assert lines[0] == "| prior | constant | exponential | linear | keep dynamic | off |"
    assert lines[2:] == [
        "| leres-small |  | 0.250 / 0.250 / 0.250 |  |  | 0.500 / 0.500 / 0.500 |",
        "| degraded |  |  | 0.400 / 0.400 / 0.400 |  | 0.500 / 0.500 / 0.500 |",
    ]


def test_the_table_names_every_row_and_region(tmp_path):
    records = [
        record("teacher", 0, {"a": 0.25, "b": 0.25}),
        record("base", 0, {"a": 0.5, "b": 0.5}),
        record("base", 0, {"a": 0.1}, "dynamic"),
    ]
    for number, one in enumerate(records[:2]):
        write_record(tmp_path / f"{number}.json", one | {"settings": {"rate": 1e-7}})
    found = read_records(tmp_path)
    assert [r["variant"] for r in found] == ["base", "teacher"] and found[0]["settings"] == {"rate": 1e-7}
    lines = table(found).splitlines()
    assert lines[0] == "| variant | what | seeds | all |"
    assert lines[2] == "| base | base: self-supervised only | 1 | 0.500 [0.500, 0.500] |"
    assert json.loads((tmp_path / "0.json").read_text())["by_clip"] == {"all": {"a": [0.25, 2], "b": [0.25, 2]}}
