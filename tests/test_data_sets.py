"""TUM, BONN, DDAD and NYU from their official layouts: the real slices, and tiny sets made here."""

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from local_server import serve
from photometric_check import mean_grey_errors
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from data_scripts import prepare_bonn, prepare_ddad, prepare_nyu, prepare_tum
from ssmde_lib.data import bonn, ddad, nyu, tum
from ssmde_lib.data.images import read_image
from ssmde_lib.data.layout import Clip
from ssmde_lib.evaluation import training_median

SHARED = Path(__file__).parents[2] / "shared" / "data"
DESK = SHARED / "tum" / "rgbd_dataset_freiburg1_desk"
DGP = SHARED / "ddad_dgp_test_scene" / "tests" / "data" / "dgp" / "test_scene"
needs_tum = pytest.mark.skipif(not DESK.is_dir(), reason=f"the real slice {DESK} is not here")
needs_dgp = pytest.mark.skipif(not DGP.is_dir(), reason=f"the real slice {DGP} is not here")


def run(script, *arguments):
    return CliRunner().invoke(script.main, [*map(str, arguments), "--processes", "1"])


def good(script, *arguments):
    result = run(script, *arguments)
    assert result.exit_code == 0, result.output


def bad(sentence, script, *arguments):
    result = run(script, *arguments)
    message = result.output.strip().splitlines()[-1]
    assert result.exit_code == 1 and message.startswith("Error: ") and sentence in message, result.output


@needs_tum
def test_the_real_tum_slice(tmp_path):
    good(prepare_tum, "--raw", SHARED / "tum", "--out", tmp_path)
    clip = Clip(tmp_path / "train" / "freiburg1_desk")
    assert len(clip) == 9 and clip.size == (256, 320) and clip.about["step"] == 10
    for step in (1, 2):
        warped, unwarped = mean_grey_errors(clip, step)
        assert warped < 0.5 * unwarped
    gt = read_image(clip.path / "gt_depth" / "000000.png", -1)
    assert gt.shape == (480, 640)
    # each undistorted pixel carries the depth of the distorted pixel that OpenCV's point model sends it to, within one
    # pixel
    raw = read_image(DESK / "depth" / "1305031453.374112.png", -1)
    (fx, fy, cx, cy), distortion = tum.TumSequence.CAMERAS["freiburg1"]
    rng = np.random.default_rng(0)
    x, y = rng.integers(5, 635, 4000), rng.integers(5, 475, 4000)
    rays = np.linalg.inv(np.loadtxt(clip.path / "gt_cam.txt")) @ np.stack([x, y, np.ones(4000)])
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    u, v = np.rint(cv2.projectPoints(rays.T, np.zeros(3), np.zeros(3), K, np.array(distortion))[0][:, 0].T).astype(int)
    assert (u >= 0).all() and (v >= 0).all() and (u < 640).all() and (v < 480).all()  # nothing black comes in
    around = np.stack(
        [raw[(v + dy).clip(0, 479), (u + dx).clip(0, 639)] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    ).astype(int)
    assert (np.abs(around - gt[y, x]).min(0) <= 50).mean() >= 0.99  # 1 cm


def test_poses_are_interpolated_between_the_records():
    quaternions = Rotation.from_rotvec([[0, 0, 0], [0, 0, 0.2], [0, 0, 0.4]]).as_quat()
    trajectory = np.column_stack([[1.0, 1.05, 2.0], [[0, 0, 0], [1, 0, 0], [3, 0, 0]], quaternions])
    T, known = tum.interpolate_poses(trajectory, np.array([0.9, 1.0, 1.025, 1.5, 2.1]))
    assert known.tolist() == [False, True, True, False, False]
    np.testing.assert_allclose(T[2, :3, 3], [0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(Rotation.from_matrix(T[2, :3, :3]).as_rotvec(), [0, 0, 0.1], atol=1e-9)


def make_tum(folder, count=6):
    """A tiny sequence in TUM's layout; the second picture has no depth, the last no pose."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (480, 800, 3), np.uint8), (0, 0), 4)
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for i in range(count):
        cv2.imwrite(str(folder / "rgb" / f"{100 + i / 30:.6f}.png"), texture[:, 20 * i : 20 * i + 640])
        if i != 1:
            cv2.imwrite(str(folder / "depth" / f"{100 + i / 30 + 0.01:.6f}.png"), np.full((480, 640), 10000, np.uint16))
        if i < count - 1:
            lines.append(f"{100 + i / 30:.6f} {i * 0.1} 0 0 0 0 0 1")
    (folder / "groundtruth.txt").write_text("\n".join(lines))
    return folder


def test_tum_layout(tmp_path):
    make_tum(tmp_path / "raw" / "rgbd_dataset_freiburg3_walking_xyz")
    good(prepare_tum, "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    clip = Clip(tmp_path / "out" / "test" / "freiburg3_walking_xyz")
    assert len(clip) == 5 and clip.depth(1) is None and (clip.depth(0) == 2).all()
    np.testing.assert_allclose(clip.poses[:, 0, 3], np.arange(5) * 0.1, atol=1e-5)
    np.testing.assert_allclose(clip.K[0], [535.4 / 2, 0, (320.1 + 0.5) / 2 - 0.5])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rejected"] == {"no pose": 1}


def test_tum_bad_input(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    bad("holds no TUM RGB-D sequence", prepare_tum, "--raw", raw, "--out", out)
    folder = make_tum(raw / "rgbd_dataset_freiburg9_desk")
    bad("names none of freiburg1", prepare_tum, "--raw", raw, "--out", out)
    folder = folder.rename(raw / "rgbd_dataset_freiburg1_desk")
    bad("freiburg1_room is not under", prepare_tum, "--raw", raw, "--out", out, "--sequences", "freiburg1_room")
    (folder / "groundtruth.txt").write_text("1 2 3\n")
    bad("must hold 8 numbers a line", prepare_tum, "--raw", raw, "--out", out)
    (folder / "groundtruth.txt").write_text("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 0 1\n")
    bad("no picture's time lies within groundtruth.txt", prepare_tum, "--raw", raw, "--out", out)
    (folder / "rgb" / "0first.png").touch()
    bad("named by their time in seconds", prepare_tum, "--raw", raw, "--out", out)
    bad("name the sequences to download", prepare_tum, "--raw", raw, "--out", out, "--download")


def archive(folder, kind):
    """The folder as the bytes of a .tgz or .zip of its own name."""
    buffer = io.BytesIO()
    if kind == "tgz":
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            file.add(folder, folder.name)
    else:
        with zipfile.ZipFile(buffer, "w") as file:
            for path in folder.rglob("*"):
                file.write(path, path.relative_to(folder.parent))
    return buffer.getvalue()


def test_tum_download(tmp_path, monkeypatch):
    body = archive(make_tum(tmp_path / "rgbd_dataset_freiburg3_walking_xyz"), "tgz")
    arguments = (
        "--raw",
        tmp_path / "raw",
        "--out",
        tmp_path / "out",
        "--download",
        "--sequences",
        "freiburg3_walking_xyz",
    )
    with serve({"freiburg3/rgbd_dataset_freiburg3_walking_xyz.tgz": body}) as (url, _):
        bad("does not have the checksum sha256:1459e948", prepare_tum, *arguments, "--url", url)
        checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
        monkeypatch.setitem(tum.TumSequence.CHECKSUMS, "freiburg3_walking_xyz", checksum)
        good(prepare_tum, *arguments, "--url", url)
    assert len(Clip(tmp_path / "out" / "test" / "freiburg3_walking_xyz")) == 5


def test_bonn_layout_and_download(tmp_path):
    body = archive(make_tum(tmp_path / "rgbd_bonn_crowd3"), "zip")
    with serve({"rgbd_bonn_crowd3.zip": body}) as (url, _):
        good(
            prepare_bonn,
            "--raw",
            tmp_path / "raw",
            "--out",
            tmp_path / "out",
            "--download",
            "--url",
            url,
            "--sequences",
            "crowd3",
        )
    clip = Clip(tmp_path / "out" / "test" / "crowd3")
    assert len(clip) == 5 and "none stated" in clip.about["licence"]
    np.testing.assert_allclose(
        clip.poses[:, :3, :3] @ clip.poses[:, :3, :3].mT, np.tile(np.eye(3), (5, 1, 1)), atol=1e-6
    )
    # relative motion must be that of the publisher's similarity, in the depth camera's metres
    marker = np.tile(np.eye(4), (2, 1, 1))
    marker[1, :3, :3], marker[1, :3, 3] = Rotation.from_rotvec([0.1, 0.2, -0.1]).as_matrix(), [0.1, 0.2, 0.3]
    similar = bonn.T_AXES @ marker @ bonn.T_AXES @ bonn.T_MARKER_CAM
    ours = bonn.BonnSequence.to_cam(marker)
    np.testing.assert_allclose(np.linalg.inv(ours[0]) @ ours[1], np.linalg.inv(similar[0]) @ similar[1], atol=1e-3)


@needs_dgp
def test_the_real_dgp_scene(tmp_path):
    good(prepare_ddad, "--raw", DGP, "--out", tmp_path, "--split", "test", "--sequences", "scene_02")
    clip = Clip(tmp_path / "test" / "scene_02")
    warped, unwarped = mean_grey_errors(clip)
    assert len(clip) == 3 and warped < 0.5 * unwarped
    # an independent projection: the quaternions written out, points to the world and from there to the camera
    (path,) = (DGP / "scene_02").glob("scene_*.json")
    data = json.loads(path.read_text())["data"]
    lidar, camera = (next(d["datum"] for d in data if d["id"]["name"] == name) for name in ("LIDAR", "CAMERA_01"))

    def matrix(pose):
        w, x, y, z = (pose["rotation"][key] for key in ("qw", "qx", "qy", "qz"))
        return np.array([
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]), np.array([pose["translation"][key] for key in "xyz"])  # fmt: skip

    points = np.load(DGP / "scene_02" / lidar["point_cloud"]["filename"])["data"][:, :3]
    R, t = matrix(lidar["point_cloud"]["pose"])
    world = points @ R.T + t
    R, t = matrix(camera["image"]["pose"])
    X, Y, Z = ((world - t) @ R).T
    values = json.loads(next((DGP / "scene_02" / "calibration").glob("*.json")).read_text())["intrinsics"][1]
    u, v = values["fx"] * X / Z + values["cx"], values["fy"] * Y / Z + values["cy"]
    x, y = np.rint(u), np.rint(v)
    inside = (Z > 0.1) & (x >= 0) & (x < 1936) & (y >= 0) & (y < 1216)
    x, y, Z = x[inside].astype(int), y[inside].astype(int), Z[inside]
    depth = read_image(clip.path / "gt_depth" / "000000.png", -1) / 256
    assert depth.shape == (1216, 1936) and (depth > 0).sum() > 3000
    order = np.argsort(-Z)
    expected = np.zeros(depth.shape)
    expected[y[order], x[order]] = Z[order]
    both = (depth > 0) | ((expected > 0) & (expected < 255))
    assert (np.abs(depth - expected)[both] <= 0.01).mean() >= 0.99


@needs_dgp
def test_dgp_splits_and_a_standing_camera(tmp_path):
    good(prepare_ddad, "--raw", DGP, "--out", tmp_path, "--height", 64, "--width", 96, "--limit", 2)
    summary = json.loads((tmp_path / "summary.json").read_text())
    kept = {(clip["split"], clip["clip"]): clip["kept"] for clip in summary["clips"]}
    assert kept == {
        ("train", "scene_01"): 1,
        ("train", "scene_02"): 2,
        ("test", "scene_01"): 2,
        ("test", "scene_02"): 2,
    }
    assert summary["rejected"] == {"static": 1}  # scene_01 stands still; the test split keeps it all the same


@needs_dgp
def test_dgp_bad_input(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    bad("no JSON with scene_splits", prepare_ddad, "--raw", raw, "--out", out)
    shutil.copyfile(DGP / "scene_dataset_v1.0.json", raw / "ddad.json")
    bad("scene_99 is not under", prepare_ddad, "--raw", raw, "--out", out, "--sequences", "scene_99")
    bad("is missing or not JSON", prepare_ddad, "--raw", raw, "--out", out)
    bad("no sample of CAMERA_99", prepare_ddad, "--raw", DGP, "--out", out, "--camera", "CAMERA_99")
    scene = next((DGP / "scene_02").glob("scene_*.json"))
    (raw / "scene_01").mkdir()
    (raw / "scene_01" / "scene_a8dc5ed1da0923563f85ea129f0e0a83e7fe1867.json").write_text('{"data": []}')
    bad("not a whole DGP scene", prepare_ddad, "--raw", raw, "--out", out, "--sequences", "scene_01")
    cloudless = raw / "scene_02"
    shutil.copytree(scene.parent / "calibration", cloudless / "calibration")
    shutil.copytree(scene.parent / "rgb" / "CAMERA_01", cloudless / "rgb" / "CAMERA_01")
    shutil.copyfile(scene, cloudless / scene.name)
    with pytest.raises(ddad.UserError, match="not a DGP point cloud"):
        ddad.read_scene(cloudless / scene.name, "CAMERA_01", "train").depth(0)


@needs_dgp
def test_ddad_download_unpacks_one_camera(tmp_path):
    def tarred():
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.add(DGP / "scene_dataset_v1.0.json", "ddad_train_val/ddad.json")
            for path in (DGP / "scene_02").rglob("*"):
                if path.is_file() and ("CAMERA_0" not in path.parent.name or path.name.startswith("15616458249936530")):
                    file.add(path, f"ddad_train_val/scene_02/{path.relative_to(DGP / 'scene_02')}")
        return buffer.getvalue()

    with serve({"DDAD.tar": tarred()}) as (url, _):
        ddad.download_ddad(tmp_path, f"{url}/DDAD.tar", checksum=None)
        with pytest.raises(ddad.UserError, match="does not have the checksum md5:c0da9796"):
            ddad.download_ddad(tmp_path, f"{url}/DDAD.tar")
    pictures = {path.parent.name for path in tmp_path.rglob("*.jpg")}
    assert pictures == {"CAMERA_01"} and len(list(tmp_path.rglob("LIDAR/*.npz"))) == 3


def make_nyu(folder, count=4):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (count, 3, 640, 480), np.uint8)
    depths = rng.uniform(1, 9, (count, 640, 480)).astype(np.float32)
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["depths"] = images, depths
    savemat(folder / "splits.mat", {"testNdxs": np.array([[2], [4]]), "trainNdxs": np.array([[1], [3]])})
    return images, depths


def test_nyu_labelled(tmp_path):
    images, depths = make_nyu(tmp_path / "raw")
    good(prepare_nyu, "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    clip = Clip(tmp_path / "out" / "test" / "nyu_labelled")
    assert clip.about["source_frames"] == ["000001", "000003"]
    gt = read_image(clip.path / "gt_depth" / "000001.png", -1) / 5000
    assert np.abs(gt - depths[3].T).max() <= 1e-4 + 1e-6
    test, train = nyu.find_scenes(tmp_path / "raw")
    np.testing.assert_array_equal(test.image(0)[10, 20], images[1][:, 20, 10])
    training = Clip(tmp_path / "out" / "train" / "nyu_labelled")
    assert train.frames == training.about["source_frames"] == ["000000", "000002"]
    assert training.targets(1) == [] and training_median([training])(training.image(0)[None]).shape == (1, 256, 320)


def test_nyu_raw_video(tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (480, 900, 3), np.uint8), (0, 0), 4)
    scene = tmp_path / "raw" / "kitchen_0001"
    scene.mkdir(parents=True)
    for i in range(10):
        cv2.imwrite(str(scene / f"r-{9.5 + i:.6f}-123.ppm"), texture[:, 20 * i : 20 * i + 640])
    good(prepare_nyu, "--raw", tmp_path / "raw", "--out", tmp_path / "out")
    clip = Clip(tmp_path / "out" / "train" / "kitchen_0001")
    assert len(clip) == 9 and clip.about["source_frames"][:2] == [
        "r-9.500000-123.ppm",
        "r-10.500000-123.ppm",
    ]  # by time, not by name
    assert clip.image(0).min() > 0  # no black border comes in


def test_nyu_bad_input_and_download(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    bad("neither nyu_depth_v2_labeled.mat nor scenes", prepare_nyu, "--raw", raw, "--out", out)
    make_nyu(raw)
    files = {
        "nyu_depth_v2/nyu_depth_v2_labeled.mat": b"not it",
        "indoor_seg_sup/splits.mat": (raw / "splits.mat").read_bytes(),
    }
    with serve(files) as (url, _):
        bad(
            "splits.mat does not have the checksum",
            prepare_nyu,
            "--raw",
            tmp_path / "new",
            "--out",
            out,
            "--download",
            "--url",
            url,
        )
    make_nyu(raw, count=3)
    bad("names picture 4 of 3", prepare_nyu, "--raw", raw, "--out", out)
    (raw / "nyu_depth_v2_labeled.mat").write_bytes(b"spoilt")
    bad("missing or damaged", prepare_nyu, "--raw", raw, "--out", out)
    (raw / "splits.mat").unlink()
    bad("splits.mat is missing", prepare_nyu, "--raw", raw, "--out", out)
