"""Further inputs of each kind: what people do beside the cases of public bug reports. Public interfaces only."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_cases_frames import view, write
from test_cli import fails, ssmde, weights  # noqa: F401

from data_scripts import prepare_ddad, prepare_tum, prepare_video
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.errors import UserError
from ssmde_lib.inference.consistency import measure_consistency
from ssmde_lib.labels.filters import Filter
from ssmde_lib.losses.config import Losses
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.pipeline.stages import train_network, write_labels
from ssmde_lib.training.schedule import Schedule

TINY = Architecture(width=8, pose_width=8)
K = "80 0 47.5\n0 80 31.5\n0 0 1\n"
SHARED = Path(__file__).parents[2] / "shared" / "data"
DESK = SHARED / "tum" / "rgbd_dataset_freiburg1_desk"
DGP = SHARED / "ddad_dgp_test_scene" / "tests" / "data" / "dgp" / "test_scene"


def make_clip(folder: Path, count: int = 4) -> Path:
    write(folder, [f"{i:06d}.png" for i in range(count)])
    (folder / "cam.txt").write_text(K)
    return folder


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip")


def with_truth(clip: Path) -> Path:
    (clip / "depth").mkdir()
    (clip / "clip.json").write_text('{"depth_png_units_per_metre": 256}')
    for i in range(4):
        slope = np.linspace(2, 40, 64)[:, None] * np.ones((1, 96)) * 256
        cv2.imwrite(str(clip / f"depth/{i:06d}.png"), slope.astype(np.uint16))
    return clip


def evaluation(clip: Path, weights: Path) -> tuple:  # noqa: F811
    return "evaluate", "--weights", weights, "--data", clip, "--protocol", "kitti", "--no-baselines"


def script(module, *arguments) -> tuple[int, str]:
    result = CliRunner().invoke(module.main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.output


def film(path: Path, count: int, codec: str = "mp4v") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (96, 64))
    for i in range(count):
        writer.write(view(i))
    writer.release()
    return path


# ---- 1. resume -------------------------------------------------------------------------------------------------------


def crashed_training(folder: Path, clip: Path, steps: int) -> list[dict]:
    """Trains to the end, or for `steps` steps."""

    def validate(net):
        validate.count += 1
        if validate.count == steps:
            raise RuntimeError("crashed")
        return {}

    validate.count = 0
    schedule = Schedule(steps=4, batch_size=1, log_every=1, save_every=1)
    return train_network(folder, clip, TINY, Losses(), schedule, seed=0, validate=validate, validate_every=1)


def test_a_log_whose_last_line_a_power_failure_has_torn_is_mended(clip, tmp_path):
    with pytest.raises(RuntimeError):
        crashed_training(tmp_path / "out", clip, 3)
    log = tmp_path / "out/train.jsonl"
    log.write_text(log.read_text()[:-9])
    records = crashed_training(tmp_path / "out", clip, 0)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2, 3, 4]
    assert [record["step"] for record in records] == [1, 2, 3, 4]


def test_frames_added_since_the_stop_are_other_data(clip, tmp_path):
    with pytest.raises(RuntimeError):
        crashed_training(tmp_path / "out", clip, 3)
    cv2.imwrite(str(clip / "000004.png"), view(4))
    with pytest.raises(UserError, match=r"other settings .*frames was 4, is 5"):
        crashed_training(tmp_path / "out", clip, 0)


def test_a_finished_training_of_other_settings_is_not_taken_for_this_one(clip, tmp_path):
    train = (
        "train",
        "--data",
        clip,
        "-o",
        tmp_path / "out",
        "-p",
        "architecture.width",
        8,
        "-p",
        "schedule.batch_size",
        1,
    )
    for _ in range(2):  # the same is not repeated
        assert ssmde(*train, "-p", "schedule.steps", 1)[0] == 0
    said = fails(*train, "-p", "schedule.steps", 2, "--seed", 1)
    assert "finished training of other settings (seed was 0, is 1; schedule.steps was 1, is 2)" in said


# ---- 2. intrinsics ---------------------------------------------------------------------------------------------------


def test_a_field_of_view_in_radians_is_told_with_its_degrees(clip, tmp_path, weights):  # noqa: F811
    (clip / "cam.txt").unlink()
    assert "1.2, as a field of view in radians: give degrees, 68.8" in fails(
        "predict", clip, "-o", tmp_path / "out", "--ply", "--fov", 1.2, "--checkpoint", weights
    )
    code, said = script(prepare_video, clip, "--out", tmp_path / "set", "--fov", 1.2, "--width", 96)
    assert code == 1 and "give degrees, 68.8" in said
    assert "--fov is nan" in fails(
        "predict", clip, "-o", tmp_path / "out", "--ply", "--fov", "nan", "--checkpoint", weights
    )


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + K.replace("\n", "\r\n").encode(),  # Notepad
        K.encode("utf-16"),  # PowerShell's >
        b"80, 0, 47.5\n0, 80, 31.5\n0, 0, 1\n",
        b"[80 0 47.5; 0 80 31.5; 0 0 1]  # MATLAB\n",
    ],
)
def test_a_cam_txt_is_read_whatever_wrote_it(clip, content):
    (clip / "cam.txt").write_bytes(content)
    np.testing.assert_array_equal(Clip(clip).K, [[80, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])


@pytest.mark.parametrize("content", ["80 80 47.5 31.5", "80 0 47.5 9\n0 80 31.5 0\n0 0 1 .01"])
def test_a_camera_in_another_form_is_told_with_its_matrix(clip, content):
    (clip / "cam.txt").write_text(content)
    with pytest.raises(UserError, match="`80 0 47.5 0 80 31.5 0 0 1`"):
        _ = Clip(clip).K


# ---- 3. which frames go where ----------------------------------------------------------------------------------------


def test_a_prediction_never_replaces_the_truth_of_a_clip(clip, weights):  # noqa: F811
    with_truth(clip)
    before = (clip / "depth/000000.png").read_bytes()
    said = fails("predict", clip, "-o", clip, "--checkpoint", weights)
    assert "holds depth that is no prediction" in said and (clip / "depth/000000.png").read_bytes() == before


def test_two_videos_do_not_share_a_folder(tmp_path, weights):  # noqa: F811
    long, short = film(tmp_path / "long.mp4", 6), film(tmp_path / "short.mp4", 3)
    out = tmp_path / "out"
    for _ in range(2):
        assert ssmde("predict", long, "-o", out, "--checkpoint", weights)[0] == 0
    assert f"holds the prediction of {long}" in fails("predict", short, "-o", out, "--checkpoint", weights)


# ---- 4. depth and its unit -------------------------------------------------------------------------------------------


def test_truth_of_frames_of_several_sizes_is_one_sentence(clip, weights):  # noqa: F811
    with_truth(clip)
    cv2.imwrite(str(clip / "000002.png"), view(2, (128, 192)))
    assert "000002.png has 192x128 pixels, the first frame of its folder 96x64" in fails(*evaluation(clip, weights))


@pytest.mark.parametrize("mask", [np.zeros((64, 96, 3), np.uint8), np.zeros((32, 96), np.uint8)])
def test_a_mask_in_colours_or_of_another_size_is_refused_by_name(clip, weights, mask):  # noqa: F811
    (with_truth(clip) / "movers").mkdir()
    cv2.imwrite(str(clip / "movers/000001.png"), mask)
    said = fails(*evaluation(clip, weights))
    assert "movers/000001.png has the shape" in said and "one channel of 96x64 pixels" in said


@pytest.mark.parametrize("inverse", [True, False])
def test_pseudo_depth_that_looks_inverse_is_told(tmp_path, capsys, inverse):
    data, pseudo = make_clip(tmp_path / "data/clip"), tmp_path / "pseudo/clip"
    pseudo.mkdir(parents=True)
    near_below = np.linspace(60_000, 5000, 64)[:, None] * np.ones((1, 96))
    for i in range(4):
        cv2.imwrite(str(pseudo / f"{i:06d}.png"), (3e8 / near_below if inverse else near_below).astype(np.uint16))
    Triplets([Clip(data)], pseudo=tmp_path / "pseudo")
    assert ("2 of 2 maps the lower third is farther than the upper one" in capsys.readouterr().err) == inverse


# ---- 5. own video ----------------------------------------------------------------------------------------------------


def test_a_clip_of_one_frame_among_others_costs_nothing(tmp_path):
    for split, name, count in (("train", "a", 4), ("train", "b", 1), ("val", "a", 1)):
        make_clip(tmp_path / "data" / split / name, count)
    schedule = Schedule(steps=1, batch_size=1)
    train_network(tmp_path / "teacher", tmp_path / "data", TINY, Losses(), schedule, seed=0)
    write_labels(tmp_path / "labels", tmp_path / "data", tmp_path / "teacher", Filter("plain"))
    assert len(list(tmp_path.glob("labels/train/*/*.npz"))) == 2
    model = TINY.build(0).eval()
    found = measure_consistency(model.depth_net, model.pose_net, [Clip(tmp_path / "data/val/a")])
    assert np.isnan(found["photometric"])


def test_two_recordings_of_one_name_are_told_apart(tmp_path):
    out = "--out", tmp_path / "set", "--fov", 60, "--width", 96
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
    film(tmp_path / "monday/GH010001.mp4", 20)
    film(tmp_path / "tuesday/GH010001.mp4", 20)
    for _ in range(2):  # the same again is no other recording
        assert script(prepare_video, tmp_path / "monday/GH010001.mp4", *out)[0] == 0
    code, said = script(prepare_video, tmp_path / "tuesday/GH010001.mp4", *out)
    assert code == 1 and f"holds the recording {tmp_path / 'monday/GH010001.mp4'}: rename this one" in said


def test_a_film_that_breaks_off_is_divided_by_what_plays(tmp_path):
    whole = film(tmp_path / "whole.avi", 60, "MJPG").read_bytes()
    (tmp_path / "film.avi").write_bytes(whole[: 6 * len(whole) // 10])
    code, said = script(prepare_video, tmp_path / "film.avi", "--out", tmp_path / "set", "--fov", 60, "--width", 96)
    assert code == 0 and "unreadable" not in said
    counts = [len(Clip(tmp_path / "set" / split / "film")) for split in ("train", "val", "test")]
    assert counts[0] > 20 and min(counts[1:]) >= 3


@pytest.mark.parametrize("option", ["--stride", "--limit"])
def test_too_few_frames_by_an_option_are_no_static_camera(tmp_path, option):
    out = "--out", tmp_path / "set", "--fov", 60, "--width", 96, option, 15 if option == "--stride" else 2
    code, said = script(prepare_video, film(tmp_path / "film.mp4", 20), *out)
    assert code == 1 and "2 frames of" in said and "lower --stride, raise --limit" in said and "still" not in said


# ---- 6. data sets with gaps ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DESK.is_dir(), reason=f"the real slice {DESK} is not here")
def test_a_trajectory_saved_by_notepad_is_the_same(tmp_path):
    raw = tmp_path / "raw" / DESK.name
    shutil.copytree(DESK, raw, copy_function=shutil.copyfile)
    text = (raw / "groundtruth.txt").read_text().replace("\n", "\r\n")
    (raw / "groundtruth.txt").write_text("\ufeff" + text, encoding="utf-8")
    code, said = script(
        prepare_tum, "--raw", raw.parent, "--out", tmp_path / "out", "--split", "test", "--processes", 1
    )
    assert code == 0 and "9 frames kept; none left out" in said


@pytest.mark.skipif(not DGP.is_dir(), reason=f"the real slice {DGP} is not here")
@pytest.mark.parametrize("lost", ["picture", "scene"])
def test_a_lost_file_of_ddad_costs_its_frame_or_its_scene(tmp_path, lost):
    raw = tmp_path / "raw"
    shutil.copytree(DGP, raw, copy_function=shutil.copyfile)
    (path,) = raw.glob("scene_02/scene_*.json")
    if lost == "picture":
        sorted(raw.glob("scene_02/rgb/CAMERA_01/*"))[1].unlink()
    else:
        path.write_text(path.read_text()[:2000])
    options = "--height", 64, "--width", 96, "--min-motion", 0, "--processes", 1
    code, said = script(prepare_ddad, "--raw", raw, "--out", tmp_path / "out", *options)
    assert code == 0, said  # the scene is in two splits of this slice
    told = (
        "10 frames kept; 2 unreadable left out" if lost == "picture" else f"left out a scene: {path} is missing or not"
    )
    assert told in said


def test_a_clip_json_saved_by_notepad_is_the_same(clip):
    with_truth(clip)
    (clip / "clip.json").write_text("\ufeff" + '{"depth_png_units_per_metre": 256}', encoding="utf-8")
    assert Clip(clip).depth_units == 256


# ---- 7. formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "kind"), [("jfif", "JPEG"), ("mpo", "MPO"), ("j2k", "JPEG2000"), ("qoi", "QOI")])
def test_a_folder_of_rarer_pictures_is_a_folder_of_pictures(tmp_path, weights, suffix, kind):  # noqa: F811
    (tmp_path / "in").mkdir()
    Image.fromarray(view(0)).save(tmp_path / f"in/photo.{suffix}", kind)
    code, output = ssmde("predict", tmp_path / "in", "-o", tmp_path / "out", "--checkpoint", weights)
    assert code == 0 and (tmp_path / "out/depth/photo.png").is_file(), output


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEIC, "HEIC file by another name: rename it to a.heic, and convert it by `heif-convert a.heic a.jpg`"),
        (LFS, "is a pointer of Git LFS, not the file: fetch it by `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "is a web page, not the file"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(tmp_path, weights, content, said):  # noqa: F811
    (tmp_path / "a.jpg").write_bytes(content)
    assert said in fails("predict", tmp_path / "a.jpg", "-o", tmp_path / "out", "--checkpoint", weights)


# ---- 8. options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-p", "losses.region", "statc"), "region is 'statc': choose one of all, static, dynamic"),
        (("-p", "losses.ranking", "-1"), "ranking is -1.0: give 0 or more"),
        (("-p", "losses.smoothness", "nan"), "smoothness is nan: give 0 or more"),
        (("-p", "losses.ranking", "0.1"), "losses of the prior need its maps"),
        (("-p", "losses.distillation", "0.1"), "distillation needs a teacher's labels"),
    ],
)
def test_a_loss_that_cannot_be_is_told_before_training(clip, tmp_path, options, said):
    assert said in fails("train", "--data", clip, "-o", tmp_path / "out", "-p", "schedule.steps", 1, *options)


def test_a_frame_is_no_source_of_itself(clip, tmp_path):
    code, said = ssmde("train", "--data", clip, "-o", tmp_path / "out", "--frame-stride", 0, "-p", "schedule.steps", 1)
    assert code == 2 and "--frame-stride" in said
    with pytest.raises(UserError, match="is 0 frames: give 1 or more"):
        Clip(clip).targets(0)


@pytest.mark.parametrize("value", ["nan", "-1"])
def test_a_motion_that_cannot_be_is_told_as_such(clip, tmp_path, value):
    code, said = script(
        prepare_video, clip, "--out", tmp_path / "out", "--fov", 60, "--width", 96, "--min-motion", value
    )
    assert code == 1 and "--min-motion is" in said and "stands still" not in said
