"""Metrics: closed forms, properties, and torchmetrics as an oracle where it fits."""

import numpy as np
import pytest

from ssmde_lib.errors import UserError
from ssmde_lib.metrics import (
    ALIGNMENTS,
    ERRORS,
    METRICS,
    align,
    depth_edges,
    depth_errors,
    edge_errors,
    fit_alignment,
    order_accuracy,
)

RNG = np.random.default_rng(0)


@pytest.fixture
def truth():
    return RNG.uniform(1, 50, (40, 60))


@pytest.fixture
def noisy(truth):
    return truth * np.exp(RNG.normal(0, 0.2, truth.shape))


def test_twice_the_depth_has_closed_forms(truth):
    errors = depth_errors(2 * truth, truth)
    assert errors["abs_rel"] == pytest.approx(1)
    assert errors["sq_rel"] == pytest.approx(truth.mean())  # Eigen's variant; the KITTI server's would be 1
    assert errors["rmse"] == pytest.approx(np.sqrt((truth**2).mean()))
    assert errors["rmse_log"] == pytest.approx(np.log(2))
    assert errors["log10"] == pytest.approx(np.log10(2))
    assert (errors["d1"], errors["d2"], errors["d3"]) == (0, 0, 0)


def test_accuracies_count_strictly_within_powers_of_a_quarter_more():
    gt = np.ones(4)
    errors = depth_errors(np.array([1.2, 1 / 1.5, 1.9, 1 / 2.1]), gt)
    assert (errors["d1"], errors["d2"], errors["d3"]) == (0.25, 0.5, 0.75)


def test_perfect_prediction(truth):
    assert depth_errors(truth, truth) == {m: (0.0 if m in ERRORS else 1.0) for m in METRICS}


def test_only_masked_pixels_count(truth, noisy):
    mask = RNG.random(truth.shape) < 0.3
    spoiled = np.where(mask, noisy, np.nan)
    assert depth_errors(spoiled, truth, mask) == depth_errors(noisy[mask], truth[mask])


def test_float32_inputs_are_measured_in_float64():
    gt = np.full(10**6, 80, np.float32)
    assert depth_errors(gt + np.float32(1 / 64), gt)["abs_rel"] == pytest.approx(1 / 64 / 80, rel=1e-12)


def test_no_valid_pixel_is_refused(truth):
    with pytest.raises(UserError, match="no valid pixel"):
        depth_errors(truth, truth, np.zeros(truth.shape, bool))


@pytest.mark.parametrize("factor", [0.01, 3.0, 1e4])
def test_median_alignment_makes_errors_blind_to_scale(truth, noisy, factor):
    one = depth_errors(align(noisy, truth), truth)
    other = depth_errors(align(factor * noisy, truth), truth)
    assert other == pytest.approx(one, rel=1e-9)


def test_least_squares_undoes_an_affine_change_of_depth(truth):
    np.testing.assert_allclose(align(0.1 * truth + 3, truth, kind="least_squares"), truth, rtol=1e-9)


def test_inverse_least_squares_undoes_an_affine_change_of_inverse_depth(truth):
    np.testing.assert_allclose(align(1 / (5 / truth + 0.2), truth, kind="least_squares_inverse"), truth, rtol=1e-9)


def test_inverse_alignment_beyond_infinity_is_infinite():
    gt = np.array([1.0, 2, 4, 8])
    pred = 1 / (1 / gt + 0.2)
    alignment = fit_alignment(pred, gt, kind="least_squares_inverse")
    assert alignment.shift == pytest.approx(-0.2)
    assert np.isinf(alignment(np.array([10.0])))[0]  # inverse depth 0.1 - 0.2


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_alignment_is_fitted_on_masked_pixels_only(truth, noisy, kind):
    mask = RNG.random(truth.shape) < 0.5
    spoiled = np.where(mask, truth, 1e6)
    expected = fit_alignment(noisy[mask], truth[mask], kind=kind)
    assert fit_alignment(noisy, spoiled, mask, kind) == expected


def test_least_squares_is_the_best_affine_map(truth, noisy):
    alignment = fit_alignment(noisy, truth, kind="least_squares")
    best = np.polyfit(noisy.ravel(), truth.ravel(), 1)
    assert (alignment.scale, alignment.shift) == pytest.approx(tuple(best))


def test_constant_prediction_becomes_the_mean(truth):
    np.testing.assert_allclose(align(np.ones_like(truth), truth, kind="least_squares"), truth.mean())


def test_unknown_alignment_names_the_choices(truth):
    with pytest.raises(UserError, match="least_squares_inverse"):
        align(truth, truth, kind="mean")


def test_errors_grow_with_the_error(truth):
    direction = RNG.normal(0, 0.1, truth.shape)
    steps = [depth_errors(truth * np.exp(s * direction), truth) for s in (0, 0.5, 1, 2, 4)]
    for metric in METRICS:
        values = [step[metric] for step in steps]
        ordered = values if metric in ERRORS else values[::-1]
        assert ordered == sorted(ordered) and values[0] != values[-1], metric


def test_against_torchmetrics(truth, noisy):
    torch = pytest.importorskip("torch")
    regression = pytest.importorskip("torchmetrics.functional.regression")
    p, t = torch.from_numpy(noisy.ravel()), torch.from_numpy(truth.ravel())
    errors = depth_errors(noisy, truth)
    assert errors["abs_rel"] == pytest.approx(regression.mean_absolute_percentage_error(p, t).item())
    assert errors["rmse"] == pytest.approx(regression.mean_squared_error(p, t, squared=False).item())
    assert errors["rmse_log"] == pytest.approx(regression.mean_squared_error(p.log(), t.log(), squared=False).item())
    assert errors["log10"] == pytest.approx(regression.mean_absolute_error(p.log10(), t.log10()).item())


def test_order_accuracy_of_truth_reverse_and_tie(truth):
    assert order_accuracy(truth, truth) == 1
    assert order_accuracy(7 * truth**3, truth) == 1  # only the order matters
    assert order_accuracy(-truth, truth) == 0
    assert order_accuracy(np.ones_like(truth), truth) == 0


def test_order_accuracy_can_hold_one_end_on_movers():
    gt = np.where(np.arange(100) < 50, 1.0, 4.0)
    pred = gt.copy()
    dynamic_mask = np.zeros(100, bool)
    dynamic_mask[:5] = True
    pred[:5] = 9  # every confident pair with a mover is wrong, the others are right
    assert order_accuracy(pred, gt, first=dynamic_mask) == 0
    assert 0.8 < order_accuracy(pred, gt) < 0.95


def test_order_accuracy_without_confident_pairs_is_nan():
    assert np.isnan(order_accuracy(np.ones(9), np.ones(9)))
    assert np.isnan(order_accuracy(np.ones(9), np.arange(1.0, 10), first=np.zeros(9, bool)))


def step_map(column: int, near: float = 2.0, far: float = 10.0) -> np.ndarray:
    depth = np.full((40, 80), near, np.float32)
    depth[:, column:] = far
    return depth


def test_depth_edges_are_thin_and_blind_to_scale():
    edges = depth_edges(step_map(30))
    columns = np.flatnonzero(edges.any(0))
    assert set(columns) <= {29, 30} and edges[5:-5].sum(1).max() == 1
    np.testing.assert_array_equal(edges, depth_edges(1000 * step_map(30)))
    assert not depth_edges(step_map(30, 2.0, 2.1)).any()


def test_edge_errors_measure_the_shift_of_an_edge():
    gt, everywhere = step_map(30), np.ones((40, 80), bool)
    assert edge_errors(gt, gt, everywhere) == {"edge_accuracy": 0, "edge_completeness": 0}
    assert edge_errors(step_map(34), gt, everywhere) == {"edge_accuracy": 4, "edge_completeness": 4}
    assert edge_errors(np.ones_like(gt), gt, everywhere) == {"edge_accuracy": 10, "edge_completeness": 10}
    assert edge_errors(gt, np.ones_like(gt), everywhere) is None


def test_the_border_of_the_measurement_is_no_edge():
    gt = np.ones((40, 80))
    mask = np.ones_like(gt, bool)
    mask[:, 30:] = False
    gt[~mask] = 0
    assert edge_errors(np.ones_like(gt), gt, mask) is None
