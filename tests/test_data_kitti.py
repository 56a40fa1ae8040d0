"""The real KITTI slice through the script: K, poses, LiDAR and movers hold together.

Every bad input gets one clear sentence.
"""

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from local_server import serve
from photometric_check import mean_grey_errors

from data_scripts.prepare_kitti import main
from ssmde_lib.data import kitti, kitti_tracklets
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.prepare import prepare
from ssmde_lib.evaluation import constant, evaluate_clips, get_protocol
from ssmde_lib.evaluation.evaluator import read_truth

SHARED = Path(__file__).parents[2] / "shared" / "data"
RAW = SHARED / "kitti_raw"
DAY = RAW / "2011_09_26"
DRIVE = DAY / "2011_09_26_drive_0005_sync"
PACK = SHARED / "kitti_drive_0005_pack"
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason=f"the real slice {RAW} is not here")


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("kitti")
    result = run("--raw", RAW, "--out", out, "--height", 192, "--width", 640, "--processes", 2)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def clip(prepared):
    return Clip(prepared / "train" / "2011_09_26_drive_0005_sync_02")


def lidar_pixels(frame: int):
    """Literal projection, one matrix after the other as the KITTI paper writes it: x = P_rect R_rect T_velo_cam X."""
    values = {}
    for name in ("cam_to_cam", "velo_to_cam"):
        for line in (DAY / f"calib_{name}.txt").read_text().splitlines():
            key, text = line.split(":", 1)
            if key not in ("calib_time",):
                values[key] = [float(number) for number in text.split()]
    P = np.array(values["P_rect_02"]).reshape(3, 4)
    R_rect = np.array(values["R_rect_00"]).reshape(3, 3)
    R, t = np.array(values["R"]).reshape(3, 3), np.array(values["T"])
    points = (
        np.fromfile(DRIVE / f"velodyne_points/data/{frame:010d}.bin", np.float32)
        .reshape(-1, 4)[:, :3]
        .astype(np.float64)
    )
    rectified = (R_rect @ (R @ points.T + t[:, None])).T
    homogeneous = (P @ np.column_stack([rectified, np.ones(len(rectified))]).T).T
    return homogeneous[:, 0] / homogeneous[:, 2], homogeneous[:, 1] / homogeneous[:, 2], homogeneous[:, 2]


def test_lidar_agrees_with_an_independent_projection(clip):
    """99 % of the pixels of the written map have a LiDAR point within one pixel and 1 cm, and none nearer."""
    for i in (0, 7):
        depth = kitti.read_image(clip.path / "gt_depth" / f"{i:06d}.png", -1) / 256
        assert depth.shape == (375, 1242)
        u, v, z = lidar_pixels(40 + i)
        front = (z > 0.1) & (u > -2) & (u < 1244) & (v > -2) & (v < 377)
        u, v, z = u[front], v[front], z[front]
        agree = np.zeros(depth.shape, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                x, y = np.rint(u).astype(int) + dx, np.rint(v).astype(int) + dy
                inside = (x >= 0) & (x < 1242) & (y >= 0) & (y < 375)
                x, y, d, near = (
                    x[inside],
                    y[inside],
                    z[inside],
                    np.hypot(u[inside] - x[inside], v[inside] - y[inside]) <= 1,
                )
                agree[y, x] |= near & (np.abs(depth[y, x] - d) <= 0.01)
        measured = depth > 0
        assert measured.sum() > 15000
        assert agree[measured].mean() >= 0.99
        # no pixel that a point falls on is left empty, and the nearest of them is kept
        x, y = np.rint(u).astype(int), np.rint(v).astype(int)
        inside = (x >= 0) & (x < 1242) & (y >= 0) & (y < 375) & (z < 250)
        assert (depth[y[inside], x[inside]] > 0).all()
        assert (depth[y[inside], x[inside]] <= z[inside] + 0.01).all()


def test_small_depth_is_the_full_one_within_a_pixel(clip):
    full = kitti.read_image(clip.path / "gt_depth" / "000003.png", -1)
    y, x = np.nonzero(full)
    small = kitti.read_image(clip.path / "depth" / "000003.png", -1)
    landed = small[np.rint((y + 0.5) * 192 / 375 - 0.5).astype(int), np.rint((x + 0.5) * 640 / 1242 - 0.5).astype(int)]
    assert (landed > 0).all() and (landed <= full[y, x]).all()
    assert set(np.unique(small)) <= set(np.unique(full)) | {0}


def test_intrinsics_follow_the_pixel_centre_convention(clip):
    full = np.loadtxt(clip.path / "gt_cam.txt")
    np.testing.assert_allclose(full, [[721.5377, 0, 609.5593], [0, 721.5377, 172.854], [0, 0, 1]], atol=1e-6)
    assert clip.K[0, 2] == pytest.approx((609.5593 + 0.5) * 640 / 1242 - 0.5)
    assert clip.K[1, 1] == pytest.approx(721.5377 * 192 / 375)


def test_warping_by_the_prepared_geometry_halves_the_grey_error(clip):
    warped, unwarped = mean_grey_errors(clip)
    assert warped < 0.5 * unwarped


def test_poses_are_those_of_the_pack(clip):
    poses = Clip(PACK).poses[40:58]
    np.testing.assert_allclose(clip.poses, np.linalg.inv(poses[0]) @ poses, atol=1e-4)


def test_cyclist_and_van_move_and_parked_cars_do_not(clip):
    pack = Clip(PACK)
    masks = kitti_tracklets.tracklet_masks(DRIVE / "tracklet_labels.xml", DAY, pack.poses, pack.K, pack.size)
    assert len(masks) == 154 and masks[0].shape == pack.size and masks[0].dtype == np.uint8
    assert masks[45][110, 320] == 2 and masks[45][105, 290] == 1  # the cyclist, before the van
    assert masks[45][100, 420] == 0  # the parked orange car
    assert masks[145][110, 370] == 0 and masks[145][60, 60] == 0
    # the same objects move by the 20 frames of the slice alone; K differs by a quarter of a pixel
    assert np.mean((clip.dynamic_mask(5) > 0) == (masks[45] > 0)) > 0.995
    assert kitti_tracklets.read_tracklets(DRIVE / "tracklet_labels.xml")[1].kind == "Cyclist"


def test_mover_mask_hides_movers_behind_standing_boxes_and_clips_behind_the_camera():
    T_cam_velo = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    K, size = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), (101, 101)

    def box_at(x, length=2.0):
        T = np.eye(4)
        T[:3, 3] = x, 0, -1
        return kitti.Tracklet("Car", (length, 2.0, 2.0), 0, T[None])

    far, near, around = box_at(20), box_at(10), box_at(0, 30.0)
    alone = kitti_tracklets.tracklet_mask([far], [True], 0, T_cam_velo, K, size)
    assert alone[50, 50] == 1 and alone.sum() == (2 * round(100 / 19) + 1) ** 2
    hidden = kitti_tracklets.tracklet_mask([far, near], [True, False], 0, T_cam_velo, K, size)
    assert not hidden.any()
    assert (kitti_tracklets.tracklet_mask([around], [True], 0, T_cam_velo, K, size) == 1).all()
    assert not kitti_tracklets.tracklet_mask([box_at(-20)], [True], 0, T_cam_velo, K, size).any()
    assert not kitti_tracklets.tracklet_mask([far], [True], 5, T_cam_velo, K, size).any()


def test_summary_and_layout(prepared, clip):
    summary = json.loads((prepared / "summary.json").read_text())
    assert summary["kept"] == 20 and [c["kept"] for c in summary["clips"]] == [18, 2]
    assert clip.about["source_frames"][0] == "0000000040.png" and clip.about["size"] == [640, 192]
    assert "CC BY-NC-SA" in clip.about["licence"]
    assert not list(prepared.rglob("*.part")) and not (clip.path / "settings.json").exists()


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(tmp_path, prepared):
    arguments = ("--raw", RAW, "--out", tmp_path, "--height", 64, "--width", 192, "--limit", 4, "--processes", 1)
    assert run(*arguments).exit_code == 0
    folder = tmp_path / "train" / "2011_09_26_drive_0005_sync_02"
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}
    assert len(list(folder.glob("*.jpg"))) == 4
    assert run(*arguments).exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}
    # what an interruption leaves: the settings, and whole frames, under .part
    part = tmp_path / ".part" / "train" / folder.name
    record = json.loads((folder / "prepared.json").read_text())
    part.parent.mkdir(parents=True)
    folder.rename(part)
    (part / "settings.json").write_text(json.dumps(record["settings"]))
    (part / "prepared.json").unlink()
    (part / "000002.jpg").unlink()
    assert run(*arguments).exit_code == 0
    assert (folder / "000001.jpg").stat().st_mtime_ns == before[folder / "000001.jpg"]
    assert (folder / "000002.jpg").is_file() and not part.exists()
    other = run(*arguments[:-4], "--limit", 3)
    assert other.exit_code == 0 and "prepared anew" in other.output and len(list(folder.glob("*.jpg"))) == 3


@pytest.fixture
def raw_copy(tmp_path):
    """A writable copy of two frames of the slice."""
    raw = tmp_path / "raw"
    for path in [*DAY.glob("calib_*.txt"), *(p for n in (40, 41) for p in DRIVE.rglob(f"{n:010d}.*"))]:
        target = raw / path.relative_to(RAW)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return raw


def bad(raw, tmp_path, sentence, *options):
    result = run("--raw", raw, "--out", tmp_path / "out", "--height", 64, "--width", 192, "--processes", 1, *options)
    assert result.exit_code == 1, result.output
    message = result.output.strip().splitlines()[-1]
    assert message.startswith("Error: ") and sentence in message


def test_bad_input(raw_copy, tmp_path):
    bad(tmp_path / "nowhere", tmp_path, "is not a folder")
    bad(tmp_path / "raw" / "2011_09_26", tmp_path, "holds no KITTI drive")
    bad(raw_copy, tmp_path, "0042 is not under", "--drives", "0042")
    bad(raw_copy, tmp_path, "divisible by 32", "--height", 100)
    calibration = raw_copy / "2011_09_26" / "calib_cam_to_cam.txt"
    calibration.write_text(calibration.read_text().replace("P_rect_02", "P_rect_92"))
    bad(raw_copy, tmp_path, "holds no P_rect_02")
    calibration.unlink()
    bad(raw_copy, tmp_path, "calib_cam_to_cam.txt is missing")


def test_unreadable_and_static_frames_are_rejected_and_counted(raw_copy, tmp_path):
    data = raw_copy / "2011_09_26" / DRIVE.name / "image_02" / "data"
    shutil.rmtree(raw_copy / "2011_09_26" / DRIVE.name / "oxts")
    shutil.copyfile(data / "0000000041.png", data / "0000000042.png")
    (data / "0000000043.png").write_bytes((data / "0000000041.png").read_bytes()[:5000])
    result = run("--raw", raw_copy, "--out", tmp_path / "out", "--height", 64, "--width", 192, "--processes", 1)
    assert result.exit_code == 0, result.output
    (record,) = json.loads((tmp_path / "out" / "summary.json").read_text())["clips"]
    assert record["kept"] == 2
    assert record["rejected"] == {"static": ["0000000042.png"], "unreadable": ["0000000043.png"]}
    assert Clip(tmp_path / "out" / "train" / record["clip"]).poses is None  # no OXTS: no pose file


def test_splits_by_rule():
    images = [f"{n:010d}.png" for n in range(20)]
    assert kitti.ruled_parts(images, "2011_09_26_drive_0117_sync", None) == [("test", images, None)]
    assert kitti.ruled_parts(images, "2011_09_28_drive_0002_sync", None) == [("test", images, None)]
    assert kitti.ruled_parts(images, "2011_09_28_drive_0117_sync", None) == [
        ("train", images[:18], None),
        ("val", images[18:], None),
    ]
    assert kitti.ruled_parts(images, "2011_09_26_drive_0005_sync", "test") == [("test", images, None)]
    assert sum(len(numbers.split()) for numbers in kitti.EIGEN_TEST_DRIVES.values()) == 28


def test_splits_by_lists(tmp_path, monkeypatch):
    drive, published = "2011_09_26/2011_09_26_drive_0005_sync", {}
    for split, numbers in {"train": (44, 45, 50), "val": (47,), "test": (41, 55)}.items():
        text = "".join(f"{drive} {number} l\n" for number in numbers)
        (tmp_path / f"{split}_files.txt").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        published[split] = (f"{split}_files.txt", len(numbers), digest[:8], digest[-6:])
    with pytest.raises(kitti.UserError, match="not the published list of 39810 lines"):
        kitti.find_drives(RAW, lists=tmp_path)
    monkeypatch.setattr(kitti, "LISTS", published)
    numbers = {s.split: [int(frame[:10]) for frame in s.frames] for s in kitti.find_drives(RAW, lists=tmp_path)}
    assert numbers == {"train": [43, 44, 45, 46, 49, 50, 51], "val": [46, 47, 48], "test": [41, 55]}
    assert {s.split for s in kitti.find_drives(RAW, lists=tmp_path, split="test")} == {"test"}
    out = tmp_path / "out"
    kitti_train = kitti.find_drives(RAW, lists=tmp_path)[:1]
    prepare(kitti_train, out, (64, 192))
    assert Clip(out / "train" / kitti_train[0].name).about["targets"] == [1, 2, 5]
    (tmp_path / "val_files.txt").unlink()
    with pytest.raises(kitti.UserError, match="val_files.txt is missing"):
        kitti.find_drives(RAW, lists=tmp_path)


def test_improved_truth_replaces_the_sweep_and_only_its_images_count(raw_copy, tmp_path):
    """Of the listed test frames, those without a file in data_depth_annotated.zip do not count: 652 of the 697."""
    improved = tmp_path / "annotated"
    folder = improved / "val" / DRIVE.name / "proj_depth" / "groundtruth" / "image_02"
    folder.mkdir(parents=True)
    truth = np.zeros((375, 1242), np.uint16)
    truth[200:300:7, 100:1100:5] = np.arange(100, 100 + 200 * 15).reshape(15, 200) * 7  # metres x 256
    cv2.imwrite(str(folder / "0000000041.png"), truth)
    out = tmp_path / "out"
    result = run(
        "--raw",
        raw_copy,
        "--out",
        out,
        "--height",
        64,
        "--width",
        192,
        "--processes",
        1,
        "--split",
        "test",
        "--improved",
        improved,
    )
    assert result.exit_code == 0, result.output
    clip = Clip(out / "test" / f"{DRIVE.name}_02")
    assert len(clip) == 2 and [read_truth(clip, i) is not None for i in range(2)] == [False, True]
    np.testing.assert_array_equal(read_truth(clip, 1), truth / np.float32(256))
    results = evaluate_clips(constant, [clip], get_protocol("kitti"))
    assert [record["frame"] for record in results.records] == ["000001"]
    crop = truth[153:371, 44:1197]
    assert results.records[0]["regions"]["all"]["pixels"] == ((crop > 25) & (crop < 80 * 256)).sum() > 0


def test_a_folder_without_the_improved_truth_is_told(raw_copy, tmp_path):
    bad(raw_copy, tmp_path, "holds no improved ground truth", "--improved", tmp_path / "nowhere")
    (tmp_path / "wrong").mkdir()
    bad(raw_copy, tmp_path, "holds no improved ground truth", "--improved", tmp_path / "wrong")


def test_downloads_the_official_archives_and_prepares_them(raw_copy, tmp_path):
    def zipped(paths):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for path in paths:
                file.write(path, path.relative_to(raw_copy))
        return buffer.getvalue()

    grey = raw_copy / "2011_09_26" / DRIVE.name / "image_00" / "data" / "0000000040.png"
    grey.parent.mkdir(parents=True)
    grey.write_bytes(b"grey")
    drive = "2011_09_26_drive_0005"
    files = {
        "raw_data/2011_09_26_calib.zip": zipped((raw_copy / "2011_09_26").glob("calib_*.txt")),
        f"raw_data/{drive}/{drive}_sync.zip": zipped(path for path in raw_copy.rglob("*_sync/**/*") if path.is_file()),
    }  # as for most drives, there are no tracklets
    raw, options = tmp_path / "fetched", ("--height", 64, "--width", 192, "--processes", 1, "--download")
    with serve(files) as (url, requests):
        result = run("--raw", raw, "--out", tmp_path / "out", *options, "--url", url, "--drives", drive)
        assert result.exit_code == 0, result.output
        assert "CC BY-NC-SA" in result.output and len(requests) == 3
    assert len(Clip(tmp_path / "out" / "train" / f"{drive}_sync_02")) == 2
    assert not list(raw.rglob("image_00"))
    for drives, sentence in (((), "all of KITTI raw is 175 GB"), (("--drives", "0005"), "needs its full name")):
        result = run("--raw", raw, "--out", tmp_path / "out", *options, *drives)
        assert result.exit_code == 1 and sentence in result.output
