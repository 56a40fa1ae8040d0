"""Labels from many views: in rendered clips whose depth is known, and part by part against answers known by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssmde_lib.errors import UserError
from ssmde_lib.geometry.direct_pose import refine_pose
from ssmde_lib.geometry.motion import compose, inverse, rigid
from ssmde_lib.labels import multi_view
from ssmde_lib.labels.multi_view import (
    COARSE,
    REACH,
    bound_by_prior,
    box,
    chain_motions,
    cost_of_joining,
    depths_tried,
    fuse,
    join,
    label_clip,
    pairs_of,
    settled_motion,
    sharpest_minimum,
)
from ssmde_lib.synthetic import render_clip

QUIET = {"lead": False, "oncoming": 0, "walkers": 0}


def rendered(frames=7, height=64, width=192, seed=3, **options):
    """Images, true depth (the sky at 200 m), true motion to the next frame, K and masks of moving objects."""
    shots = list(render_clip("street", seed, frames, height, width, **options))
    images = torch.from_numpy(np.stack([f.rgb for f in shots])).permute(0, 3, 1, 2) / 255
    depth = torch.from_numpy(np.stack([f.depth for f in shots])).float()[:, None].clamp(max=200)
    world = torch.from_numpy(np.stack([f.T_world_cam for f in shots]))
    T = (inverse(world[1:]) @ world[:-1]).float()
    return (
        images,
        depth,
        T,
        torch.from_numpy(shots[0].K).float()[None],
        torch.from_numpy(np.stack([f.dynamic_mask for f in shots]))[:, None] > 0,
    )


def waves(like, amplitude, length):
    """A smooth error of log depth."""
    y, x = torch.meshgrid(*(torch.arange(n) / like.shape[-1] for n in like.shape[-2:]), indexing="ij")
    return amplitude * torch.sin(2 * math.pi * x / length + 1) * torch.cos(2 * math.pi * y / length)


def error(depth, truth):
    """Mean absolute log error below 80 m, after each image's median."""
    ratio = torch.where(truth < 80, (depth / truth).log(), torch.nan)
    return (ratio - ratio.flatten(1).nanmedian(1).values.view(-1, 1, 1, 1)).abs().nanmean().item()


@pytest.fixture(scope="module")
def street():
    return rendered(**QUIET)


def test_many_views_correct_the_network_and_its_motion(street):
    images, truth, T, K, _ = street
    network, prior = truth * waves(truth, 0.3, 0.5).exp(), truth * waves(truth, -0.25, 0.9).exp()
    wrong = rigid(torch.tensor([[0.001, -0.0015, 0.001, 0.03, 0.0, 0.05]])) @ T
    labels = label_clip(images, network, wrong, K, 0.01 * prior)
    assert error(labels.depth, truth) < 0.6 * min(error(network, truth), error((network * prior).sqrt(), truth))
    assert labels.mask.float().mean() > 0.95 and (labels.parallax > 1).all()
    sure = labels.confidence > 0.7
    assert error(labels.depth.where(sure, truth), truth) < error(labels.depth, truth)
    again = label_clip(images, network, wrong, K, 7 * prior)
    alike = torch.isclose(again.depth, labels.depth, rtol=2e-2, atol=1e-3)
    assert alike.float().mean() > 0.9999, "the prior's unit does not matter"


def test_only_a_motion_that_is_far_off_is_refined_to_its_end(street):
    images, truth, T, K, _ = street
    grey, depth = images.mean(1, keepdim=True)[:4], truth[:4] * waves(truth, 0.3, 0.5).exp()
    near, far = (rigid(torch.tensor([[0.0, angle, 0.0, 0.0, 0.0, 0.0]])) for angle in (0.001, 0.03))
    start = torch.cat([near, far, near]) @ T[:3]
    tgt, src, depth, K = grey[:-1], grey[1:], depth[:-1], K.expand(3, -1, -1)
    once = refine_pose(tgt, src, depth, K, start, iterations=3, stride=2)
    found = settled_motion(tgt, src, depth, K, start)
    assert torch.allclose(found[[0, 2]], once[[0, 2]], atol=1e-6), "these stay, or would fit the errors of the depth"

    def angle_off(pose):
        trace = (T[1] @ inverse(pose[1:2])[0])[:3, :3].diagonal().sum()
        return math.degrees(math.acos(min(1.0, float(trace - 1) / 2)))

    assert angle_off(found) < 0.1 < 0.5 < angle_off(once)


def test_a_label_depends_on_no_frames_out_of_reach():
    images, truth, T, K, _ = rendered(2 * REACH + 5, 64, 96, **QUIET)
    network, prior = truth * waves(truth, 0.3, 0.5).exp(), truth * waves(truth, -0.25, 0.9).exp()
    whole, part = (
        label_clip(images[frames], network[frames], T[frames], K, prior[frames])
        for frames in (slice(None), slice(2, -2))
    )
    middle = REACH + 2
    torch.testing.assert_close(part.depth[middle - 2], whole.depth[middle], rtol=1e-3, atol=0)
    assert torch.equal(part.mask[middle - 2], whole.mask[middle])


def test_labels_of_larger_pictures_are_larger_and_better():
    images, truth, T, K, _ = rendered(5, 128, 384, **QUIET)
    small = F.interpolate(truth, (64, 192), mode="nearest")
    network, prior = small * waves(small, 0.3, 0.5).exp(), small * waves(small, -0.25, 0.9).exp()
    labels = label_clip(images, network, T, K, prior)
    assert labels.depth.shape == truth.shape == labels.mask.shape
    shrunk = multi_view.resize_intrinsics(K, (128, 384), (64, 192))
    at_size = label_clip(F.interpolate(images, (64, 192), mode="area"), network, T, shrunk, prior)
    assert error(labels.depth, truth) < error(multi_view.resize(at_size.depth, (128, 384)), truth)
    with pytest.raises(UserError, match="larger pictures"):
        label_clip(F.interpolate(images, (32, 96), mode="area"), network, T, K, prior)


def test_moving_objects_stay_near_the_prior():
    images, truth, T, K, dynamic = rendered(9, seed=11, lead=True, oncoming=1, walkers=0)
    assert dynamic.float().mean() > 0.01
    network = truth * torch.where(dynamic, 2.5, 1.0)  # the hole that self-supervision leaves
    labels = label_clip(images, network, T, K, truth)
    ratio = (labels.depth / truth)[dynamic]
    assert ratio.log().abs().mean() < 0.5 * math.log(2.5)
    assert error(labels.depth.where(~dynamic, truth), truth) < 0.1


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_clips_shorter_than_the_views_have_labels(frames):
    images, truth, T, K, _ = rendered(frames, **QUIET)
    labels = label_clip(images, truth, T, K, truth)
    assert labels.depth.shape == truth.shape and labels.depth.isfinite().all()
    if frames == 1:
        assert torch.equal(labels.depth, truth) and labels.mask.all() and not labels.parallax.any()
    else:
        assert error(labels.depth, truth) < 0.1


def test_a_static_camera_leaves_the_networks_depth():
    images, truth, T, K, _ = rendered(4, motion="static", lead=False, oncoming=1, walkers=1)
    network = truth * waves(truth, 0.3, 0.5).exp()
    labels = label_clip(images, network, T, K, truth)
    assert torch.equal(labels.depth, network) and labels.mask.all() and not labels.confidence.any()
    assert (labels.parallax < multi_view.PARALLAX).all()


def test_batches_of_frames_change_nothing(street, monkeypatch):
    images, truth, T, K, _ = street
    whole = label_clip(images, truth, T, K, truth)
    assert torch.equal(whole.depth, label_clip(images, truth, T, K, truth).depth)
    monkeypatch.setattr(multi_view, "BATCH_PIXELS", 2 * 64 * 192)
    torch.testing.assert_close(label_clip(images, truth, T, K, truth).depth, whole.depth, rtol=2e-2, atol=1e-3)


def test_chained_motions_are_compositions():
    T = rigid(torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.1)  # 10 frames
    motions = chain_motions(T, 1)
    assert {d: len(m) for d, m in motions.items()} == {d: 10 - abs(d) for k in (1, 2, 4, 8) for d in (k, -k)}
    torch.testing.assert_close(motions[4][2:3].double(), compose(*T[[5, 4, 3, 2]].split(1)), atol=1e-6, rtol=0)
    torch.testing.assert_close(motions[-2][3:4].double(), inverse(compose(*T[[4, 3]].split(1))), atol=1e-6, rtol=0)
    strided = chain_motions(T[:-1], 2)  # from frame i to i + 2
    assert {d: len(m) for d, m in strided.items()} == {d: 10 - abs(d) for k in (2, 4, 8) for d in (k, -k)}
    torch.testing.assert_close(strided[4][0:1].double(), compose(*T[[2, 0]].split(1)), atol=1e-6, rtol=0)
    assert chain_motions(T[:0], 1) == {}


def test_pairs_lie_inside_of_the_clip():
    frames = torch.arange(10)
    for distance in (-8, -1, 1, 4):
        motions, found = torch.arange(10 - abs(distance)) + max(0, -distance), []  # named by the frame they start from
        for batch in (range(0, 4), range(4, 8), range(8, 10)):
            pairs = pairs_of(batch, distance, 10)
            own = frames[pairs.frames]
            assert torch.equal(own, torch.tensor(batch)[pairs.inside]) and torch.equal(own, motions[pairs.motions])
            assert torch.equal(own + distance, frames[pairs.neighbours])
            found += own.tolist()
        assert found == [i for i in range(10) if 0 <= i + distance < 10]


def test_a_parabola_has_its_minimum_found_between_hypotheses():
    factors = depths_tried(*COARSE)
    places = factors.log()
    minima = torch.tensor([[-0.31, 0.0, 0.123], [0.4, 0.07, -0.2]])[None, None]
    cost = 0.7 * (places.view(1, -1, 1, 1) - minima).square() + 0.1
    change, curvature = sharpest_minimum(cost, factors)
    torch.testing.assert_close(change, minima, atol=1e-5, rtol=0)
    assert (curvature > 0).all() and curvature.std() < 1e-5
    assert not sharpest_minimum(torch.full_like(cost, 0.3), factors)[1].any(), "a flat cost says nothing"


def test_depth_stays_where_the_views_say_nothing():
    depth = torch.full((1, 1, 20, 30), 5.0)
    change, curvature = torch.full_like(depth, 0.3), torch.zeros_like(depth)
    curvature[..., 20:] = 1.0
    fused, confidence = fuse(depth, change, curvature)
    assert torch.equal(fused[..., :16], depth[..., :16]) and not confidence[..., :16].any()
    assert (fused[..., 24:] > 5 * math.exp(0.26)).all() and (fused <= 5 * math.exp(0.3)).all()


def test_the_prior_bounds_where_the_views_are_not_confident():
    truth = torch.linspace(30, 5, 64).view(1, 1, 64, 1).expand(1, 1, 64, 192).clone()
    prior, confidence = 0.1 * truth, torch.full_like(truth, 0.8)  # the prior has a scale of its own
    prior[..., 130:] *= 1.3  # and is wrong where the views are confident
    depth = truth.clone()
    ahead, oncoming = np.s_[..., 20:36, 40:56], np.s_[..., 30:46, 70:86]
    depth[ahead], depth[oncoming] = 90.0, 2.0
    confidence[ahead] = confidence[oncoming] = 0.1
    ratio = bound_by_prior(depth, prior, confidence) / truth
    inner = np.s_[..., 4:-4, 4:-4]
    assert ratio[ahead][inner].max() <= 1.06 and ratio[oncoming][inner].min() >= 0.86
    assert (ratio[..., 140:] == 1).all(), "what the views are sure of stays"
    torch.testing.assert_close(bound_by_prior(depth, 7 * prior, confidence) / truth, ratio)


def test_unsupported_pixels_are_masked(street):
    """Where pictures show nothing, the frames disagree and the prior is far away, there is no label."""
    images, truth, T, K, _ = street
    blank, network = images.clone(), truth.clone()
    blank[:, :, 20:44, 60:100] = 0.5
    generator = torch.Generator().manual_seed(0)
    network[:, :, 20:44, 60:100] *= (3 * torch.rand(len(truth), 1, 24, 40, generator=generator) - 1.5).exp()
    mask = label_clip(blank, network, T, K, truth).mask
    assert mask[:, :, 26:38, 70:90].float().mean() < 0.8 < mask[:, :, 50:].float().mean()


def test_box_is_the_mean_of_the_window():
    x = torch.rand(1, 2, 9, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(box(x, 2)[0, 1, 4, 6], x[0, 1, 2:7, 4:9].mean())
    torch.testing.assert_close(box(x, 1)[0, 0, 0, 0], F.pad(x, (1, 1, 1, 1), mode="replicate")[0, 0, :3, :3].mean())


def test_a_second_network_is_believed_where_both_agree():
    teacher = torch.full((2, 1, 4, 6), 10.0)
    static = torch.full_like(teacher, 5.5)  # in a unit of its own, 1.1 times as far
    static[..., :2] = 5.0  # the median, hence the unit, is 5.5
    static[..., -1] = 500.0  # the hole of a car at the camera's speed
    joined = join(teacher, static)
    assert torch.allclose(joined[..., 2:-1], teacher[..., 2:-1])
    assert torch.allclose(joined[..., :2], torch.tensor(10 / 1.1))
    assert torch.equal(joined[..., -1], teacher[..., -1])


def test_the_views_say_which_of_two_networks_is_better(street):
    images, truth, T, K, _ = street
    wrong = truth * waves(truth, 0.15, 0.5).exp()
    assert cost_of_joining(images, wrong, 3 * truth, T, K) < -1e-3
    assert cost_of_joining(images, truth, 3 * wrong, T, K) > 1e-3
    assert cost_of_joining(images, truth, truth, T, K) == 0


def test_two_networks_are_not_compared_without_parallax():
    images, truth, T, K, _ = rendered(1, **QUIET)
    assert cost_of_joining(images, truth, truth * waves(truth, 0.1, 0.5).exp(), T, K) == 0
