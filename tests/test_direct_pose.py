"""Direct pose refinement: against true motion of rendered clips, against finite differences, and at its limits."""

import numpy as np
import pytest
import torch

from ssmde_lib.geometry import direct_pose
from ssmde_lib.geometry.camera import backproject
from ssmde_lib.geometry.direct_pose import Problem, jacobian, refine_pose, residuals, slopes, without_exposure
from ssmde_lib.geometry.motion import inverse, rigid
from ssmde_lib.synthetic import render_clip
from ssmde_lib.training.objective import refined_motion

TURN = torch.deg2rad(torch.tensor(0.2))
ERROR = torch.tensor([[0.5, -0.7, 0.5], [-0.7, -0.5, 0.5], [0.6, 0.6, -0.5]]) * TURN  # 0.2 degrees about three axes
STILL = torch.eye(4)[None]


@pytest.fixture(scope="module")
def clip():
    """Images n 3 h w, depth n 1 h w and true motion between neighbours of a street without moving objects."""
    frames = list(render_clip("street", 3, 4, 64, 192, lead=False, oncoming=0, walkers=0))
    images = torch.from_numpy(np.stack([f.rgb for f in frames])).permute(0, 3, 1, 2) / 255
    depth = torch.from_numpy(np.stack([f.depth for f in frames])).float()[:, None]
    world = torch.from_numpy(np.stack([f.T_world_cam for f in frames]))
    T = (inverse(world[1:]) @ world[:-1]).float()
    return images, depth, torch.from_numpy(frames[0].K).float()[None].expand(3, -1, -1), T


def degrees(T, true):
    difference = (inverse(T.double()) @ true.double())[:, :3, :3]
    return torch.rad2deg((difference - difference.mT).norm(dim=(1, 2)) / 8**0.5)  # the sine of a small angle


def disturbed(T):
    return rigid(torch.cat([ERROR, torch.tensor([[0.1, -0.05, 0.2]]).expand(3, -1)], 1)) @ T


def refined(clip, T, images=None, **options):
    own, depth, K, _ = clip
    images = own if images is None else images
    return refine_pose(images[:-1], images[1:], depth[:-1], K, T, **options)


def test_steps_approach_the_true_motion(clip):
    true = clip[3]
    start = disturbed(true)
    errors = [degrees(refined(clip, start, iterations=n), true) for n in range(5)]
    assert errors[0].min() > 0.19
    assert errors[2].max() < 0.05 and errors[4].max() < 0.035
    assert errors[4].mean() < 0.5 * errors[1].mean()
    shift = [(refined(clip, start, iterations=n)[:, :3, 3] - true[:, :3, 3]).norm(dim=1) for n in (0, 4)]
    assert (shift[1] < 0.25 * shift[0]).all(), "the unit of the translation is that of the depth"


def test_a_quarter_of_the_pixels_does_nearly_as_well(clip):
    assert degrees(refined(clip, disturbed(clip[3]), iterations=4, stride=2), clip[3]).max() < 0.04


def test_the_exposure_of_the_source_does_not_matter(clip):
    images, true = clip[0], clip[3]
    exposed = images.clone()
    exposed[1] = 0.85 * images[1] + 0.06
    exposed[3] = 1.1 * images[3] - 0.04
    assert degrees(refined(clip, disturbed(true), exposed, iterations=4), true).max() < 0.05


def test_the_jacobian_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.meshgrid(torch.arange(40.0), torch.arange(24.0), indexing="xy")
    grey = (0.3 + 0.01 * x - 0.02 * y + 5e-4 * x * y).double()[
        None, None
    ]  # bilinear: interpolation and slopes are exact
    K = torch.tensor([[[30.0, 0, 19], [0, 28, 12], [0, 0, 1]]]).double()
    points = backproject(4 + 4 * torch.rand(1, 1, 24, 40, generator=generator).double(), K).flatten(2)
    problem = Problem(
        grey.flatten(1), torch.cat([grey, *slopes(grey)], 1), points, torch.ones(1, 960).double(), K, 0.01
    )
    T = rigid(torch.tensor([[0.02, -0.01, 0.03, 0.1, -0.05, 0.2]]).double())
    found = residuals(problem, T)
    inner = found.valid[0].view(24, 40).clone()
    step = 1e-6
    derivatives = jacobian(found, problem)[0]
    for k, unit in enumerate(torch.eye(6).double()):
        ahead, behind = (residuals(problem, rigid(sign * step * unit[None]) @ T) for sign in (1, -1))
        numeric = (ahead.difference - behind.difference)[0] / (2 * step)
        away = (ahead.moved[0, :2] / ahead.moved[0, 2:]).abs()  # slopes are 0 at the source's border
        counted = inner.flatten() & (away[0] < 15 / 30) & (away[1] < 9 / 28)
        assert counted.sum() > 200
        torch.testing.assert_close(derivatives[k][counted], numeric[counted], atol=1e-6, rtol=1e-5)
    assert torch.equal(derivatives[6:], torch.stack([problem.grey[0], torch.ones(960).double()]))


def test_gain_and_bias_leave_nothing_of_an_exposure():
    grey = torch.rand(2, 500, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(2, 500, generator=torch.Generator().manual_seed(1))
    assert without_exposure(0.2 * grey - 0.1, grey, weight).abs().max() < 1e-6
    assert torch.isfinite(without_exposure(grey, torch.full_like(grey, 0.5), weight)).all()


def test_standing_still_stays(clip):
    images, depth, K, _ = clip
    found = refine_pose(images[:3], images[:3], depth[:3], K, STILL.expand(3, -1, -1), iterations=3)
    torch.testing.assert_close(found, STILL.expand(3, -1, -1), atol=1e-6, rtol=0)


def test_a_pure_rotation_is_found_whatever_the_depth():
    frames = list(render_clip("street", 5, 3, 64, 192, motion="rotate", lead=False, oncoming=0, walkers=0))
    images = torch.from_numpy(np.stack([f.rgb for f in frames])).permute(0, 3, 1, 2) / 255
    world = torch.from_numpy(np.stack([f.T_world_cam for f in frames]))
    true, K = (inverse(world[1:]) @ world[:-1]).float(), torch.from_numpy(frames[0].K).float()[None].expand(2, -1, -1)
    wrong = torch.from_numpy(np.stack([f.depth for f in frames[:-1]])).float()[:, None].clamp(max=100).sqrt()
    found = refine_pose(
        images[:-1], images[1:], wrong, K, rigid(torch.cat([ERROR[:2], torch.zeros(2, 3)], 1)) @ true, iterations=6
    )
    assert degrees(found, true).max() < 0.06
    assert found[:, :3, 3].norm(dim=1).max() < 0.05


def test_unreliable_pixels_do_not_count(clip):
    images, true = clip[0].clone(), clip[3]
    images[1:, :, 20:50, 60:130] = images[0, :, 10:40, 20:90]  # something else, where a moving object would be
    reliable = torch.ones(3, 1, 64, 192)
    reliable[:, :, 17:53, 55:135] = 0
    masked, all_pixels = (
        degrees(refined(clip, disturbed(true), images, iterations=4, weight=w), true) for w in (reliable, None)
    )
    assert masked.max() < 0.06 and masked.mean() < 0.5 * all_pixels.mean()
    once, sevenfold = (refined(clip, disturbed(true), images, weight=factor * reliable) for factor in (1, 7))
    torch.testing.assert_close(sevenfold, once, atol=1e-4, rtol=0)  # only the ratios of weights count


def test_pixels_without_depth_do_not_count(clip):
    images, depth, K, true = clip
    holed, weight = depth[:-1].clone(), torch.ones(3, 1, 64, 192)
    for column, value in enumerate((0.0, torch.nan, torch.inf, -1.0)):
        holed[..., 30 * column : 30 * column + 8] = value
        weight[..., 30 * column : 30 * column + 8] = 0
    found = refine_pose(images[:-1], images[1:], holed, K, disturbed(true), iterations=3)
    torch.testing.assert_close(
        found, refine_pose(images[:-1], images[1:], depth[:-1], K, disturbed(true), iterations=3, weight=weight)
    )


@pytest.mark.parametrize("case", ["no weight", "no depth", "no picture", "behind", "not finite"])
def test_the_given_pose_is_kept_where_nothing_determines_it(clip, case):
    images, depth, K, true = clip
    tgt, src, depth, weight, T = images[:-1], images[1:], depth[:-1], None, disturbed(true)
    match case:
        case "no weight":
            weight = torch.zeros_like(depth)
        case "no depth":
            depth = torch.zeros_like(depth)
        case "no picture":
            tgt, src = torch.full_like(tgt, 0.5), torch.full_like(src, 0.5)
        case "behind":
            T = T.clone()
            T[:, 2, 3] = -1e4
        case "not finite":
            src = torch.full_like(src, torch.nan)
    assert torch.equal(refine_pose(tgt, src, depth, K, T, iterations=3, weight=weight), T)


def test_steps_that_make_it_worse_are_taken_back(clip, monkeypatch):
    monkeypatch.setattr(direct_pose, "gauss_newton_step", lambda *_: torch.cat([ERROR, torch.zeros(3, 3)], 1))
    assert torch.equal(refined(clip, clip[3], iterations=3), clip[3])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pictures_and_autocast(clip, dtype):
    images, depth, K, true = clip
    T = disturbed(true)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = refine_pose(images[:-1].to(dtype), images[1:].to(dtype), depth[:-1].to(dtype), K, T, iterations=4)
    assert found.dtype == torch.float32
    assert degrees(found, true).max() < (
        0.04 if dtype == torch.float16 else 0.08
    )  # bfloat16 keeps 8 bits of a grey value


def test_a_batch_is_what_its_items_are_and_calls_repeat(clip):
    images, depth, K, true = clip
    T = disturbed(true)
    together = refined(clip, T, iterations=3)
    assert torch.equal(together, refined(clip, T, iterations=3))
    for i in range(3):
        alone = refine_pose(images[[i]], images[[i + 1]], depth[[i]], K[[i]], T[[i]], iterations=3)
        torch.testing.assert_close(alone, together[[i]], atol=2e-5, rtol=0)


def test_no_step_and_no_gradient(clip):
    images, depth, K, true = clip
    T = true.clone().requires_grad_()
    assert refined(clip, T, iterations=0) is T
    assert not refine_pose(
        images[:-1], images[1:], depth[:-1].clone().requires_grad_(), K, T, iterations=1
    ).requires_grad


def test_training_takes_the_refined_value_and_the_networks_gradient(clip):
    images, depth, K, true = clip
    network = disturbed(true)[1:].requires_grad_()  # frame 1 to 2 and, for the shape, 2 to 3
    frames = {"tgt": images[1:2], "prev": images[1:2], "next": images[2:3]}
    T = {"prev": STILL, "next": network[:1]}
    found = refined_motion(T, frames, depth[1:2], K[:1], 3)
    expected = refine_pose(images[1:2], images[2:3], depth[1:2], K[:1], network[:1].detach(), iterations=3, stride=2)
    torch.testing.assert_close(found["next"].detach(), expected, atol=1e-5, rtol=0)
    assert found["prev"].allclose(STILL, atol=1e-5)
    found["next"][0, :3, 3].sum().backward()
    assert network.grad[0].abs().sum() > 0
