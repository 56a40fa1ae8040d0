"""Trajectories: closed forms, and evo as an oracle."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ssmde_lib.errors import UserError
from ssmde_lib.evaluation.pose import (
    absolute_trajectory_error,
    align_trajectory,
    kitti_odometry_error,
    relative_pose_error,
    trajectory,
    umeyama,
)


def pose(rotvec, translation) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec(rotvec).as_matrix(), translation
    return T


def drive(frames: int = 300, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A winding drive of about one metre a frame, T_world_cam; noise in each motion."""
    rng = np.random.default_rng(seed)
    T = [pose([0.1, 0.2, 0.3], [5, -2, 8])]
    for i in range(frames - 1):
        jitter = noise * rng.normal(size=6)
        T.append(
            T[-1]
            @ pose(
                np.array([0, 0.02 * np.sin(i / 20), 0]) + 0.02 * jitter[:3], np.array([0, 0.01, 1]) + 0.1 * jitter[3:]
            )
        )
    return np.stack(T)


@pytest.fixture
def gt():
    return drive()


@pytest.fixture
def noisy():
    return drive(noise=1.0, seed=1)


def moved(poses: np.ndarray, scale: float) -> np.ndarray:
    """The same drive in another world frame and another unit of length."""
    out = pose([0.5, -1, 2], [3, 1, -7]) @ poses
    out[:, :3, 3] *= scale
    return out


def test_trajectory_chains_motions_to_poses(gt):
    motions = np.linalg.inv(gt[1:]) @ gt[:-1]  # T_next_this
    np.testing.assert_allclose(trajectory(motions), np.linalg.inv(gt[0]) @ gt, atol=1e-9)


def test_umeyama_recovers_a_similarity():
    points = np.random.default_rng(0).normal(size=(20, 3))
    T = pose([1, 2, -0.5], [4, 5, 6])
    T[:3, :3] *= 2.5
    np.testing.assert_allclose(umeyama(points, points @ T[:3, :3].T + T[:3, 3]), T, atol=1e-9)


def test_umeyama_never_mirrors():
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert np.linalg.det(umeyama(points, points * [1, 1, -1])[:3, :3]) > 0


def test_similarity_alignment_forgives_world_frame_and_scale(gt):
    assert absolute_trajectory_error(moved(gt, 0.01), gt) == pytest.approx(0, abs=1e-9)
    assert relative_pose_error(moved(gt, 0.01), gt) == pytest.approx({"translation": 0, "rotation": 0}, abs=1e-7)


def test_rigid_alignment_does_not_forgive_scale(gt):
    assert absolute_trajectory_error(moved(gt, 1.0), gt, "rigid") == pytest.approx(0, abs=1e-9)
    assert absolute_trajectory_error(moved(gt, 2.0), gt, "rigid") > 10


def test_scale_alignment_starts_both_at_the_same_pose(gt):
    aligned = align_trajectory(moved(gt, 0.1), gt, "scale")
    np.testing.assert_allclose(aligned, gt, atol=1e-8)


def test_a_standstill_cannot_be_scaled(gt):
    still = np.tile(np.eye(4), (len(gt), 1, 1))
    assert np.isfinite(absolute_trajectory_error(still, gt))
    assert np.isfinite(absolute_trajectory_error(still, gt, "scale"))


def test_known_relative_error():
    gt = np.stack([pose([0, 0, 0], [0, 0, i]) for i in range(10)])
    pred = np.stack([pose([0, np.deg2rad(2) * i, 0], [0, 0, i]) for i in range(10)])
    assert relative_pose_error(pred, gt, align="none")["rotation"] == pytest.approx(2)
    assert relative_pose_error(pred, gt, delta=3, align="none")["rotation"] == pytest.approx(6)


def test_known_kitti_errors():
    gt = np.stack([pose([0, 0, 0], [0, 0, i]) for i in range(301)])
    pred = gt.copy()
    pred[:, 2, 3] *= 1.05
    found = kitti_odometry_error(pred, gt, align="none")
    # Stretches end at the first frame beyond their length: 101, 201 and 300 frames at most.
    assert found["t_err"] == pytest.approx(5, rel=0.01) and found["t_err"] > 5
    assert found["r_err"] == pytest.approx(0, abs=1e-9)
    assert kitti_odometry_error(pred, gt)["t_err"] == pytest.approx(0, abs=1e-9)


def test_short_drives_and_unequal_lengths_are_refused(gt):
    with pytest.raises(UserError, match="shorter than 100 m"):
        kitti_odometry_error(gt[:50], gt[:50])
    with pytest.raises(UserError, match="299 predicted poses"):
        absolute_trajectory_error(gt[1:], gt)
    with pytest.raises(UserError, match="similarity"):
        absolute_trajectory_error(gt, gt, "affine")


@pytest.mark.parametrize("kind", ["similarity", "rigid"])
def test_against_evo(gt, noisy, kind):
    pytest.importorskip("evo")
    from evo.core import metrics
    from evo.core.trajectory import PosePath3D

    reference, estimate = PosePath3D(poses_se3=list(gt)), PosePath3D(poses_se3=list(moved(noisy, 1.3)))
    estimate.align(reference, correct_scale=kind == "similarity")

    def evo(metric) -> float:
        metric.process_data((reference, estimate))
        return metric.get_statistic(metrics.StatisticsType.rmse)

    pred = moved(noisy, 1.3)
    assert absolute_trajectory_error(pred, gt, kind) == pytest.approx(
        evo(metrics.APE(metrics.PoseRelation.translation_part))
    )
    ours = relative_pose_error(pred, gt, delta=5, align=kind)
    options = {"delta": 5, "delta_unit": metrics.Unit.frames, "all_pairs": True}
    assert ours["translation"] == pytest.approx(evo(metrics.RPE(metrics.PoseRelation.translation_part, **options)))
    assert ours["rotation"] == pytest.approx(
        evo(metrics.RPE(metrics.PoseRelation.rotation_angle_deg, **options)), rel=1e-6
    )
