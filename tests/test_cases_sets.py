"""Data sets with gaps: one lost record costs one frame, and the summary counts it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_data_kitti import DAY, DRIVE, RAW
from test_data_sets import DGP, SHARED, needs_dgp, needs_tum, run

from data_scripts import prepare_ddad, prepare_kitti, prepare_tum
from ssmde_lib.data import kitti
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.tum import interpolate_poses

needs_kitti = pytest.mark.skipif(not RAW.is_dir(), reason=f"the real slice {RAW} is not here")


def summary(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


@pytest.fixture
def drive(tmp_path):
    """A writable copy of four frames of the real drive."""
    for path in [*DAY.glob("calib_*.txt"), *(p for n in range(40, 44) for p in DRIVE.rglob(f"{n:010d}.*"))]:
        target = tmp_path / "raw" / path.relative_to(RAW)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "raw" / "2011_09_26" / DRIVE.name


def prepare_drive(drive: Path, *options) -> dict:
    out = drive.parents[2] / "out"
    size = "--height", 64, "--width", 192, "--min-motion", 0
    result = run(prepare_kitti, "--raw", drive.parents[1], "--out", out, *size, *options)
    assert result.exit_code == 0, result.output
    return summary(out)


@needs_kitti
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_kitti_without_some_oxts_records_loses_those_frames(drive, damage):
    record = drive / "oxts/data/0000000041.txt"
    record.unlink() if damage == "missing" else record.write_text("49.0 8.4" if damage == "cut" else "")
    found = prepare_drive(drive)
    assert found["kept"] == 3 and found["rejected"] == {"no OXTS record": 1}
    (clip,) = (Clip(path.parent) for path in drive.parents[2].rglob("out/train/*/clip.json"))
    assert clip.poses.shape == (3, 4, 4) and np.isfinite(clip.poses).all()


@needs_kitti
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_kitti_without_some_scans_loses_their_depth_alone(drive, damage):
    scan = drive / "velodyne_points/data/0000000041.bin"
    scan.unlink() if damage == "missing" else scan.write_bytes(scan.read_bytes()[:-3])
    found = prepare_drive(drive)
    assert found["kept"] == 4 and found["depth_lost"] == (damage == "cut")
    (clip,) = (Clip(path.parent) for path in drive.parents[2].rglob("out/train/*/clip.json"))
    assert [clip.depth(i) is not None for i in range(4)] == [True, False, True, True]


def test_lists_with_the_line_ends_of_windows_are_the_published_ones(tmp_path, monkeypatch):
    text = "2011_09_26/2011_09_26_drive_0005_sync 44 l\n2011_09_26/2011_09_26_drive_0005_sync 45 r\n"
    digest = kitti.hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(kitti, "LISTS", {"train": ("train_files.txt", 2, digest[:8], digest[-6:])})
    (tmp_path / "train_files.txt").write_bytes(text.replace("\n", "\r\n").encode())
    drive = "2011_09_26/2011_09_26_drive_0005_sync"
    assert kitti.read_lists(tmp_path) == {"train": {(drive, "02"): {44}, (drive, "03"): {45}}}


TIMES = np.arange(0, 2, 0.02)
TRAJECTORY = np.column_stack([TIMES, TIMES, 0 * TIMES, 0 * TIMES, Rotation.from_euler("y", TIMES[:, None]).as_quat()])


@pytest.mark.parametrize("lost", [[0, 0, 0, 0], [np.nan] * 4, [np.inf, 0, 0, 1]])
def test_lost_tracking_costs_the_frames_near_it(lost):
    trajectory, times = TRAJECTORY.copy(), np.arange(0.05, 1.9, 0.1)
    trajectory[40:60, 4:] = lost  # 0.8 to 1.2 s
    expected, _ = interpolate_poses(TRAJECTORY, times)
    found, known = interpolate_poses(trajectory, times)
    assert [round(float(t), 2) for t in times[~known]] == [0.85, 0.95, 1.05, 1.15]
    np.testing.assert_allclose(found[known], expected[known])


def test_rows_in_any_order_or_twice_are_the_same_trajectory():
    times = np.arange(0.05, 1.9, 0.1)
    shuffled = np.random.default_rng(0).permutation(np.concatenate([TRAJECTORY, TRAJECTORY[::3]]))
    for found, expected in zip(interpolate_poses(shuffled, times), interpolate_poses(TRAJECTORY, times), strict=True):
        np.testing.assert_array_equal(found, expected)


@needs_tum
def test_the_real_tum_slice_with_lost_tracking(tmp_path):
    raw = tmp_path / "raw" / "rgbd_dataset_freiburg1_desk"
    shutil.copytree(SHARED / "tum" / raw.name, raw, copy_function=shutil.copyfile)
    lines = (raw / "groundtruth.txt").read_text().splitlines()
    middle = sorted(float(path.stem) for path in (raw / "rgb").glob("*.png"))[4]
    near = [i for i, line in enumerate(lines) if line[0] != "#" and abs(float(line.split()[0]) - middle) < 0.06]
    for i in near:
        lines[i] = " ".join(lines[i].split()[:4]) + " 0 0 0 0"
    (raw / "groundtruth.txt").write_text("\r\n".join(lines))
    result = run(prepare_tum, "--raw", raw.parent, "--out", tmp_path / "out", "--split", "test")
    assert result.exit_code == 0, result.output
    assert 1 <= summary(tmp_path / "out")["rejected"]["no pose"] <= 4 < summary(tmp_path / "out")["kept"]


@needs_dgp
@pytest.mark.parametrize("scenes", [("02",), ("01", "02", "03")])
def test_ddad_scenes_without_lidar_are_prepared_without_depth(tmp_path, scenes):
    shutil.copytree(DGP, tmp_path / "raw", copy_function=shutil.copyfile)
    for path in (path for number in scenes for path in tmp_path.glob(f"raw/scene_{number}/scene_*.json")):
        scene = json.loads(path.read_text())
        lidar = {datum["key"] for datum in scene["data"] if datum["id"]["name"] == "LIDAR"}
        for sample in scene["samples"]:
            sample["datum_keys"] = [key for key in sample["datum_keys"] if key not in lidar]
        path.write_text(json.dumps(scene))
    options = "--height", 64, "--width", 96, "--limit", 2, "--min-motion", 0
    result = run(prepare_ddad, "--raw", tmp_path / "raw", "--out", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    clips = [Clip(path.parent) for path in sorted(tmp_path.rglob("out/*/*/clip.json"))]
    assert clips and all((clip.depth(0) is None) == (clip.name[-2:] in scenes) for clip in clips)
