"""The multi-view mask filter against literal references and in scenes whose answer is known."""

import numpy as np
import pytest
import torch
from reference import losses as literal

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.motion import rigid
from ssmde_lib.labels.filters import (
    ALIKE,
    KINDS,
    choose_labels,
    filter_mask,
    prior_depth_mask,
    prior_order_mask,
    reprojection_error,
)

K = torch.tensor([[[20.0, 0, 9.5], [0, 20, 5.5], [0, 0, 1]]], dtype=torch.float64)
MOTION = rigid(torch.tensor([[0.01, -0.02, 0.01, 0.1, 0.0, -0.3]], dtype=torch.float64))


def random_map(seed, height=12, width=20, batch=1):
    return (
        torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4 + 1
    )


def test_error_against_the_literal_reference():
    depth, source = random_map(0), random_map(1)
    error, valid = reprojection_error(depth, source, K, MOTION)
    want = literal.reprojection_error(depth[0, 0].numpy(), source[0, 0].numpy(), K[0].numpy(), MOTION[0].numpy())
    np.testing.assert_allclose(error[0, 0].numpy(), want, atol=1e-10)
    assert 0 < valid.double().mean() < 1


def test_a_static_wall_is_consistent_and_a_mover_is_not():
    forward = rigid(torch.tensor([[0, 0, 0, 0, 0, -0.5]], dtype=torch.float64))
    wall, nearer = (
        torch.full((1, 1, 12, 20), 5.0, dtype=torch.float64),
        torch.full((1, 1, 12, 20), 4.5, dtype=torch.float64),
    )
    error, valid = reprojection_error(wall, nearer, K, forward)
    assert error[valid].max() < 1e-9
    nearer[..., 4:8, 8:12] = 2.5  # came a further two metres closer by itself
    error, _ = reprojection_error(wall, nearer, K, forward)
    assert error[..., 5:7, 9:11].min() > 0.3 and error[..., :2, :4].max() < 1e-9


def test_mask_keeps_what_one_neighbour_confirms():
    first = torch.tensor([0.1, 0.5, 0.5, 0.0, 0.01]).view(1, 1, 1, 5)
    second = torch.tensor([0.5, 0.02, 0.4, 0.0, 0.0]).view(1, 1, 1, 5)
    valids = [
        torch.tensor([1, 1, 1, 0, 1]).bool().view(1, 1, 1, 5),
        torch.tensor([1, 1, 1, 0, 0]).bool().view(1, 1, 1, 5),
    ]
    assert filter_mask([first, second], valids, 0.2).flatten().tolist() == [True, True, False, False, True]
    # smallest valid errors: .1 .02 .4 - .01, their mean .1325
    assert filter_mask((first, second), valids).flatten().tolist() == [True, True, False, False, True]
    assert filter_mask((first, second), valids, 0.05).flatten().tolist() == [False, True, False, False, True]


def test_mean_threshold_is_each_images_own():
    error = torch.tensor([[0.1, 0.3], [1.0, 3.0]]).view(2, 1, 1, 2)
    valid = torch.ones_like(error, dtype=torch.bool)
    assert filter_mask([error], [valid]).flatten(1).tolist() == [[True, False], [True, False]]
    assert not filter_mask([error], [~valid]).any()


@pytest.mark.parametrize("threshold", ["median", 0.0, -1.0])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(UserError, match="threshold"):
        filter_mask([random_map(0)], [random_map(0) > 0], threshold)


def test_extension_against_the_literal_reference():
    depth, relative = random_map(0, batch=2), random_map(1, batch=2)
    relative = 0.7 * depth + 0.3 * relative  # a prior that is mostly right
    mask = random_map(2, batch=2) > 3.5
    assert mask.flatten(1).sum(1).max() <= 256
    got = prior_order_mask(mask, depth, relative)
    for m, d, r, g in zip(mask, depth, relative, got, strict=True):
        want = literal.prior_confirms(*(x.flatten().numpy() for x in (m, d, r)))
        np.testing.assert_array_equal(g.flatten().numpy(), want | m.flatten().numpy())
    assert mask.sum() < got.sum() < got.numel()


def test_extension_accepts_a_right_mover_and_rejects_a_hole():
    depth = torch.linspace(20, 2, 40).view(1, 1, 40, 1).expand(1, 1, 40, 60).contiguous()  # a road, near at the bottom
    mover = torch.zeros_like(depth, dtype=torch.bool)
    mover[..., 10:20, 20:30] = True
    truth = depth.masked_fill(mover, 6.0)
    prior = 0.3 * truth  # affine-ambiguous: only a scale here
    kept = ~mover
    assert prior_order_mask(kept, truth, prior)[mover].all()
    assert not prior_order_mask(kept, truth.masked_fill(mover, 100.0), prior)[mover].any()
    torch.testing.assert_close(prior_order_mask(kept, truth, 50 * prior), prior_order_mask(kept, truth, prior))


def test_nothing_kept_confirms_nothing():
    nothing = torch.zeros(1, 1, 12, 20, dtype=torch.bool)
    assert not prior_order_mask(nothing, random_map(0), random_map(0)).any()


def test_the_agreed_mask_drops_the_hole_that_the_views_confirm():
    truth = 1 + random_map(1).abs()
    mover = torch.zeros_like(truth, dtype=torch.bool)
    mover[:, :, 4:8, 4:8] = True
    kept = torch.rand(truth.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    holed = truth.masked_fill(mover, 100.0)
    assert torch.equal(prior_depth_mask(kept, holed, 0.01 * truth), kept & ~mover), "whatever the prior's unit"
    assert torch.equal(prior_depth_mask(kept, truth, 0.01 * truth * (0.99 * ALIKE) ** mover.double()), kept), (
        "nearly alike is alike"
    )
    nothing = torch.zeros_like(kept)
    assert not prior_depth_mask(nothing, holed, truth).any()


def test_where_the_views_reject_the_nearer_witness_speaks():
    """A hole in the depth is filled; a prior that is further, and pixels that the views keep, change nothing."""
    truth = torch.linspace(4, 40, 12).expand(1, 1, 8, 12).clone()
    rejected = torch.zeros_like(truth, dtype=torch.bool)
    rejected[..., 2:5, 3:6] = True
    holed, timid = (truth.where(~rejected, factor * truth) for factor in (5.0, 0.5))
    for depth, expected in ((holed, truth), (timid, timid)):
        label, mask = choose_labels("min_depth", ~rejected, depth, 0.01 * truth)
        assert mask.all()
        torch.testing.assert_close(label, expected)
    torch.testing.assert_close(choose_labels("min_depth", ~rejected, truth, 0.01 * holed)[0], truth)
    assert torch.equal(choose_labels("min_depth", ~rejected, holed, truth.flip(3))[0][~rejected], truth[~rejected])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_filter_gives_labels_and_a_mask(kind):
    depth = torch.linspace(2.0, 5.0, 24).reshape(1, 1, 4, 6)
    plain = torch.arange(24).reshape(1, 1, 4, 6) % 3 > 0
    label, mask = choose_labels(kind, plain, depth, 0.01 * depth)
    assert label.shape == mask.shape == depth.shape and mask.dtype == torch.bool
    if kind == "none":
        assert mask.all() and torch.equal(label, depth)
