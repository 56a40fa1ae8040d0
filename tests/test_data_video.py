"""One's own pictures and videos: intrinsics from three sources, stride, standing frames, clear errors."""

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_scripts.prepare_video import main
from ssmde_lib.data.intrinsics import find_intrinsics
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.video import fitting_size, open_recording

SIZE = (180, 320)


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def bad(sentence, *arguments):
    result = run(*arguments)
    message = result.output.strip().splitlines()[-1]
    assert result.exit_code == 1 and message.startswith("Error: ") and sentence in message, result.output


def pictures(count, speed=8):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (SIZE[0], 1000, 3), np.uint8), (0, 0), 3)
    return [texture[:, speed * i : speed * i + SIZE[1]] for i in range(count)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for i, picture in enumerate(pictures(20)):
        cv2.imwrite(str(folder / f"IMG_{i:04d}.jpg"), picture)
    return folder


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, SIZE[::-1])
    for picture in pictures(20):
        writer.write(picture)
    writer.release()
    return path


def test_folder_with_a_field_of_view(folder, tmp_path):
    result = run(folder, "--out", tmp_path / "out", "--fov", 90)
    assert result.exit_code == 0, result.output
    clip = Clip(tmp_path / "out" / "train" / "walk")
    assert clip.size == (352, 640) and len(clip) == 12
    assert len(Clip(tmp_path / "out" / "val" / "walk")) == len(Clip(tmp_path / "out" / "test" / "walk")) == 3
    np.testing.assert_allclose(clip.K, [[320, 0, 319.5], [0, 160 * 352 / 180, 175.5], [0, 0, 1]])


def test_video_with_stride(video, tmp_path):
    result = run(video, "--out", tmp_path / "out", "--fov", 65, "--stride", 3, "--split", "train")
    assert result.exit_code == 0, result.output
    clip = Clip(tmp_path / "out" / "train" / "walk")
    assert clip.about["source_frames"] == ["0", "3", "6", "9", "12", "15", "18"]
    (sequence,) = open_recording(video, fov=65, stride=3, split="train")
    expected = pictures(20)
    for i in (5, 2, 3):  # backwards too
        assert np.abs(sequence.image(i)[..., ::-1].astype(int) - expected[3 * i]).mean() < 5


def test_intrinsics_from_a_file_and_from_exif(folder, tmp_path):
    K = np.array([[300.0, 0, 158], [0, 301, 91], [0, 0, 1]])
    np.savetxt(tmp_path / "K.txt", K)
    np.testing.assert_allclose(find_intrinsics(SIZE, k_file=tmp_path / "K.txt"), K)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.open(folder / "IMG_0000.jpg").save(folder / "exif.jpg", exif=exif)
    found = find_intrinsics(SIZE, picture=folder / "exif.jpg")
    assert found[0, 0] == pytest.approx(28 * np.hypot(180, 320) / np.hypot(24, 36)) and found[0, 2] == 159.5


def test_standing_frames_are_dropped_and_a_standing_camera_is_an_error(tmp_path):
    folder = tmp_path / "stand"
    folder.mkdir()
    for i in range(12):
        cv2.imwrite(str(folder / f"{i:04d}.png"), pictures(1)[0])
    bad("fewer than 3 frames with motion", folder, "--out", tmp_path / "out", "--fov", 65)


def test_bad_input(folder, tmp_path):
    out = ("--out", tmp_path / "out")
    bad("does not exist", tmp_path / "none.mp4", *out, "--fov", 65)
    bad("intrinsics are unknown", folder, *out)
    bad("horizontal field of view in degrees", folder, *out, "--fov", 200)
    bad("--stride is 0", folder, *out, "--fov", 65, "--stride", 0)
    np.savetxt(tmp_path / "K.txt", [[3000.0, 0, 1920], [0, 3000, 1080], [0, 0, 1]])
    bad("belong to another size", folder, *out, "--k-file", tmp_path / "K.txt")
    bad("must hold the 3x3 intrinsics", folder, *out, "--k-file", tmp_path / "none.txt")
    (tmp_path / "text.mp4").write_text("not a video")
    bad("not a video that OpenCV can read", tmp_path / "text.mp4", *out, "--fov", 65)
    (tmp_path / "empty").mkdir()
    bad("holds no pictures", tmp_path / "empty", *out, "--fov", 65)
    bad("divisible by 32", folder, *out, "--fov", 65, "--height", 100)


def test_fitting_size():
    assert fitting_size((1080, 1920)) == (352, 640)
    assert fitting_size((10, 1920)) == (32, 640)
