"""K of another convention, size or orientation is refused with the repaired matrix; EXIF and cam.txt are used."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image
from test_cases_frames import view, write
from test_cli import ssmde, weights  # noqa: F401

from data_scripts.prepare_video import main as prepare_video
from ssmde_lib.data.images import tell_once
from ssmde_lib.data.intrinsics import check_intrinsics, find_intrinsics, guess_intrinsics, read_intrinsics
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.data.video import open_recording, video_facts
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics
from ssmde_lib.inference.cameras import find_camera
from ssmde_lib.inference.writers import write_point_cloud

SIZE = (192, 640)
K = np.array([[371.0, 0, 314], [0, 369, 88], [0, 0, 1]])


@pytest.fixture(autouse=True)
def nothing_told():
    tell_once.cache_clear()


WRONG = {
    "normalised": ([[0.58, 0, 0.49], [0, 1.92, 0.46], [0, 0, 1]], "normalised", [371.2, 0, 313.6, 0, 368.64, 88.32]),
    "of another size": ([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]], "another size", None),
    "millimetres": ([[18, 0, 320], [0, 18, 96], [0, 0, 1]], "millimetres", None),
    "negative": (K * [[-1, 1, 1], [1, -1, 1], [1, 1, 1]], "negative focal", [371, 0, 314, 0, 369, 88]),
    "skewed": ([[371, 40, 314], [0, 369, 88], [0, 0, 1]], "skewed by 40", [371, 0, 314, 0, 369, 88]),
    "transposed": (K.T, "transposed", [371, 0, 314, 0, 369, 88]),
    "turned": (K[[1, 0, 2]][:, [1, 0, 2]], "turned by 90 degrees", [371, 0, 314, 0, 369, 88]),
    "without a principal point": (np.diag([371.0, 371, 1]), "no principal point", [371, 0, 319.5, 0, 371, 95.5]),
    "not finite": (K * np.nan, "not finite", None),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_impossible_K_is_told_with_its_cause_and_repaired(tmp_path, name):
    wrong, cause, repaired = WRONG[name]
    sentence = check_intrinsics(np.array(wrong, float), SIZE)
    assert "the intrinsics" in sentence and cause in sentence and sentence.endswith(".")
    if repaired:
        assert "`" + " ".join(f"{value:g}" for value in [*repaired, 0, 0, 1]) + "`" in sentence
    if "`" in sentence:  # what is advised passes
        advised = np.array(sentence.split("`")[1].split(), float).reshape(3, 3)
        assert not check_intrinsics(advised, SIZE)
    # every way in: training, own recordings, point clouds
    folder = write(tmp_path / "clip", [f"{i}.jpg" for i in range(3)], SIZE)
    np.savetxt(folder / "cam.txt", wrong)
    for enter in (lambda: Triplets([Clip(folder)]), lambda: open_recording(folder), lambda: find_camera(folder, None)):
        with pytest.raises(UserError, match=r"cam\.txt: the intrinsics"):
            enter()


@pytest.mark.parametrize("scale", [1, 0.5, 2])
def test_a_right_K_passes_and_an_unusual_one_is_told(tmp_path, capsys, scale):
    size = tuple(int(side * scale) for side in SIZE)
    assert not check_intrinsics(resize_intrinsics(K, SIZE, size), size)
    unusual = resize_intrinsics(K, SIZE, size)
    unusual[0, 2] += 150 * scale
    np.savetxt(tmp_path / "cam.txt", unusual)
    read_intrinsics(tmp_path / "cam.txt", size)
    assert "warning" in capsys.readouterr().err


def exif_picture(path, size, turn=1, **tags):
    exif = Image.Exif()
    exif[0x0112] = turn
    for name, value in tags.items():
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("size", [(960, 540), (540, 960)])
def test_the_focal_length_is_that_of_exif_upright_or_not(tmp_path, size):
    true = 26 / np.hypot(36, 24) * np.hypot(540, 960)
    path = exif_picture(tmp_path / "a.jpg", size, FocalLengthIn35mmFilm=26)
    assert find_intrinsics(size, picture=path)[0, 0] == pytest.approx(true)
    assert find_camera(path, None)("a", size)[0, 0] == pytest.approx(true)
    assert find_camera(path, 50.0)("a", size)[0, 0] == pytest.approx(size[1] / 2 / np.tan(np.radians(25)))


def test_a_lens_and_the_resolution_of_its_sensor_give_the_focal_length_too(tmp_path):
    tags = dict(FocalLength=4.2, FocalPlaneXResolution=8000.0, FocalPlaneResolutionUnit=2, ExifImageWidth=1920)
    path = exif_picture(tmp_path / "a.jpg", (540, 960), **tags)
    assert find_intrinsics((540, 960), picture=path)[0, 0] == pytest.approx(4.2 * 8000 / 25.4 / 2)


def test_without_any_hint_the_long_side_has_the_guessed_view():
    assert guess_intrinsics((540, 960))[0, 0] == guess_intrinsics((960, 540))[0, 0] == pytest.approx(480 * 3**0.5)


@pytest.mark.parametrize(("size", "degrees"), [((960, 540), "about 40"), ((540, 960), "about 65")])
def test_the_advice_for_a_phone_knows_upright_from_sideways(size, degrees):
    with pytest.raises(UserError, match=degrees):
        find_intrinsics(size)


@pytest.fixture
def film(tmp_path):
    folder = tmp_path / "film"
    folder.mkdir()
    writer = cv2.VideoWriter(str(folder / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for i in range(40):
        writer.write(view(i))
    writer.release()
    np.savetxt(folder / "cam.txt", [[80, 0, 45.0], [0, 82, 33.0], [0, 0, 1]])
    return folder / "a.mp4"


def rays(path) -> np.ndarray:
    content = path.read_bytes()
    body = content[content.find(b"end_header\n") + 11 :]
    points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
    return points / points[:, 2:]


def test_a_video_uses_the_cam_txt_beside_it(film, weights, tmp_path):  # noqa: F811
    code, output = ssmde("predict", film, "-o", tmp_path / "o", "--ply", "--limit", 2, "--checkpoint", weights)
    assert code == 0, output
    np.testing.assert_allclose(rays(tmp_path / "o/cloud/000001.ply")[0, :2], [-45 / 80, -33 / 82], rtol=1e-5)
    sequence, *_ = open_recording(film)
    assert sequence.K[0, 0] == 80


def test_clouds_of_mixed_sizes_keep_their_rays(weights, tmp_path):  # noqa: F811
    folder = write(tmp_path / "in", ["0.png"])
    cv2.imwrite(str(folder / "1.png"), view(1, (128, 192)))
    cv2.imwrite(str(folder / "2.png"), cv2.rotate(view(2), cv2.ROTATE_90_CLOCKWISE))
    cv2.imwrite(str(folder / "3.png"), view(3, (96, 96)))
    np.savetxt(folder / "cam.txt", [[80, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])
    code, output = ssmde("predict", folder, "-o", tmp_path / "o", "--ply", "--checkpoint", weights)
    assert code == 0 and "3 has 96x96 pixels, another shape" in output
    spans = [np.ptp(rays(tmp_path / f"o/cloud/{i}.ply"), axis=0) for i in range(3)]
    np.testing.assert_allclose(spans[1], spans[0], rtol=0.02)
    np.testing.assert_allclose(spans[2][[1, 0]], spans[0][:2], rtol=1e-5)
    assert not (tmp_path / "o/cloud/3.ply").exists()


def test_a_cloud_of_a_large_picture_is_thinned(tmp_path):
    depth, image = np.ones((2160, 3840), np.float32), np.zeros((2160, 3840, 3), np.uint8)
    write_point_cloud(tmp_path / "0.ply", depth, image, guess_intrinsics(depth.shape))
    assert 1e7 < (tmp_path / "0.ply").stat().st_size < 2e7
    write_point_cloud(tmp_path / "0.ply", depth, image, guess_intrinsics(depth.shape), stride=16)
    assert len(rays(tmp_path / "0.ply")) == 135 * 240


# ---- own recordings --------------------------------------------------------------------------------------------------


def prepare(source, out, *options):
    return CliRunner().invoke(prepare_video, [str(source), "--out", str(out), "--width", "96", *map(str, options)])


def test_a_recording_is_split_into_blocks_of_time_without_neighbours(film, tmp_path):
    assert prepare(film, tmp_path / "out").exit_code == 0
    blocks = [
        [int(name) for name in json.loads((tmp_path / f"out/{split}/a/clip.json").read_text())["source_frames"]]
        for split in ("train", "val", "test")
    ]
    assert blocks == [list(range(30)), list(range(31, 35)), list(range(36, 40))]
    assert json.loads((tmp_path / "out/train/a/clip.json").read_text())["fps"] == 10


def test_settings_change_without_deleting_folders(film, tmp_path):
    for options, kept, fov in ((("--fov", 60), 30, 60), (("--fov", 90, "--limit", 5), 5, 90)):
        result = prepare(film, tmp_path / "out", *options)
        assert result.exit_code == 0, result.output
        clip = Clip(tmp_path / "out/train/a")
        assert len(clip) == kept and clip.K[0, 0] == pytest.approx(48 / np.tan(np.radians(fov / 2)))
    assert "prepared anew" in result.output


def test_a_standing_camera_is_told_and_the_advice_leads_somewhere(tmp_path):
    folder = tmp_path / "still"
    folder.mkdir()
    for i in range(10, 40):
        cv2.imwrite(str(folder / f"{i}.jpg"), view(0))
    result = prepare(folder, tmp_path / "out", "--fov", 65)
    assert result.exit_code == 1 and "stands still" in result.output and "--min-motion 0" in result.output
    assert prepare(folder, tmp_path / "out", "--fov", 65, "--min-motion", 0).exit_code == 0
    assert len(Clip(tmp_path / "out/train/still")) == 22


def test_one_frame_is_one_sentence(tmp_path):
    folder = write(tmp_path / "one", ["0.png"])
    for source in (folder, folder / "0.png"):
        result = prepare(source, tmp_path / "out", "--fov", 65)
        assert result.exit_code == 1 and result.output.strip().splitlines()[-1].startswith("Error: ")


class Header:
    """OpenCV's capture of a browser's recording: a header that says nonsense, and frames every 50 ms."""

    def __init__(self, count, fps):
        self.facts, self.grabbed = {cv2.CAP_PROP_FRAME_COUNT: count, cv2.CAP_PROP_FPS: fps}, 0

    def get(self, what):
        return 50.0 * self.grabbed if what == cv2.CAP_PROP_POS_MSEC else self.facts[what]

    def grab(self):
        self.grabbed += 1
        return self.grabbed <= 24


@pytest.mark.parametrize(("count", "fps"), [(-9223372036854775808, 1000), (1400, 1000), (0, 0), (24, 0)])
def test_a_header_without_duration_or_rate_is_replaced_by_counting(monkeypatch, count, fps):
    monkeypatch.setattr("cv2.VideoCapture", lambda path: Header(count, fps))
    assert video_facts(Path("a.webm")) == (24, pytest.approx(20))
