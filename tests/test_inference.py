"""Inference: folded batch norm, sizes, steady scale, files that other programs read back."""

import os

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from ssmde_lib.data.intrinsics import guess_intrinsics
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import backproject
from ssmde_lib.inference.predictor import Predictor, fold_batch_norm, resize_image
from ssmde_lib.inference.sources import batches, open_source
from ssmde_lib.inference.writers import (
    ScaleSmoother,
    VideoFile,
    write_depth_png,
    write_picture,
    write_point_cloud,
)
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.pose_net import PoseNet

RNG = np.random.default_rng(0)


def trained_like(net: nn.Module) -> nn.Module:
    """Random weights, and batch norms that have seen data."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for buffer, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.3, 2),
                (module.weight, 0.5, 2),
                (module.bias, -1, 1),
            ):
                nn.init.uniform_(buffer, low, high)
    return net.eval()


@pytest.fixture
def net():
    torch.manual_seed(0)
    return trained_like(DepthNet(18, 8))


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("layers", [18, 50])
@torch.no_grad()
def test_folding_keeps_the_outputs_and_removes_every_batch_norm(layers):
    torch.manual_seed(0)
    net = trained_like(DepthNet(layers, 8))
    folded = fold_batch_norm(net)
    images = torch.rand(2, 3, 64, 96)
    for mine, theirs in zip(folded(images), net(images), strict=True):
        assert theirs.std() > 1e-4
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)], "the original must stay as it was"


@torch.no_grad()
def test_folding_works_for_the_pose_network():
    torch.manual_seed(0)
    net = trained_like(PoseNet(8))
    a, b = torch.rand(2, 2, 3, 64, 96)
    torch.testing.assert_close(fold_batch_norm(net)(a, b), net(a, b), rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_predictor_equals_the_network(net):
    images = pictures(3, 64, 96)
    expected = net.depth(net(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)[0])[:, 0].numpy()
    np.testing.assert_allclose(Predictor(net, (64, 96), "cpu")(images), expected, rtol=1e-4)
    assert len(net.heads) == 4, "the original must stay as it was"


@pytest.mark.parametrize("size", [(64, 96), None])
@pytest.mark.parametrize("shape", [(50, 97), (375, 1242), (20, 20)])
def test_pictures_of_any_size_come_back_at_their_size(net, size, shape):
    depth = Predictor(net, size, "cpu")(pictures(1, *shape))
    assert depth.shape == (1, *shape) and depth.dtype == np.float32
    assert np.isfinite(depth).all() and (depth > 0).all()


def test_predictor_loads_our_checkpoint_at_its_training_size(net, tmp_path):
    path = tmp_path / "depth.safetensors"
    checkpoint.save(net, path, {"size": [64, 96]})
    predictor = Predictor.load(path, "cpu")
    images = pictures(1, 48, 100)
    assert predictor.size == (64, 96)
    assert predictor.at_network_size(images).shape == (1, 64, 96)
    np.testing.assert_array_equal(predictor(images), Predictor(net, (64, 96), "cpu")(images))


def test_predictor_refuses_what_is_no_depth_network(tmp_path):
    checkpoint.save(PoseNet(8), tmp_path / "pose.safetensors", {})
    with pytest.raises(UserError, match="PoseNet"):
        Predictor.load(tmp_path / "pose.safetensors")
    with pytest.raises(UserError, match="does not exist"):
        Predictor.load(tmp_path / "none.safetensors")


def test_resize_averages_areas_when_shrinking():
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    image = np.repeat(checker[..., None], 3, -1).astype(np.uint8)
    assert np.ptp(resize_image(image, (32, 32)).astype(int)) == 0


# ---- steady scale ----------------------------------------------------------------------------------------------------


def log_scale_changes(depths: list[np.ndarray]) -> np.ndarray:
    return np.diff([np.log(np.median(depth)) for depth in depths])


def test_flicker_is_damped_and_slow_change_is_kept():
    scene = RNG.uniform(2, 30, (20, 30)).astype(np.float32)
    flicker = RNG.normal(0, 0.1, 200)
    approach = np.linspace(0, -1.0, 200)  # the camera drives up to a wall
    steady = ScaleSmoother()
    raw = [scene * np.float32(np.exp(a + f)) for a, f in zip(approach, flicker, strict=True)]
    out = [steady(depth) for depth in raw]
    assert log_scale_changes(out).std() < 0.2 * log_scale_changes(raw).std()
    assert np.log(np.median(out[-1]) / np.median(out[0])) == pytest.approx(-1.0, abs=0.25)


def test_a_constant_video_is_left_alone_and_a_cut_starts_anew():
    scene = RNG.uniform(2, 30, (20, 30)).astype(np.float32)
    steady = ScaleSmoother()
    for depth in (scene, scene, 5 * scene, 5 * scene):
        np.testing.assert_array_equal(steady(depth), depth)


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_folder_is_read_in_order_and_a_broken_picture_keeps_its_place(tmp_path):
    for i in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(tmp_path)
    found = list(source.frames)
    assert [name for name, _ in found] == ["0", "1", "2"] and source.count == 3 and not source.moving
    assert (found[0][1][0, 0, 0], found[2][1][0, 0, 0]) == (0, 2)
    assert isinstance(found[1][1], UserError) and "1.png" in found[1][1].message


def test_a_cut_jpeg_is_noticed(tmp_path):
    whole = cv2.imencode(".jpg", pictures(1, 64, 96)[0])[1].tobytes()
    thumbnail = cv2.imencode(".jpg", pictures(1, 8, 8)[0])[1].tobytes()
    exif = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail  # holds an end marker of its own
    phone = whole[:2] + exif + whole[2:]
    for name, data in {"whole": whole, "phone": phone, "trailer": phone + b"appended"}.items():
        (tmp_path / f"{name}.jpg").write_bytes(data)
        assert next(open_source(tmp_path / f"{name}.jpg").frames)[1].shape == (64, 96, 3)
    for part in (0.99, 0.5, 0.1):
        (tmp_path / "cut.jpg").write_bytes(phone[: int(part * len(phone))])
        assert isinstance(next(open_source(tmp_path / "cut.jpg").frames)[1], UserError), part


class FakeWebcam:
    """Stands in for cv2.VideoCapture of camera 0: endless pictures, no frame count, no rate.

    Other numbers are not plugged in.
    """

    released = 0

    def __init__(self, number):
        self.number, self.count = number, 0

    def isOpened(self):
        return self.number == 0

    def get(self, what):
        return 0.0

    def read(self):
        self.count += 1
        return True, np.full((48, 64, 3), (0, 0, self.count), np.uint8)  # BGR

    def release(self):
        FakeWebcam.released += 1


def test_a_webcam_runs_to_its_limit_and_is_released(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeWebcam)
    monkeypatch.setattr(FakeWebcam, "released", 0)
    source = open_source("0", limit=3)
    assert source.moving and source.count == 3 and source.fps == 10
    found = list(source.frames)
    assert [name for name, _ in found] == ["000000", "000001", "000002"]
    assert [image[0, 0].tolist() for _, image in found] == [[1, 0, 0], [2, 0, 0], [3, 0, 0]]
    assert FakeWebcam.released == 1
    endless = open_source("0")
    assert endless.count is None and next(endless.frames)[0] == "000000"
    endless.frames.close()
    assert FakeWebcam.released == 2
    with pytest.raises(UserError, match="webcam 1 cannot be opened as a video: check that it is plugged in"):
        open_source("1")


@pytest.mark.parametrize("name", ["nothing", "nothing.png", "noise.mp4", "empty"])
def test_what_cannot_be_opened_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=name):
        open_source(tmp_path / name)


def test_batches_hold_one_size_each_and_errors_stand_alone():
    small, large, broken = np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3, 3), np.uint8), UserError("broken")
    frames = [("a", small), ("b", small), ("c", small), ("d", broken), ("e", small), ("f", large)]
    found = [[name for name, _ in batch] for batch in batches(iter(frames), 2)]
    assert found == [["a", "b"], ["c"], ["d"], ["e"], ["f"]]


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_depth_png_keeps_depth_within_half_a_unit(tmp_path):
    depth = RNG.uniform(0.1, 99, (20, 30)).astype(np.float32)
    write_depth_png(tmp_path / "d.png", depth, 655)
    read = cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read / 655, depth, atol=0.5001 / 655)
    write_depth_png(tmp_path / "d.png", np.array([[1e-6, 1e6]]), 655)
    assert cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED).tolist() == [[1, 65535]]


def test_unwritable_picture_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="could not be written"):
        write_picture(tmp_path / "no" / "such" / "folder.png", pictures(1, 8, 8)[0])


def read_ply(path) -> np.ndarray:
    header, body = path.read_bytes().split(b"end_header\n", 1)
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert f"element vertex {len(points)}\n".encode() in header
    return points


def test_point_cloud_holds_the_back_projected_pixels(tmp_path):
    depth, image, K = RNG.uniform(1, 5, (4, 6)).astype(np.float32), pictures(1, 4, 6)[0], guess_intrinsics((4, 6), 70)
    write_point_cloud(tmp_path / "c.ply", depth, image, K)
    points = read_ply(tmp_path / "c.ply")
    expected = backproject(torch.from_numpy(depth)[None, None], torch.from_numpy(K).float()[None])[0].reshape(3, -1).T
    np.testing.assert_allclose(points["xyz"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(points["rgb"], image.reshape(-1, 3))
    write_point_cloud(tmp_path / "c.ply", depth, image, K, far=3.0)
    assert len(read_ply(tmp_path / "c.ply")) == (depth < 3).sum()


def test_guessed_intrinsics_span_the_field_of_view():
    K = guess_intrinsics((100, 200), 90)
    edges = np.linalg.inv(K) @ np.array([[-0.5, 199.5], [0, 0], [1, 1]])
    np.testing.assert_allclose(edges[0], [-1, 1])


def test_video_is_vp9_in_webm_and_reads_back(tmp_path):
    video = VideoFile(tmp_path / "v.webm", 10)
    for level in (50, 100, 150, 200):
        video.write(np.full((65, 97, 3), (level, 0, 0), np.uint8))
    video.close()
    assert (tmp_path / "v.webm").read_bytes()[:4] == b"\x1a\x45\xdf\xa3" and b"V_VP9" in (
        tmp_path / "v.webm"
    ).read_bytes()
    source = open_source(tmp_path / "v.webm")
    frames = [image for _, image in source.frames]
    assert source.moving and source.fps == 10 and frames[0].shape == (64, 96, 3)
    red = [frame[..., 0].mean() for frame in frames]
    assert np.allclose(red, [50, 100, 150, 200], atol=12)


def test_writing_a_video_says_nothing_and_leaves_the_terminal_as_it_was(tmp_path, capfd):
    video = VideoFile(tmp_path / "v.webm", 10)
    video.write(pictures(1, 64, 96)[0])
    video.close()
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_a_video_that_cannot_be_written_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"folder.webm cannot be written: check that its folder exists"):
        VideoFile(tmp_path / "no" / "such" / "folder.webm", 10).write(pictures(1, 64, 96)[0])


def test_video_limit(tmp_path):
    video = VideoFile(tmp_path / "v.webm", 10)
    for _ in range(5):
        video.write(pictures(1, 64, 96)[0])
    video.close()
    assert [name for name, _ in open_source(tmp_path / "v.webm", limit=2).frames] == ["000000", "000001"]
