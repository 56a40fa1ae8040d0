"""The prior's losses against literal references, their linearity in the pixel weight, and their extreme gradients."""

import numpy as np
import pytest
import torch
from reference import losses as literal

from ssmde_lib import losses
from ssmde_lib.losses.prior import draw_pairs

K = torch.tensor([[20.0, 0, 11.5], [0, 20, 7.5], [0, 0, 1]], dtype=torch.float64).repeat(2, 1, 1)


def generator():
    return torch.Generator().manual_seed(3)


def maps(dtype=torch.float64, height=16, width=24):
    g = torch.Generator().manual_seed(0)
    depth, relative = torch.rand(2, 2, 1, height, width, generator=g, dtype=dtype) * 2 + 0.5
    return depth.requires_grad_(), relative


def image():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def smooth_relative():
    """Two slanted walls that meet without a jump: an edge of the normals, not of the depth."""
    x = torch.arange(24, dtype=torch.float64)
    return (5 - 0.1 * (x - 12).abs()).expand(2, 1, 16, 24).clone()


LOSSES = {
    "ranking": lambda d, r, w=None: losses.ranking_loss(
        d, r, generator(), torch.linspace(0, 1, d.numel(), dtype=d.dtype).view_as(d), w
    ),
    "normal": lambda d, r, w=None: losses.normal_loss(d, r, K.to(d), w),
    "edge normal": lambda d, r, w=None: losses.edge_normal_loss(d, r, image().to(d), K.to(d), generator(), w),
    "ssi": losses.ssi_loss,
    "log ratio": losses.log_ratio_loss,
}


def arguments(name):
    """Depth and relative depth; noise has depth edges everywhere, which the edge-aware loss leaves out."""
    depth, relative = maps()
    return depth, smooth_relative() if name == "edge normal" else relative


def array(x):
    return x.detach().flatten(1).numpy()


@pytest.mark.parametrize("with_reliability", [False, True])
def test_ranking_against_the_literal_reference(with_reliability):
    depth, relative = maps()
    reliability = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(7)) if with_reliability else None
    weight = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    pairs = draw_pairs(2, 16 * 24, reliability, generator(), torch.device("cpu")).numpy()
    for w in (None, weight):
        want = literal.ranking(array(depth), array(relative), pairs, None if w is None else array(w))
        assert losses.ranking_loss(depth, relative, generator(), reliability, w).item() == pytest.approx(want, rel=1e-9)


def test_pairs_join_each_unreliable_pixel_with_a_reliable_one():
    reliability = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(7))
    a, b = draw_pairs(2, 384, reliability, generator(), torch.device("cpu"))[:, :, 38:]
    flat = reliability.flatten(1)
    threshold = flat.quantile(0.2, 1, keepdim=True)
    assert a.shape == (2, 77) and all(len(row.unique()) == 77 for row in a)
    assert (flat.gather(1, a) <= threshold + 1e-3).all() and (flat.gather(1, b) >= threshold - 1e-3).all()


def test_ranking_does_not_overflow_and_still_pulls_at_a_gap_of_100():
    relative = torch.linspace(1, 10, 64).view(1, 1, 8, 8)
    depth = (100.1 - 100 * (relative > 5).float()).requires_grad_()  # the order is the wrong way round
    loss = losses.ranking_loss(depth, relative, generator())
    loss.backward()
    assert 1 < loss.item() < 100 and depth.grad.isfinite().all()
    assert depth.grad[relative > 5].sum() < 0 < depth.grad[relative < 5].sum()  # descent restores the order


def test_ranking_without_a_confident_pair_is_zero():
    depth, relative = maps()
    loss = losses.ranking_loss(depth, torch.ones_like(relative), generator())
    loss.backward()
    assert loss.item() == 0 and (depth.grad == 0).all()


def test_normal_loss_against_the_literal_reference():
    depth, relative = maps()
    want = np.mean([abs(literal.normals(d[0], k) - literal.normals(r[0], k)).mean()
                    for d, r, k in zip(depth.detach().numpy(), relative.numpy(), K.numpy(), strict=True)])  # fmt: skip
    assert losses.normal_loss(depth, relative, K).item() == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("relative", [smooth_relative(), maps()[1]], ids=["two walls", "noise"])
def test_edge_normal_loss_against_the_literal_reference(relative):
    depth, weight = maps()[0], torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    g, draws = generator(), []
    for _ in range(2):
        draws.append(
            (torch.randint(384, (2, 38), generator=g).numpy(), torch.randint(3, 20, (4, 2, 38), generator=g).numpy())
        )
    for w in (None, weight):
        arguments = [x.detach().numpy() for x in (depth[:, 0], relative[:, 0], image(), K)]
        want = literal.edge_normal(*arguments, draws, None if w is None else w[:, 0].numpy())
        assert losses.edge_normal_loss(depth, relative, image(), K, generator(), w).item() == pytest.approx(
            want, rel=1e-6
        )
    if relative[0, 0, 0, 0] == relative[1, 0, 0, 0]:
        assert want > 0


def test_ssi_against_the_literal_reference_and_invariance():
    depth, relative = maps()
    assert losses.ssi_loss(depth, relative).item() == pytest.approx(
        literal.ssi(array(depth), array(relative)), rel=1e-9
    )
    assert losses.ssi_loss(3 * relative + 2, relative).item() == pytest.approx(0, abs=1e-9)
    assert losses.ssi_loss(depth, 0.1 * relative + 7).item() == pytest.approx(
        losses.ssi_loss(depth, relative).item(), rel=1e-6
    )


def test_log_ratio_against_the_literal_reference():
    depth, relative = maps()
    weight = torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    for w in (None, weight):
        want = literal.log_ratio(array(depth), array(relative), None if w is None else array(w))
        assert losses.log_ratio_loss(depth, relative, w).item() == pytest.approx(want, rel=1e-9)


def test_the_ceiling_counts_what_runs_away_and_nothing_else():
    relative = torch.full((1, 1, 8, 8), 4.0, dtype=torch.float64)
    depth = 3 * relative  # the scale is free
    depth[..., 0, :4] /= 2  # too near is allowed
    depth[..., 1, :4] *= 1.2  # so is a little too far
    assert losses.ceiling_loss(depth, relative).item() == 0
    depth[..., 2, :4] *= 2.5  # a hole, twice what is allowed
    depth.requires_grad_()
    loss = losses.ceiling_loss(depth, relative)
    loss.backward()
    assert loss.item() == pytest.approx(4 / 64 * np.log(2), rel=1e-9)
    assert (depth.grad[..., 2, :4] > 0).all() and depth.grad[..., 0, :].abs().max() == 0


@pytest.mark.parametrize("name", ["ranking", "normal", "edge normal", "log ratio"])
def test_a_scaled_truth_costs_least(name):
    relative = smooth_relative()
    wrong = maps()[0].detach()
    if name != "ranking":
        assert LOSSES[name](3 * relative, relative).item() == pytest.approx(0, abs=1e-9)
    assert LOSSES[name](3 * relative, relative).item() < LOSSES[name](wrong, relative).item()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_the_regions_add_up(name):
    depth, relative = arguments(name)
    region = losses.dynamic_pixels(torch.rand(2, 1, 16, 24, generator=torch.Generator().manual_seed(2)))
    whole, static, dynamic = (LOSSES[name](depth, relative, w).item() for w in (None, ~region, region))
    assert min(static, dynamic) > 0 and static + dynamic == pytest.approx(whole, rel=1e-9)
    assert LOSSES[name](depth, relative, 0.3 * (~region).double() + region).item() == pytest.approx(
        0.3 * static + dynamic, rel=1e-9
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["constant depth", "constant prior", "gap of 100", "nothing selected"])
def test_gradients_are_finite_at_the_extremes(name, case):
    depth, relative = (x.detach().float() for x in arguments(name))
    weight = torch.zeros_like(depth) if case == "nothing selected" else None
    if case == "constant depth":
        depth = torch.full_like(depth, 0.1)
    if case == "constant prior":
        relative = torch.ones_like(relative)
    if case == "gap of 100":
        depth[..., ::2] = 100.0
    depth.requires_grad_()
    loss = LOSSES[name](depth, relative, weight)
    loss.backward()
    assert loss.isfinite() and depth.grad.isfinite().all() and depth.grad.abs().max() < 1e3
    if weight is not None:
        assert loss.item() == 0 and (depth.grad == 0).all()


def test_dynamic_pixels_are_the_least_consistent_ones():
    weight = torch.rand(3, 1, 10, 20, generator=torch.Generator().manual_seed(2))
    dynamic = losses.dynamic_pixels(weight, 0.2)
    assert (dynamic.flatten(1).sum(1) == 40).all()
    assert all(w[m].max() < w[~m].min() for w, m in zip(weight, dynamic, strict=True))


def test_draws_are_a_function_of_the_generator():
    before = torch.random.get_rng_state()
    for name in ("ranking", "edge normal"):
        assert LOSSES[name](*arguments(name)).item() == LOSSES[name](*arguments(name)).item() > 0
    assert torch.equal(before, torch.random.get_rng_state())
