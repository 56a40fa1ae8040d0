"""The command line: what it writes, and one clear sentence with exit code 1 for every bad input."""

import json

import cv2
import numpy as np
import pytest
import torch
from click import Context
from click.testing import CliRunner

from ssmde_lib.cli import main
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
