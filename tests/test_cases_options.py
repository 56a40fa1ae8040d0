"""Options, places and checkpoints are checked before any work; each fault is one sentence."""

import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from test_cases_frames import write
from test_cli import fails, weights  # noqa: F401

from data_scripts.prepare_video import main as prepare_video
from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.pipeline.execution import run_notebook
from ssmde_lib.pipeline.parameters import Parameter
from ssmde_lib.threads import cores, quota
from ssmde_lib.training.schedule import Schedule


@pytest.fixture
def clip(tmp_path):
    folder = write(tmp_path / "clip", [f"{i}.png" for i in range(4)])
    np.savetxt(folder / "cam.txt", [[80, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])
    return folder


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("batch_size", "0", "batch_size is 0: give 1 or more"),
        ("steps", "-5", "steps is -5: give 1 or more"),
        ("log_every", "0", "log_every is 0"),
        ("save_every", "0", "save_every is 0"),
        ("workers", "-1", "workers is -1: give 0 or more"),
        ("precision", "fp8", "precision is 'fp8': choose one of no, bf16, fp16"),
        ("precision", "BF16", "precision is 'BF16'"),
        ("decay", "cosin", "decay is 'cosin': choose one of constant, step, cosine"),
        ("learning_rate", "nan", "learning_rate is nan"),
        ("learning_rate", "0", "learning_rate is 0.0"),
        ("warmup", "1.5", "warmup is 1.5"),
        ("stepz", "5", "did you mean 'steps'"),
    ],
)
def test_a_bad_schedule_is_told_before_anything_is_written(tmp_path, clip, option, value, said):
    assert said in fails("train", "--data", clip, "-o", tmp_path / "out", "-p", f"schedule.{option}", value)
    assert not (tmp_path / "out").exists()


def test_the_published_schedule_passes():
    assert Schedule(steps=100_000, batch_size=4, learning_rate=1e-4, decay="step", warmup=0.0).batch_size == 4


PLACES = ["below a file", "read-only"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["predict", "train", "export", "evaluate", "prepare", "run"])
def test_an_unwritable_output_is_told_before_any_work(tmp_path, clip, weights, monkeypatch, command, place):  # noqa: F811
    (tmp_path / "file").write_text("a file")
    out = tmp_path / ("file" if place == "below a file" else "folder") / "out"
    if place == "read-only":  # as root no permission is denied
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    arguments = {
        "predict": ("predict", clip, "-o", out, "--checkpoint", weights),
        "train": ("train", "--data", clip, "-o", out),
        "export": ("export", "--checkpoint", weights, "--onnx", out / "net.onnx"),
        "evaluate": ("evaluate", "--weights", weights, "--data", clip, "-o", out / "results.json"),
    }
    if command in arguments:
        said = fails(*arguments[command])
    elif command == "prepare":
        options = ["--fov", "80", "--width", "96", "--out", str(out)]
        said = CliRunner().invoke(prepare_video, [str(clip), *options]).output
    else:
        monkeypatch.setenv("SSMDE_RUNS", str(out))
        with pytest.raises(UserError) as error:
            run_notebook("10_your_own_video", {})
        said = error.value.message
    assert "cannot be created" in said or "cannot be written to" in said
    assert "choose another folder" in said


@pytest.mark.parametrize(
    ("text", "advised"), [("1e-4", "1.0e-4"), ("3E5", "3.0e+5"), ("-2e-3", "-2.0e-3"), ("1.5e3", "1.5e+3")]
)
def test_a_number_that_yaml_reads_as_text_is_told_how_to_write(text, advised):
    import yaml

    value = yaml.safe_load(f"learning_rate: {text}")["learning_rate"]
    assert isinstance(value, str)
    with pytest.raises(UserError, match="must be float, not .* YAML reads it as text") as error:
        Parameter("learning_rate", "float", 1e-3, "").check(value)
    assert error.value.message.endswith(f"write {advised}.")
    assert isinstance(yaml.safe_load(advised), float)


@pytest.mark.parametrize("value", ["fast", None, [1, 2], True])
def test_what_is_no_number_gets_no_such_advice(value):
    with pytest.raises(UserError) as error:
        Parameter("learning_rate", "float", 1e-3, "").check(value)
    assert "YAML" not in error.value.message


def test_cores_respect_affinity_and_the_quota_of_a_container(tmp_path, monkeypatch):
    assert quota(tmp_path / "none") == float("inf")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert quota(tmp_path) == float("inf")
    (tmp_path / "v1" / "cpu").mkdir(parents=True)
    (tmp_path / "v1/cpu/cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "v1/cpu/cpu.cfs_period_us").write_text("100000\n")
    assert quota(tmp_path / "v1") == float("inf")
    monkeypatch.setattr("ssmde_lib.threads.quota", lambda: 1.5)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert cores() == 1


FOREIGN = {
    "dispnet_model_best.pth.tar": "PyTorch checkpoint of another project",
    "depth_anything_v2_vits.pth": "PyTorch checkpoint of another project",
    "midas.pt": "PyTorch checkpoint of another project",
    "pytorch_model.bin": "PyTorch checkpoint of another project",
    "renamed.safetensors": "PyTorch checkpoint of another project",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_checkpoint_of_another_layout_is_called_so(tmp_path, clip, name):
    torch.save({"epoch": 1, "state_dict": {"encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}}, tmp_path / name)
    said = fails("predict", clip, "-o", tmp_path / "out", "--checkpoint", tmp_path / name)
    assert FOREIGN[name] in said and "encoder.pth" in said
    assert "delete" not in said and "damaged" not in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.safetensors", b"<!DOCTYPE html><html>", "web page"),
        ("a.safetensors", b"", "cut or damaged"),
        ("a.txt", b"hello", "no safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        checkpoint.load(tmp_path / name)


def test_a_cut_checkpoint_is_called_cut(tmp_path, weights):  # noqa: F811
    (tmp_path / "a.safetensors").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="cut or damaged"):
        checkpoint.load(tmp_path / "a.safetensors")
