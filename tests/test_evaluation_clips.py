"""The evaluation of clips: which frames and which truth count, the predictors without learning."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from test_evaluation import PLAIN, write_clip

from ssmde_lib.errors import UserError
from ssmde_lib.evaluation import Sample, constant, evaluate, evaluate_clips, training_median


def test_evaluate_clips_equals_evaluate(tmp_path):
    clips = [write_clip(tmp_path / name, seed=k) for k, name in enumerate("ab")]

    def predict(images: np.ndarray) -> np.ndarray:
        return images.mean(-1, dtype=np.float32) + 1

    found = evaluate_clips(predict, clips, PLAIN, batch=3)
    samples = [
        Sample(
            f"{c.path.parts[-3]}/{c.path.parts[-2]}/{c.name}",
            c.stem(i),
            predict(c.image(i)[None])[0],
            c.depth(i),
            c.dynamic_mask(i),
        )
        for c in clips
        for i in range(len(c))
    ]
    assert found == evaluate(samples, PLAIN)
    assert found.summary()["dynamic"]["images"] == 4


def test_flip_average_mirrors_back(tmp_path):
    clip = write_clip(tmp_path / "a")

    def symmetric(images: np.ndarray) -> np.ndarray:
        return images.mean(-1, dtype=np.float32) + 1

    def lopsided(images: np.ndarray) -> np.ndarray:
        return symmetric(images) + np.arange(images.shape[2], dtype=np.float32)

    flipped = replace(PLAIN, flip_average=True)
    assert evaluate_clips(symmetric, [clip], flipped).records == evaluate_clips(symmetric, [clip], PLAIN).records
    levelled = evaluate_clips(lambda images: symmetric(images) + (images.shape[2] - 1) / 2, [clip], PLAIN)
    found = evaluate_clips(lopsided, [clip], flipped)
    assert found.summary()["all"] == pytest.approx(levelled.summary()["all"], rel=1e-5)


def test_frames_without_depth_are_left_out(tmp_path):
    clip = write_clip(tmp_path / "a")
    (clip.path / "depth" / "000001.png").unlink()
    assert [r["frame"] for r in evaluate_clips(constant, [clip], PLAIN).records] == ["000000", "000002", "000003"]


def test_truth_at_full_resolution_comes_first(tmp_path):
    clip = write_clip(tmp_path / "a", frames=2)
    (clip.path / "gt_depth").mkdir()
    full = np.random.default_rng(1).integers(256, 60 * 256, (48, 80), np.uint16)
    cv2.imwrite(str(clip.path / "gt_depth" / "000000.png"), full)
    records = evaluate_clips(constant, [clip], PLAIN).records
    assert [record["regions"]["all"]["pixels"] for record in records] == [48 * 80, 24 * 40]
    assert records[0]["scale"] == pytest.approx(np.median(full) / 256)


def test_only_listed_targets_count(tmp_path):
    clip = write_clip(tmp_path / "a", frames=5)
    (clip.path / "clip.json").write_text(json.dumps({"depth_png_units_per_metre": 256, "targets": [1, 4]}))
    records = evaluate_clips(constant, [clip], PLAIN, batch=1).records
    assert [record["frame"] for record in records] == ["000001", "000004"]


def test_constant_is_the_image_median(tmp_path):
    clip = write_clip(tmp_path / "a", frames=1)
    gt = clip.depth(0).astype(float)
    expected = np.mean(np.abs(np.median(gt) - gt) / gt)
    assert evaluate_clips(constant, [clip], PLAIN).summary()["all"]["abs_rel"] == pytest.approx(expected)


def test_training_median_ignores_missing_measurements(tmp_path):
    clip = write_clip(tmp_path / "a", frames=3, size=(2, 3))
    maps = np.array([[[2, 0, 0], [4, 4, 4]], [[4, 8, 0], [4, 4, 4]], [[6, 0, 0], [4, 4, 4]]], np.uint16) * 256
    for i, depth in enumerate(maps):
        cv2.imwrite(str(clip.path / "depth" / f"{i:06d}.png"), depth)
    found = training_median([clip])(np.zeros((5, 2, 3, 3), np.uint8))
    assert found.shape == (5, 2, 3)
    np.testing.assert_array_equal(found[4], [[4, 8, 4], [4, 4, 4]])


def test_training_median_needs_depth(tmp_path):
    clip = write_clip(tmp_path / "a", frames=1)
    (clip.path / "depth" / "000000.png").unlink()
    with pytest.raises(UserError, match="depth"):
        training_median([clip])
