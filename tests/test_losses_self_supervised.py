"""The base loss against two literal references, its switches, and its gradients at the extremes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import losses as literal
from reference.step import literal_loss

from ssmde_lib.geometry.camera import resize_intrinsics
from ssmde_lib.geometry.motion import inverse, rigid
from ssmde_lib.losses import Losses, self_supervised_loss, upsample

WEIGHTS = Losses(geometry=0.1, smoothness=1e-3)  # those of the literal references


def problem(height=16, width=24, dtype=torch.float64, motion=0.02, batch=2, scales=4):
    """Arguments of self_supervised_loss, with leaves that require gradients: smooth images, so that the auto-mask
    keeps some pixels, with some noise, so that no tie is decided by rounding."""
    generator = torch.Generator().manual_seed(1)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    def image():
        return 0.95 * F.interpolate(rand(batch, 3, 4, 6), (height, width), mode="bilinear") + 0.05 * rand(
            batch, 3, height, width
        )

    images = {name: image() for name in ("tgt", "prev", "next")}
    disparities = [rand(batch, 1, height >> s, width >> s).mul(0.5).add(0.05).requires_grad_() for s in range(scales)]
    depths = [1 / (10 * d + 0.01) for d in upsample(disparities, (height, width))]
    source_depths = {s: (1 / (5 * rand(batch, 1, height, width) + 0.5)).requires_grad_() for s in ("prev", "next")}
    K = torch.tensor([[0.6 * width, 0, 0.48 * width], [0, 1.1 * height, 0.51 * height], [0, 0, 1]], dtype=dtype).repeat(
        batch, 1, 1
    )
    motions = {s: (motion * (rand(batch, 6) - 0.5)).requires_grad_() for s in ("prev", "next")}
    leaves = [*disparities, *source_depths.values(), *motions.values()]
    return (images, disparities, depths, source_depths, K, {s: rigid(m) for s, m in motions.items()}), leaves


@pytest.mark.parametrize("switches", [{}, {"automask": False}, {"self_discovered": False}, {"alpha": 0.5}])
def test_terms_against_the_pixel_by_pixel_reference(switches):
    arguments, _ = problem(scales=2)
    images, _, depths, source_depths, K, T = arguments
    weights = replace(WEIGHTS, photometric=2.0, geometry=0.3, **switches)
    terms = self_supervised_loss(*arguments, weights).terms

    def array(x):
        return x.detach().numpy()

    def group(tgt, depth, sources):
        return [
            (
                array(images[tgt][b]),
                array(depth[b, 0]),
                [(array(images[s][b]), array(d[b, 0]), array(K[b]), array(t[b])) for s, d, t in sources],
            )
            for b in range(2)
        ]

    groups = [group("tgt", depth, [(s, source_depths[s], T[s]) for s in ("prev", "next")]) for depth in depths]
    photometric, geometry = np.mean([literal.photometric_and_geometry(g, **switches) for g in groups], 0)
    assert photometric > 0
    assert terms["photometric"].item() == pytest.approx(2 * photometric, rel=1e-9)
    assert terms["geometry"].item() == pytest.approx(0.3 * geometry, rel=1e-9)


def test_a_coarse_scale_is_compared_with_the_frames_at_its_own_resolution():
    """The mean over a fine and a coarse map is the mean of both alone, the coarse one with halved frames and K."""
    (images, _, depths, source_depths, K, T), _ = problem(scales=1)
    coarse = F.interpolate(depths[0], scale_factor=0.5, mode="nearest")

    def half(x):
        return F.avg_pool2d(x, 2)

    halved = (
        {n: half(i) for n, i in images.items()},
        [1 / coarse],
        [coarse],
        {n: half(d) for n, d in source_depths.items()},
        resize_intrinsics(K, (16, 24), (8, 12)),
        T,
    )
    fine = self_supervised_loss(images, [1 / depths[0]], depths, source_depths, K, T, WEIGHTS).terms
    small = self_supervised_loss(*halved, WEIGHTS).terms
    both = self_supervised_loss(images, [1 / depths[0]], [depths[0], coarse], source_depths, K, T, WEIGHTS).terms
    assert small["photometric"] != fine["photometric"]
    for name in ("photometric", "geometry"):
        assert both[name].item() == pytest.approx((fine[name].item() + small[name].item()) / 2, rel=1e-12)


@pytest.mark.parametrize("with_sources", [True, False])
def test_values_and_gradients_against_the_straightforward_step(with_sources):

    def both(**options):
        arguments, leaves = problem(**options)
        if not with_sources:
            arguments = (*arguments[:3], None, *arguments[4:])
        return (
            self_supervised_loss(*arguments, WEIGHTS).terms,
            literal_loss(*arguments),
            leaves,
        )

    terms, wanted, leaves = both(height=32, width=64)
    assert terms.keys() == wanted.keys()
    got = torch.autograd.grad(sum(terms.values()), leaves, allow_unused=True, retain_graph=True)
    want = torch.autograd.grad(sum(wanted.values()), leaves, allow_unused=True)
    for g, w in zip(got, want, strict=True):
        assert (g is None) == (w is None)
        if g is not None:
            torch.testing.assert_close(g, w, atol=1e-9, rtol=1e-6)
    terms, wanted, _ = both(height=64, width=192, dtype=torch.float32)
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value.item(), abs=1e-5), name


def test_every_term_can_be_switched_off_by_its_weight():
    arguments, _ = problem()
    on = self_supervised_loss(*arguments, WEIGHTS).terms
    for name in on:
        off = self_supervised_loss(*arguments, replace(WEIGHTS, **{name: 0.0})).terms
        assert off.get(name, torch.zeros(())).item() == 0 and on[name].item() > 0
        same = set(on) - {name} - ({"photometric"} if name == "geometry" else set())  # no weighting by consistency then
        assert all(off[other].item() == on[other].item() for other in same)


def test_truth_has_no_photometric_error_and_full_weight():
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    T = rigid(torch.tensor([[0, 0, 0, 2 * 3.0 / 30, 0, 0]]))
    K = torch.tensor([[[30.0, 0, 12], [0, 30, 8], [0, 0, 1]]])
    depth = torch.full((1, 1, 16, 24), 3.0)
    tgt, prev, nxt = image.roll(-2, 3), image, image.roll(-4, 3)  # x moves by +2 to prev, by -2 to next
    sources = {"prev": depth, "next": depth}
    result = self_supervised_loss(
        {"tgt": tgt, "prev": prev, "next": nxt},
        [1 / depth],
        [depth],
        sources,
        K,
        {"prev": T, "next": inverse(T)},
        WEIGHTS,
    )
    assert result.valid.all()
    torch.testing.assert_close(result.weight, torch.ones_like(result.weight))
    assert result.terms["geometry"].item() < 1e-6 and result.terms["smoothness"].item() == 0
    moved = self_supervised_loss(
        {"tgt": tgt, "prev": prev, "next": nxt},
        [1 / depth],
        [1.5 * depth],
        sources,
        K,
        {"prev": T, "next": inverse(T)},
        WEIGHTS,
    )
    assert result.terms["photometric"].item() < 0.1 * moved.terms["photometric"].item()
    assert (moved.weight < 0.85).all()


def test_a_standing_camera_is_masked_out():
    arguments, leaves = problem(motion=0.0)
    images = {name: arguments[0]["tgt"] for name in ("tgt", "prev", "next")}
    terms = self_supervised_loss(images, *arguments[1:], WEIGHTS).terms
    assert terms["photometric"].item() < 1e-6  # rounding may decide a tie, but there is nothing to lose there
    sum(terms.values()).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves if leaf.grad is not None)


@pytest.mark.parametrize("case", ["zero rotation", "constant images", "gap of 100", "nothing visible"])
def test_gradients_are_finite_at_the_extremes(case):
    arguments, leaves = problem(dtype=torch.float32, motion=0.0 if case == "zero rotation" else 0.02)
    images, disparities, depths, source_depths, K, T = arguments
    if case == "constant images":
        images = {name: torch.full_like(image, 0.5) for name, image in images.items()}
    if case == "gap of 100":
        with torch.no_grad():
            for d in disparities:
                d[..., ::2] = 0.0
        depths = [1 / (10 * d + 0.01) for d in upsample(disparities, (16, 24))]
        assert depths[0].max().item() == pytest.approx(100)
    if case == "nothing visible":
        T = {s: t @ rigid(torch.tensor([[0, 0, 0, 0, 0, -1000.0]])) for s, t in T.items()}
    result = self_supervised_loss(images, disparities, depths, source_depths, K, T, WEIGHTS)
    loss = sum(result.terms.values())
    loss.backward()
    assert loss.isfinite() and all(leaf.grad.isfinite().all() for leaf in leaves)
    if case == "zero rotation":
        assert all(
            (leaf.grad != 0).all() for leaf in leaves[-2:]
        )  # rotation and translation are learnt from standstill
    if case == "nothing visible":
        assert result.terms["photometric"].item() == 0 and not result.valid.any()


def test_maps_carry_no_gradient_and_lie_in_0_1():
    arguments, _ = problem()
    result = self_supervised_loss(*arguments, WEIGHTS)
    assert not result.weight.requires_grad and result.weight.min() >= 0 and result.weight.max() <= 1
    assert result.weight.shape == result.valid.shape == (2, 1, 16, 24) and result.valid.dtype == torch.bool
