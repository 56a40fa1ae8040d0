"""Truth and pseudo-depth are read with their unit, or refused by name; the evaluation says what it could not match."""

import json

import cv2
import numpy as np
import pytest
from test_cases_frames import write
from test_cli import fails, ssmde, weights  # noqa: F401

from ssmde_lib.data.images import tell_once
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.triplets import Triplets
from ssmde_lib.errors import UserError

SLOPE = (np.linspace(2, 40, 64)[:, None] * np.ones((1, 96)) * 256).astype(np.uint16)  # 2 to 40 m


@pytest.fixture
def clip(tmp_path):
    tell_once.cache_clear()
    folder = write(tmp_path / "clip", [f"{i:06d}.png" for i in range(4)])
    np.savetxt(folder / "cam.txt", [[80, 0, 47.5], [0, 80, 31.5], [0, 0, 1]])
    (folder / "clip.json").write_text(json.dumps({"depth_png_units_per_metre": 256}))
    write_depth(folder, SLOPE)
    return folder


def write_depth(folder, depth, names=("000000", "000001", "000002", "000003")):
    (folder / "depth").mkdir(exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), depth)


def evaluation(clip, weights):  # noqa: F811
    return "evaluate", "--weights", weights, "--data", clip, "--protocol", "kitti", "--no-baselines"


def test_right_truth_is_read_in_metres(clip):
    np.testing.assert_allclose(Clip(clip).depth(0)[[0, -1], 0], [2, 40])


WRONG = {
    "8 bits": ((SLOPE / 256).astype(np.uint8), "one channel of uint8, not depth in 16 bits"),
    "colours": (cv2.applyColorMap((SLOPE / 256).astype(np.uint8), 2), "3 channels .coloured for viewing.. of uint8"),
    "16-bit colours": (np.dstack([SLOPE] * 3), "3 channels"),
    "portrait": (np.ascontiguousarray(SLOPE.T), "64x96|its frame 96x64"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_truth_is_refused_by_name(clip, weights, name):  # noqa: F811
    depth, said = WRONG[name]
    write_depth(clip, depth)
    with pytest.raises(UserError, match=said) as error:
        Clip(clip).depth(0)
    assert "depth/000000.png" in error.value.message
    assert "depth/000000.png" in fails(*evaluation(clip, weights))


@pytest.mark.parametrize(
    ("units", "said"),
    [(0.5, "median depth of"), (65535000, "write it there"), ("256", "write it there"), (None, "write it there")],
)
def test_a_unit_that_cannot_be_is_refused(clip, units, said):
    (clip / "clip.json").write_text(json.dumps({"depth_png_units_per_metre": units}))
    with pytest.raises(UserError, match=said):
        Clip(clip).depth(0)


def test_empty_truth_is_told_as_such(clip, weights):  # noqa: F811
    write_depth(clip, SLOPE * 0)
    assert "hold nothing between" in fails(*evaluation(clip, weights))


def test_truth_that_matches_no_frame_is_named(clip, weights):  # noqa: F811
    for path in sorted((clip / "depth").iterdir()):
        path.rename(path.with_name(path.name[1:]))
    code, output = ssmde(*evaluation(clip, weights))
    assert code == 1 and "no frame has a depth map of its name" in output
    assert "4 of 4 depth maps are named like no frame (00000.png; the frames: 000000.png to 000003.png)" in output


def test_part_of_the_truth_is_evaluated_and_the_rest_named(clip, weights):  # noqa: F811
    write_depth(clip, SLOPE, ("7", "8"))
    code, output = ssmde(*evaluation(clip, weights))
    assert code == 0 and "2 of 6 depth maps are named like no frame" in output


def test_without_cam_txt_it_is_evaluated_and_said(clip, weights):  # noqa: F811
    (clip / "cam.txt").unlink()
    code, output = ssmde(*evaluation(clip, weights))
    assert code == 0 and "no cam.txt" in output


PSEUDO = {
    "colours": (cv2.applyColorMap((SLOPE / 256).astype(np.uint8), 2), "3 channels"),
    "8 bits": ((SLOPE / 256).astype(np.uint8), "of uint8"),
    "another size": (cv2.resize(SLOPE, (48, 32)), "has 48x32 pixels, its frame 96x64"),
    "zeros": (SLOPE * 0, "same value, 0, everywhere"),
    "one value": (SLOPE * 0 + 9, "same value, 9, everywhere"),
}


@pytest.mark.parametrize("name", PSEUDO)
def test_unusable_maps_of_a_prior_are_refused_by_name(clip, tmp_path, name):
    maps = tmp_path / "maps" / "clip"
    maps.mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(maps / f"{i:06d}.png"), SLOPE)
    assert len(Triplets([Clip(clip)], pseudo=tmp_path / "maps")) == 2
    cv2.imwrite(str(maps / "000002.png"), PSEUDO[name][0])
    with pytest.raises(UserError, match=rf"maps/clip/000002\.png .*{PSEUDO[name][1]}"):
        Triplets([Clip(clip)], pseudo=tmp_path / "maps")
