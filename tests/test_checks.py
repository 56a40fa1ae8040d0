"""The checks for one's own video: silent on a good clip, one clear sentence on each bad one."""

import cv2
import numpy as np
import pytest

from ssmde_lib.data.checks import check_clip, check_depth, check_exposure, check_motion, suggest_stride
from ssmde_lib.data.intrinsics import guess_intrinsics
from ssmde_lib.data.video import calibrate
from ssmde_lib.errors import UserError
from ssmde_lib.geometry.camera import resize_intrinsics

SIZE = (96, 160)
K = guess_intrinsics(SIZE)


def pan(frames=24, speed=2.0):
    """A textured wall that passes by at `speed` pixels a frame."""
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(0, 255, (SIZE[0], 400, 3), np.uint8), (0, 0), 3)
    wall = cv2.normalize(wall, None, 40, 200, cv2.NORM_MINMAX)
    shifts = [np.float32([[1, 0, -speed * i], [0, 1, 0]]) for i in range(frames)]
    return [cv2.warpAffine(wall, shift, SIZE[::-1]) for shift in shifts]


def brighten(image, gain):
    return np.clip(image * gain, 0, 255).astype(np.uint8)


def test_a_good_clip_passes():
    assert check_clip(pan(), K) == []


@pytest.mark.parametrize(
    ("images", "K", "words"),
    [
        (pan(frames=5), K, "too few frames: 5 pictures"),
        (pan(speed=0.0), K, "the camera stands still"),
        (pan(speed=0.25), K, "use every 4th frame (stride 4)"),
        (pan(), resize_intrinsics(K, SIZE, (192, 320)), "the intrinsics belong to another size"),
        (pan(), resize_intrinsics(K, SIZE, (48, 80)), "that of about 80x48 pixels, the pictures have 160x96"),
        (pan(), np.diag([0.01, 0.01, 1]) @ K + [[0, 0, 79], [0, 0, 47], [0, 0, 0]], "the intrinsics are implausible"),
        ([brighten(image, 1.25 if i % 2 else 1.0) for i, image in enumerate(pan())], K, "the exposure changes by 2"),
    ],
)  # fmt: skip
def test_a_bad_clip_is_told_in_one_sentence(images, K, words):
    (sentence,) = check_clip(images, K)
    assert words in sentence and sentence.endswith((".", "?"))


def test_rolling_bands_are_told_from_a_changing_exposure():
    rows = np.arange(SIZE[0])[:, None, None]
    rolling = [brighten(image, 1 + 0.2 * np.sin(2 * np.pi * (rows / SIZE[0] + i / 3))) for i, image in enumerate(pan())]
    assert check_exposure(rolling).startswith("bands of brightness move")


def test_a_passing_mover_is_no_camera_motion():
    images = [image.copy() for image in pan(speed=0.0)]
    for i, image in enumerate(images):
        image[30:60, 4 * i : 4 * i + 30] = 255
    assert check_motion(images).startswith("the camera stands still")


@pytest.mark.parametrize(("speed", "stride"), [(1.5, 1), (0.55, 2), (0.25, 4), (0.0, None)])
def test_suggested_stride_reaches_the_wanted_motion(speed, stride):
    assert suggest_stride(pan(speed=speed)) == stride


def test_depth_that_shows_nothing():
    ramp = np.tile(np.linspace(2, 40, 160), (96, 1))
    assert check_depth(ramp, 100) == ""
    assert "far end" in check_depth(np.full(SIZE, 99.0), 100)
    assert "nearly constant" in check_depth(np.full(SIZE, 5.0) + 0.01 * ramp, 100)


def board_view(K, rotation, distance, size=(240, 320), square=24):
    """A checkerboard of 8x6 squares seen by a camera K, rendered by its homography.

    Inner corners are the integers 1…7, 1…5.
    """
    board = np.pad(
        255 * (np.indices((6, 8)).sum(0) % 2).repeat(square, 0).repeat(square, 1), 24, constant_values=255
    ).astype(np.uint8)
    to_squares = np.array([[1, 0, 0.5 - 24], [0, 1, 0.5 - 24], [0, 0, square]]) / square
    centre = np.array([[1, 0, -4], [0, 1, -3], [0, 0, 1]])
    R, _ = cv2.Rodrigues(np.array(rotation, float))
    H = K @ np.column_stack([R[:, 0], R[:, 1], [0, 0, distance]]) @ centre @ to_squares
    return cv2.cvtColor(cv2.warpPerspective(board, H, size[::-1], borderValue=255), cv2.COLOR_GRAY2RGB)


TILTS = [(0.5, 0, 0), (-0.5, 0, 0.1), (0, 0.5, 0), (0, -0.5, -0.1), (0.3, 0.3, 0), (-0.3, 0.3, 0.2)]


def test_a_checkerboard_gives_the_camera():
    true = np.array([[300, 0, 164.0], [0, 300, 117], [0, 0, 1]])
    found, error = calibrate([board_view(true, tilt, 11) for tilt in TILTS], (7, 5))
    assert np.abs(found - true).max() < 4 and error < 0.3


def test_a_board_that_is_not_seen_is_told():
    with pytest.raises(UserError, match="is seen in 0 of 6 pictures"):
        calibrate([np.zeros((240, 320, 3), np.uint8)] * 6, (7, 5))
