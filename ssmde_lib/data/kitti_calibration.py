"""KITTI's calibration files and rigid transforms."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ssmde_lib.errors import UserError


@dataclass(frozen=True)
class Calibration:
    """Intrinsics of the rectified colour camera and where it sits: K 3x3 pixels, transforms 4x4 metres."""

    K: Float[np.ndarray, "3 3"]
    T_cam_velo: Float[np.ndarray, "4 4"]
    T_cam_imu: Float[np.ndarray, "4 4"]

    @classmethod
    def read(cls, folder: Path, camera: str = "02") -> "Calibration":
        """Read the three `calib_*.txt` files of a recording day."""
        camera_values = read_values(folder / "calib_cam_to_cam.txt", f"P_rect_{camera}", "R_rect_00")
        P = camera_values[f"P_rect_{camera}"].reshape(3, 4)
        T_rect_cam0 = transform(camera_values["R_rect_00"], np.zeros(3))
        T_cam_rect = transform(np.eye(3), np.linalg.solve(P[:, :3], P[:, 3]))  # P = K [I | t]
        velo, imu = (read_values(folder / f"calib_{name}.txt", "R", "T") for name in ("velo_to_cam", "imu_to_velo"))
        T_cam_velo = T_cam_rect @ T_rect_cam0 @ transform(velo["R"], velo["T"])
        return cls(P[:, :3], T_cam_velo, T_cam_velo @ transform(imu["R"], imu["T"]))


def rotation(axis: int, angle: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3 3"]:
    """Rotations about one coordinate axis, radians."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R = np.tile(np.eye(3), (len(angle), 1, 1))
    R[:, i, i] = R[:, j, j] = np.cos(angle)
    R[:, j, i] = np.sin(angle)
    R[:, i, j] = -R[:, j, i]
    return R


def read_values(path: Path, *required: str) -> dict[str, np.ndarray]:
    """The numbers of a `name: values` calibration file."""
    if not path.is_file():
        raise UserError(f"{path} is missing: download the day's calibration (DATE_calib.zip) too.")
    values = {}
    for line in path.read_text().splitlines():
        name, _, numbers = line.partition(":")
        with suppress(ValueError):  # a date
            values[name] = np.array(numbers.split(), float)
    for name in required:
        if len(values.get(name, ())) not in (3, 9, 12):
            raise UserError(f"{path} holds no {name}: download the day's calibration (DATE_calib.zip) again.")
    return values


def transform(R: np.ndarray, t: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """A rigid 4x4 from rotation and translation."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = np.reshape(R, (3, 3)), t
    return T
