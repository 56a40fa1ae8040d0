"""Which files of a folder are frames, in which order, and at which size: one rule for every command and script."""

import json
import re

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from data_scripts.prepare_video import main as prepare_video
from ssmde_lib.data.images import list_frames, read_image, tell_once
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.errors import UserError
from ssmde_lib.inference.sources import open_source

RNG = np.random.default_rng(0)
TEXTURE = cv2.GaussianBlur(RNG.integers(0, 255, (64, 500, 3), np.uint8), (0, 0), 3)


@pytest.fixture(autouse=True)
def nothing_told():
    tell_once.cache_clear()


def view(i: int, size=(64, 96)) -> np.ndarray:
    """A wall that passes by, eight pixels a frame."""
    return cv2.resize(TEXTURE[:, 8 * i : 8 * i + 96], size[::-1])


def write(folder, names, size=(64, 96)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / name), view(i, size))
    return folder


def names(folder) -> list[str]:
    return [path.name for path in list_frames(folder)]


@pytest.mark.parametrize(
    "expected",
    [
        [f"frame{i}.jpg" for i in range(30)],
        ["IMG (1).png", "IMG (2).png", "IMG (10).png"],
        ["a2_1.png", "a2_11.png", "a10_2.png"],
        ["0.png", "00001.png", "2.png", "000010.png"],
    ],
)
def test_frames_come_in_the_order_of_their_numbers_everywhere(tmp_path, expected):
    folder = write(tmp_path / "seq", expected)
    assert names(folder) == expected == Clip(folder).frames
    stems = [re.sub(r"\.\w+$", "", name) for name in expected]
    assert [name for name, _ in open_source(folder).frames] == stems


def test_prepare_video_takes_unpadded_numbers_in_order(tmp_path):
    folder = write(tmp_path / "seq", [f"frame{i}.jpg" for i in range(30)])
    options = ["--out", str(tmp_path / "out"), "--fov", "80", "--width", "96", "--split", "train"]
    assert CliRunner().invoke(prepare_video, [str(folder), *options]).exit_code == 0
    about = json.loads((tmp_path / "out/train/seq/clip.json").read_text())
    assert about["source_frames"] == [f"frame{i}.jpg" for i in range(30)]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("._frame1.jpg", "1 hidden"),
        ("frame1_depth.png", "1 depth, masks or thumbnails"),
        ("mask_frame1.png", "1 depth, masks or thumbnails"),
        ("frame1Thumbnail.jpg", "1 depth, masks or thumbnails"),
        ("frame1.png", "1 the same frame in another format"),
        ("frame1.heic", "1 to be converted to .jpg first"),
    ],
)
def test_what_is_no_frame_is_left_out_and_said_once(tmp_path, capsys, other, said):
    folder = write(tmp_path / "seq", ["frame1.jpg", "frame2.jpg"])
    if other.endswith((".heic", "._frame1.jpg")):
        (folder / other).write_bytes(b"\0" * 64)
    else:
        cv2.imwrite(str(folder / other), np.full((64, 96), 7, np.uint16 if other.endswith(".png") else np.uint8))
    (folder / "Thumbs.db").write_bytes(b"\0")
    for _ in range(2):
        assert names(folder) == ["frame1.jpg", "frame2.jpg"]
    told = capsys.readouterr().err
    assert told.count("left out") == 1 and f"{said} (such as {other})" in told


def test_a_folder_of_depth_pictures_alone_is_what_the_user_asked_for(tmp_path):
    assert names(write(tmp_path / "seq", ["depth_1.png", "depth_2.png"])) == ["depth_1.png", "depth_2.png"]


def test_frames_of_another_size_are_one_sentence_that_names_the_file(tmp_path):
    folder = write(tmp_path / "seq", [f"{i}.png" for i in range(4)])
    cv2.imwrite(str(folder / "3.png"), view(3, (96, 64)))
    np.savetxt(folder / "cam.txt", [[100, 0, 47.5], [0, 100, 31.5], [0, 0, 1]])
    clip = Clip(folder)
    with pytest.raises(UserError, match=r"3\.png has 64x96 pixels, the first frame of its folder 96x64"):
        clip.image(3)
    with pytest.raises(UserError, match=r"3\.png has 64x96 pixels"):
        Triplets([clip])


def test_prepare_video_leaves_frames_of_another_size_out_and_counts_them(tmp_path):
    folder = write(tmp_path / "seq", [f"{i}.png" for i in range(12)])
    for i in (3, 7):
        cv2.imwrite(str(folder / f"{i}.png"), view(i, (96, 64)))
    options = ["--out", str(tmp_path / "out"), "--fov", "80", "--width", "96", "--split", "train"]
    result = CliRunner().invoke(prepare_video, [str(folder), *options])
    assert result.exit_code == 0 and "10 frames kept; 2 unreadable left out" in result.output


@pytest.mark.parametrize("suffix", ["webp", "tif", "bmp", "gif", "jp2", "tga", "ppm"])
def test_every_still_format_is_a_picture(tmp_path, suffix):
    Image.fromarray(view(0)[..., ::-1]).save(tmp_path / f"photo.{suffix}")
    source = open_source(tmp_path / f"photo.{suffix}")
    ((name, image),) = source.frames
    assert name == "photo" and not source.moving and image.shape == (64, 96, 3)
    assert np.abs(image.astype(int) - view(0)[..., ::-1]).mean() < 12  # GIF has 256 colours
    assert names(tmp_path) == [f"photo.{suffix}"]


def test_a_picture_without_a_suffix_is_no_video(tmp_path):
    (tmp_path / "photo").write_bytes(cv2.imencode(".png", view(0))[1].tobytes())
    ((name, image),) = open_source(tmp_path / "photo").frames
    assert name == "photo" and image.shape == (64, 96, 3)


@pytest.mark.parametrize(("name", "way_out"), [("a.heic", "heif-convert"), ("a.HEIF", "sips"), ("a.dng", "export it")])
def test_a_camera_s_own_format_is_one_sentence_with_the_converter(tmp_path, name, way_out):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 2000)
    ((_, error),) = open_source(tmp_path / name).frames
    assert isinstance(error, UserError) and way_out in error.message and "mp4" not in error.message


def test_sixteen_bits_are_a_photograph_or_refused(tmp_path):
    grey = cv2.cvtColor(view(0), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(tmp_path / "photo.png"), grey.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "thermal.png"), (29000 + grey.astype(np.uint16)))
    cv2.imwrite(str(tmp_path / "metres.tif"), grey.astype(np.float32))
    assert np.abs(read_image(tmp_path / "photo.png").astype(int) - grey[..., None]).max() <= 1
    for name in ("thermal.png", "metres.tif"):
        with pytest.raises(UserError, match="no photograph"):
            read_image(tmp_path / name)
