"""Camera trajectories against the truth: ATE and RPE (Sturm et al. 2012), t_err and r_err of KITTI odometry (Geiger et al. 2012)."""

import numpy as np
from jaxtyping import Float

from ssmde_lib.errors import UserError

Poses = Float[np.ndarray, "n 4 4"]  # T_world_cam, metres or up to scale

KITTI_LENGTHS = (100, 200, 300, 400, 500, 600, 700, 800)  # metres


def trajectory(motions: Float[np.ndarray, "m 4 4"]) -> Float[np.ndarray, "n 4 4"]:
    """Chain T_next_this (a pose network's `T_src_tgt` of consecutive frames) to m + 1 poses T_world_cam, the first the identity."""
    poses = [np.eye(4)]
    for T_next_this in motions.astype(np.float64):
        poses.append(poses[-1] @ np.linalg.inv(T_next_this))
    return np.stack(poses)


def umeyama(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"], with_scale: bool = True
) -> Float[np.ndarray, "4 4"]:
    """The similarity (or rigid motion) that maps source points onto target points with least squares (Umeyama 1991)."""
    mean_source, mean_target = source.mean(0), target.mean(0)
    x, y = source - mean_source, target - mean_target
    U, D, Vt = np.linalg.svd(y.T @ x / len(x))
    sign = np.array([1, 1, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U @ np.diag(sign) @ Vt
    variance = np.mean(np.sum(x**2, 1))
    scale = float(D @ sign / variance) if with_scale and variance > 0 else 1.0
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = scale * R, mean_target - scale * R @ mean_source
    return T


def align_trajectory(pred: Poses, gt: Poses, kind: str = "similarity") -> Poses:
    """Predicted poses in the truth's world frame.

    "similarity": rotation, translation and scale by least squares (monocular); "rigid": without scale; "scale": one scale by least
    squares of the translations, after both start at the identity; "none": as it is.
    """
    if pred.shape != gt.shape:
        raise UserError(f"{len(pred)} predicted poses do not match {len(gt)} true ones: evaluate the same frames.")
    pred, gt = pred.astype(np.float64), gt.astype(np.float64)
    if kind in ("similarity", "rigid"):
        T = umeyama(pred[:, :3, 3], gt[:, :3, 3], with_scale=kind == "similarity")
        scale = np.cbrt(np.linalg.det(T[:3, :3]))
        aligned = T @ pred
        aligned[:, :3, :3] /= scale
        return aligned
    if kind == "scale":
        pred, gt_local = np.linalg.inv(pred[0]) @ pred, np.linalg.inv(gt[0]) @ gt
        x, y = pred[:, :3, 3], gt_local[:, :3, 3]
        pred[:, :3, 3] *= np.sum(x * y) / max(np.sum(x * x), 1e-12)
        return gt[0] @ pred
    if kind == "none":
        return pred
    raise UserError(f"unknown trajectory alignment {kind!r}: choose similarity, rigid, scale or none.")


def absolute_trajectory_error(pred: Poses, gt: Poses, align: str = "similarity") -> float:
    """ATE: root mean square distance of camera positions after alignment, metres."""
    difference = align_trajectory(pred, gt, align)[:, :3, 3] - gt[:, :3, 3]
    return float(np.sqrt(np.mean(np.sum(difference**2, 1))))


def relative_pose_error(pred: Poses, gt: Poses, delta: int = 1, align: str = "similarity") -> dict[str, float]:
    """RPE over `delta` frames: root mean square of translation (metres) and rotation (degrees) errors."""
    error = relative_errors(
        align_trajectory(pred, gt, align), gt, np.arange(len(gt) - delta), np.arange(delta, len(gt))
    )
    translation, rotation = np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle(error)
    return {
        "translation": float(np.sqrt(np.mean(translation**2))),
        "rotation": float(np.rad2deg(np.sqrt(np.mean(rotation**2)))),
    }


def kitti_odometry_error(
    pred: Poses, gt: Poses, align: str = "similarity", lengths: tuple[float, ...] = KITTI_LENGTHS, step: int = 10
) -> dict[str, float]:
    """Mean errors per metre driven over all stretches of the given lengths that start every `step` frames.

    `t_err` in per cent, `r_err` in degrees per 100 m; a drive shorter than the shortest length is a UserError.
    """
    pred = align_trajectory(pred, gt, align)
    driven = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(gt[:, :3, 3], axis=0), axis=1))])
    stretches = [
        (first, last, length)
        for first in range(0, len(gt), step)
        for length in lengths
        if (last := int(np.searchsorted(driven, driven[first] + length, side="right"))) < len(gt)
    ]
    if not stretches:
        raise UserError(
            f"the drive is {driven[-1]:.0f} m long, shorter than {min(lengths)} m: use ATE and RPE, or shorter lengths."
        )
    first, last, length = (np.array(column) for column in zip(*stretches, strict=True))
    error = relative_errors(pred, gt, first, last)
    return {
        "t_err": float(100 * np.mean(np.linalg.norm(error[:, :3, 3], axis=1) / length)),
        "r_err": float(100 * np.mean(np.rad2deg(rotation_angle(error)) / length)),
        "stretches": len(stretches),
    }


def relative_errors(pred: Poses, gt: Poses, first: np.ndarray, last: np.ndarray) -> Float[np.ndarray, "m 4 4"]:
    """inv(true motion) · predicted motion, from frames `first` to frames `last`."""
    true = np.linalg.inv(gt[first]) @ gt[last]
    found = np.linalg.inv(pred[first]) @ pred[last]
    return np.linalg.inv(true) @ found


def rotation_angle(T: Float[np.ndarray, "m 4 4"]) -> Float[np.ndarray, " m"]:
    """Angle of rotation in radians; from sine and cosine, as the arc cosine alone loses small angles."""
    R = T[:, :3, :3]
    cosine = (np.trace(R, axis1=1, axis2=2) - 1) / 2
    axis = np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1)
    return np.arctan2(np.linalg.norm(axis, axis=1) / 2, cosine)
