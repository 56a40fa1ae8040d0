"""The evaluator: protocols against slow literal references, and the traps that published code fell into."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from reference.evaluation import evaluate_literally

from ssmde_lib.data.layout import Clip
from ssmde_lib.errors import UserError
from ssmde_lib.evaluation import (
    PROTOCOLS,
    Protocol,
    Results,
    Sample,
    comparison_table,
    evaluate,
    evaluate_image,
    get_protocol,
    paired_difference,
)
from ssmde_lib.evaluation.evaluator import resize_depth

PLAIN = Protocol("plain", 0.1, 80.0, (0.1, 10.0, 80.0))


def sample(
    seed: int = 0, clip: str = "a", dynamic_mask: np.ndarray | None = None, size: tuple[int, int] = (24, 40)
) -> Sample:
    rng = np.random.default_rng(seed)
    gt = rng.uniform(1, 60, size).astype(np.float32)
    pred = (gt * np.exp(rng.normal(0, 0.3, size)) / 20).astype(np.float32)
    return Sample(clip, f"{seed:06d}", pred, gt, dynamic_mask)


def tracklet_mask(size=(24, 40)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[5:12, 8:20] = 3
    return mask


def write_clip(
    folder, frames: int = 4, size: tuple[int, int] = (24, 40), dynamic_mask: bool = True, seed: int = 0
) -> Clip:
    rng = np.random.default_rng(seed)
    for sub in ("depth", "movers"):
        (folder / sub).mkdir(parents=True)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i:06d}.png"), rng.integers(0, 255, (*size, 3), np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{i:06d}.png"), rng.integers(256, 60 * 256, size, np.uint16))
        if dynamic_mask:
            cv2.imwrite(str(folder / "movers" / f"{i:06d}.png"), tracklet_mask(size) * (i % 2))
    np.savetxt(folder / "cam.txt", np.eye(3))
    (folder / "clip.json").write_text(json.dumps({"depth_png_units_per_metre": 256}))
    return Clip(folder)


# ---- protocols -------------------------------------------------------------------------------------------------------


def test_kitti_crop_is_the_published_rectangle():
    valid = get_protocol("kitti").valid(np.full((375, 1242), 5.0))
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (153, 371, 44, 1197)


def test_nyu_crop_is_the_published_rectangle():
    valid = get_protocol("nyu").valid(np.full((480, 640), 5.0))
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (45, 471, 41, 601)


@pytest.mark.parametrize(
    ("name", "max_depth"), [("embedded", 80), ("kitti", 80), ("nyu", 10), ("ddad", 200), ("bonn", 10), ("tum", 10)]
)
def test_depth_ranges(name, max_depth):
    protocol = PROTOCOLS[name]
    gt = np.full((480, 640), 0.0)
    gt[240, 300:305] = [0.1, 0.11, max_depth - 0.01, max_depth, np.inf]
    assert protocol.valid(gt)[240, 300:305].tolist() == [False, True, True, False, False]
    assert (protocol.depth_bins[0], protocol.depth_bins[-1]) == (protocol.min_depth, protocol.max_depth)


def test_bad_protocols_are_refused():
    with pytest.raises(UserError, match="kitti"):
        get_protocol("kity")
    with pytest.raises(UserError, match="median"):
        replace(PLAIN, alignment="mean")
    with pytest.raises(UserError, match="range"):
        replace(PLAIN, min_depth=0.0)


# ---- one image -------------------------------------------------------------------------------------------------------


def test_against_a_literal_reference():
    s = sample(dynamic_mask=tracklet_mask())
    record = evaluate_image(s, PLAIN)
    ratio = np.median(s.gt.astype(float)) / np.median(s.pred.astype(float))
    for region, keep in {"all": lambda m: True, "static": lambda m: m == 0, "dynamic": lambda m: m > 0}.items():
        absolute, squared, logs, inside = [], [], [], []
        for p, g, m in zip(
            s.pred.ravel().tolist(), s.gt.ravel().tolist(), s.dynamic_mask.ravel().tolist(), strict=True
        ):
            if not keep(m):
                continue
            d = min(max(p * ratio, 0.1), 80.0)
            absolute.append(abs(d - g) / g)
            squared.append((d - g) ** 2 / g)
            logs.append((np.log(d) - np.log(g)) ** 2)
            inside.append(max(d / g, g / d) < 1.25)
        found = record["regions"][region]
        assert found["pixels"] == len(absolute)
        assert found["abs_rel"] == pytest.approx(np.mean(absolute))
        assert found["sq_rel"] == pytest.approx(np.mean(squared))
        assert found["rmse_log"] == pytest.approx(np.mean(logs) ** 0.5)
        assert found["d1"] == pytest.approx(np.mean(inside))


def test_alignment_comes_before_the_clamp():
    s = sample()
    s.pred = s.gt / 1000  # all below min_depth until it is scaled
    assert evaluate_image(s, PLAIN)["regions"]["all"]["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_the_clamp_comes_after_the_alignment():
    s = Sample("a", "0", np.array([[1, 1, 1, 500.0]]), np.array([[10.0, 10, 10, 40]]))
    errors = evaluate_image(s, PLAIN)["regions"]["all"]
    assert errors["abs_rel"] == pytest.approx(1 / 4)  # 5000 m clamped to 80 m: relative error 1 on one pixel of four


def test_truth_beyond_the_range_does_not_touch_the_scale():
    s = sample()
    far = Sample(s.clip, s.frame, s.pred, s.gt.copy())
    far.gt[:, :10] = 500.0
    cut = Sample(s.clip, s.frame, s.pred[:, 10:], s.gt[:, 10:])
    assert evaluate_image(far, PLAIN)["scale"] == evaluate_image(cut, PLAIN)["scale"]


def test_regions_share_one_scale():
    s = sample(dynamic_mask=tracklet_mask())
    s.pred = s.gt.copy()
    s.pred[s.dynamic_mask > 0] *= 2  # a scale of its own would hide this
    regions = evaluate_image(s, replace(PLAIN, max_depth=1000.0))["regions"]
    scale = np.median(s.gt) / np.median(s.pred)
    assert regions["dynamic"]["abs_rel"] == pytest.approx(abs(2 * scale - 1))
    assert regions["static"]["abs_rel"] == pytest.approx(abs(scale - 1))


def test_pixels_of_the_regions_add_up():
    regions = evaluate_image(sample(dynamic_mask=tracklet_mask()), PLAIN)["regions"]
    assert regions["static"]["pixels"] + regions["dynamic"]["pixels"] == regions["all"]["pixels"]


def test_prediction_is_resized_to_the_truth():
    s = sample()
    s.gt = np.full((48, 80), 7.0, np.float32)
    s.pred = np.full((24, 40), 0.3, np.float32)
    assert evaluate_image(s, PLAIN)["regions"]["all"]["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_resize_keeps_pixel_centres():
    ramp = np.tile(np.arange(40, dtype=np.float32) + 1, (24, 1))
    wide = resize_depth(ramp, (24, 80))
    expected = (np.arange(80) + 0.5) / 2 - 0.5 + 1
    np.testing.assert_allclose(wide[0, 1:-1], expected[1:-1], rtol=1e-6)
    np.testing.assert_allclose(resize_depth(1 / ramp, (24, 80), inverse=True)[0, 1:-1], 1 / expected[1:-1], rtol=1e-5)


def test_depth_bins_average_their_own_pixels():
    s = Sample("a", "0", np.array([[2.0, 4, 20, 60]]), np.array([[2.0, 5, 20, 40]]))
    bins = evaluate_image(s, replace(PLAIN, alignment="none"))["bins"]
    assert bins == pytest.approx({"0.1-10 m": 0.1, "10-80 m": 0.25})


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_impossible_predictions_are_refused(value):
    s = sample()
    s.pred[3, 4] = value
    with pytest.raises(UserError, match="000000 of a"):
        evaluate([s], PLAIN)


# ---- many images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kitti", "nyu", "ddad"])
def test_whole_protocols_against_a_literal_loop(name):
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            "drive",
            str(i),
            rng.uniform(0.05, 2, (48, 160)).astype(np.float32),
            rng.uniform(0, 100, (120, 400)).astype(np.float32),
        )
        for i in range(3)
    ]
    expected = evaluate_literally(samples, get_protocol(name))
    found = evaluate(samples, get_protocol(name)).summary()["all"]
    assert {metric: found[metric] for metric in expected} == pytest.approx(expected, rel=1e-6)


def test_summary_is_the_mean_of_image_figures_not_of_pixels():
    near, far = sample(0), sample(1, size=(48, 80))
    results = evaluate([near, far], PLAIN)
    rmse = [r["regions"]["all"]["rmse"] for r in results.records]
    assert results.summary()["all"]["rmse"] == pytest.approx(np.mean(rmse))


def test_masks_do_not_count_images_twice():
    with_masks = evaluate([sample(i, dynamic_mask=tracklet_mask()) for i in range(4)], PLAIN).summary()["all"]
    assert with_masks == evaluate([sample(i) for i in range(4)], PLAIN).summary()["all"]
    assert with_masks["images"] == 4


def test_dynamic_is_averaged_over_images_that_show_movers():
    empty = np.zeros((24, 40), np.uint8)
    results = evaluate(
        [sample(0, dynamic_mask=tracklet_mask()), sample(1, dynamic_mask=empty), sample(2, dynamic_mask=empty)], PLAIN
    )
    summary = results.summary()
    assert {region: summary[region]["images"] for region in summary} == {"all": 3, "static": 3, "dynamic": 1}
    assert summary["dynamic"]["abs_rel"] == results.records[0]["regions"]["dynamic"]["abs_rel"]
    assert np.isfinite(list(summary["dynamic"].values())).all()


def test_all_masks_empty_means_no_dynamic_row():
    results = evaluate([sample(0, dynamic_mask=np.zeros((24, 40), np.uint8))], PLAIN)
    assert results.regions() == ["all", "static"]
    assert "dynamic" not in results.table()


def test_an_image_that_comes_twice_is_refused():
    with pytest.raises(UserError, match="twice"):
        evaluate([sample(0), sample(0)], PLAIN)


def test_images_without_truth_are_left_out_and_none_at_all_is_refused():
    blind = sample(1)
    blind.gt[:] = 0
    assert len(evaluate([sample(0), blind], PLAIN).records) == 1
    with pytest.raises(UserError, match="hold nothing between"):
        evaluate([blind], PLAIN)


def test_intervals_resample_clips():
    samples = [sample(i, clip=f"clip{i // 3}") for i in range(12)]
    results = evaluate(samples, PLAIN)
    low, high = results.intervals()["all"]["abs_rel"]
    by_clip = [np.mean([r["regions"]["all"]["abs_rel"] for r in results.records[k : k + 3]]) for k in range(0, 12, 3)]
    assert min(by_clip) <= low < np.mean(by_clip) < high <= max(by_clip)
    assert results.intervals() == results.intervals()
    assert evaluate(samples[:3], PLAIN).intervals() is None


def test_identical_frames_of_a_clip_do_not_narrow_the_interval():
    def repeated(times: int) -> Results:
        samples = [sample(seed, clip=f"clip{seed}") for seed in range(4) for _ in range(times)]
        for i, s in enumerate(samples):
            s.frame = str(i)
        return evaluate(samples, PLAIN)

    np.testing.assert_allclose(repeated(1).intervals()["all"]["rmse"], repeated(20).intervals()["all"]["rmse"])


def test_paired_difference_sees_what_single_intervals_hide():
    def predictor(noise: float) -> Results:
        samples = [sample(i, clip=f"clip{i}") for i in range(6)]
        for i, s in enumerate(samples):
            s.pred = s.gt * np.exp((1 + i + noise) * 0.05 * np.random.default_rng(i).normal(size=s.gt.shape))
        return evaluate(samples, PLAIN)

    better, worse = predictor(0.0), predictor(0.3)
    assert better.intervals()["all"]["abs_rel"][1] > worse.intervals()["all"]["abs_rel"][0]  # they overlap
    found = paired_difference(worse, better)
    assert found["interval"][0] > 0 and found["interval"][0] < found["difference"] < found["interval"][1]
    with pytest.raises(UserError, match="different images"):
        paired_difference(worse, evaluate([sample(0)], PLAIN))


def test_json_round_trip_and_tables(tmp_path):
    results = evaluate(
        [sample(i, clip=f"clip{i}", dynamic_mask=tracklet_mask()) for i in range(3)],
        replace(get_protocol("kitti"), crop=None),
    )
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results.to_json(), allow_nan=False))
    again = Results.from_json(path)
    assert (again.summary(), again.protocol, again.table()) == (results.summary(), results.protocol, results.table())
    assert results.table().count("\n") == 4
    table = comparison_table({"ours": results, "again": again}, "dynamic")
    assert table.splitlines()[2].startswith(f"| ours | {results.summary()['dynamic']['abs_rel']:.3f}")
    with pytest.raises(UserError, match="missing"):
        Results.from_json(tmp_path / "none.json")
