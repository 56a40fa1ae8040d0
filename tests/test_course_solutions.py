"""The bank's solutions are the library's functions, written in NumPy."""

import numpy as np
import pytest
import torch

from ssmde_lib.course import spoiled_clips
from ssmde_lib.course.bank import load_bank
from ssmde_lib.course.bank.nb04 import my_slope
from ssmde_lib.course.bank.nb09 import evaluation_case
from ssmde_lib.course.material import parallax_loss, random_pose
from ssmde_lib.data.intrinsics import guess_intrinsics
from ssmde_lib.geometry.camera import backproject, resize_intrinsics
from ssmde_lib.geometry.motion import compose, inverse
from ssmde_lib.geometry.warp import reproject, sample
from ssmde_lib.labels.filters import filter_mask
from ssmde_lib.losses import distillation_loss
from ssmde_lib.losses.forgetting import forgetting_factor
from ssmde_lib.metrics import depth_errors, fit_alignment
from ssmde_lib.networks.depth_net import DepthNet

BANK = load_bank()


def solution(number):
    return BANK[number].solution


def tensor(array):
    return torch.from_numpy(np.asarray(array, np.float64))


def test_geometry():
    depth, K = BANK["03.1"].visible[0]
    ours = backproject(tensor(depth)[None, None], tensor(K)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(solution("03.1")(depth, K), ours)
    np.testing.assert_allclose(solution("01.3")(K, 0.5), resize_intrinsics(K, (40, 60), (20, 30)))
    assert solution("10.1")(640, 65.0) == pytest.approx(guess_intrinsics((64, 640), 65.0)[0, 0])
    T_world_a, T_world_b, T_c_b = (tensor(random_pose(i))[None] for i in range(3))
    ours = compose(compose(inverse(T_world_a), T_world_b), inverse(T_c_b))
    np.testing.assert_allclose(
        solution("00.3")(*(T[0].numpy() for T in (T_world_a, T_world_b, T_c_b))), ours[0], atol=1e-9
    )


def test_sampling_and_validity():
    image, x, y = BANK["03.4"].visible[0]
    position = torch.tensor([[[[x]], [[y]]]], dtype=torch.float64)
    assert solution("03.4")(image, x, y) == pytest.approx(float(sample(tensor(image)[None, None], position)))
    source, points, K, T_src_tgt = BANK["03.5"].visible[0]
    depth = points[..., 2]
    pixels, _, valid = reproject(tensor(depth)[None, None], tensor(K)[None], tensor(T_src_tgt)[None])
    nearest = pixels[0].round().numpy().astype(int)
    rows, columns = np.clip(nearest[1], 0, depth.shape[0] - 1), np.clip(nearest[0], 0, depth.shape[1] - 1)
    assert np.array_equal(solution("03.5")(source, points, K, T_src_tgt), source[rows, columns])
    moved = points.reshape(-1, 3) @ T_src_tgt[:3, :3].T + T_src_tgt[:3, 3]
    assert np.array_equal(solution("03.2")(moved, K, depth.shape), valid.flatten().numpy())


def test_losses_and_their_gradients():
    student, teacher, mask = BANK["08.2"].visible[0]
    log_student = tensor(np.log(student)).requires_grad_()
    arguments = tensor(teacher)[None, None], torch.from_numpy(mask)[None, None]
    ours = distillation_loss(log_student.exp()[None, None], *arguments, "silog")
    (slope,) = torch.autograd.grad(ours, log_student)
    np.testing.assert_allclose(solution("08.3")(student, teacher, mask), slope.numpy(), atol=1e-6)
    assert abs(solution("08.3")(student, teacher, mask).sum()) < 1e-9
    odd = mask.copy()
    odd.flat[0] ^= mask.sum() % 2 == 0  # torch's median of an even number is the lower one
    ours = distillation_loss(
        tensor(student)[None, None], tensor(teacher)[None, None], torch.from_numpy(odd)[None, None], "log_l1"
    )
    assert solution("08.2")(student, teacher, odd) == pytest.approx(float(ours), rel=1e-4)
    a = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    order = np.array([1.0, -1.0])
    value = torch.log1p(torch.exp(-10 * tensor(order) * a)) / 10
    mine = solution("06.3")(a.detach().numpy(), np.zeros(2), order)
    np.testing.assert_allclose(mine[0], value.detach().numpy())
    np.testing.assert_allclose(mine[1], torch.autograd.grad(value.sum(), a)[0].numpy())
    log_depth = torch.tensor(np.log(20.0), requires_grad=True)
    (slope,) = torch.autograd.grad((40 / log_depth.exp() - 5) ** 2, log_depth)
    assert my_slope(parallax_loss, 20.0, 1e-4) == pytest.approx(float(slope), rel=1e-4)


def test_schedule_mask_and_disparity():
    assert solution("06.2")(0.25 + 0.75 * 0.4) == pytest.approx(forgetting_factor(0.4))
    assert forgetting_factor(0.2, "exponential", solution("06.1")(0.5, 0.2)) == pytest.approx(0.5)
    errors, tau = BANK["07.1"].visible[1]
    views = [tensor(each)[None, None] for each in errors]
    ours = filter_mask([view.nan_to_num(posinf=9) for view in views], [view.isfinite() for view in views], tau)
    assert np.array_equal(solution("07.1")(errors, tau), ours[0, 0].numpy())
    net = DepthNet(width=8, min_depth=0.1, max_depth=100.0)
    disparity = torch.linspace(0, 1, 5)
    np.testing.assert_allclose(solution("00.2")(net.depth(disparity).numpy(), 0.1, 100.0), disparity.numpy(), atol=1e-4)


def test_alignment_and_metrics():
    z, d = BANK["02.2"].visible[1]
    fitted = fit_alignment(z, d, kind="least_squares")
    np.testing.assert_allclose(solution("02.2")(z, d), (fitted.scale, fitted.shift), rtol=1e-5)
    pred, gt = BANK["09.1"].visible[0]
    assert solution("09.1")(pred, gt) == pytest.approx(depth_errors(pred, gt)["d1"])
    pred, gt, nearest, farthest = evaluation_case(0, 0.1)
    mask = (gt >= nearest) & (gt <= farthest)
    aligned = np.clip(fit_alignment(pred, gt, mask)(pred), nearest, farthest)
    assert solution("09.2")(pred, gt, nearest, farthest) == pytest.approx(depth_errors(aligned, gt, mask)["abs_rel"])


def test_spoiled_clips_have_the_faults_that_the_quiz_asks_for():
    from ssmde_lib.geometry.warp import synthesize

    def error(pair):
        image = tensor(pair.b).permute(2, 0, 1)[None]
        warp = synthesize(image, tensor(pair.depth)[None, None], tensor(pair.K)[None], tensor(pair.T_b_a)[None])
        judged = warp.valid[0, 0].numpy() & (pair.depth < 100)
        return float(np.abs(warp.image[0].permute(1, 2, 0).numpy() - pair.a).mean(-1)[judged].mean())

    pairs = spoiled_clips()
    errors = {name: error(pair) for name, pair in pairs.items()}
    assert min(errors, key=errors.get) == "B"
    repaired = {
        "A": pairs["A"]._replace(depth=10 * pairs["A"].depth),
        "C": pairs["C"]._replace(T_b_a=np.linalg.inv(pairs["C"].T_b_a)),
        "E": pairs["E"]._replace(K=np.diag([0.5, 0.5, 1]) @ pairs["E"].K),
    }
    for name, pair in repaired.items():
        assert error(pair) < 0.8 * errors[name], (name, error(pair), errors[name])
    assert pairs["C"].T_b_a[2, 3] > 0 > pairs["B"].T_b_a[2, 3]
