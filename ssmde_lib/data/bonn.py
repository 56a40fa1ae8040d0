"""BONN dynamic (Palazzolo et al. 2019): TUM's layout, people and boxes that move, another camera and marker frame."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ssmde_lib.data.tum import TumSequence

# The publisher's transforms: T_map_cam = T_AXES T_marker T_AXES T_MARKER_CAM, where the last one also scales by 1.059.
T_AXES = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
T_MARKER_CAM = np.array(
    [
        [1.0157, 0.1828, -0.2389, 0.0113],
        [0.0009, -0.8431, -0.6413, -0.0098],
        [-0.3009, 0.6147, -0.8085, 0.0111],
        [0, 0, 0, 1],
    ]
)


@dataclass
class BonnSequence(TumSequence):
    """One recording of the colour camera."""

    SOURCE: ClassVar[str] = "BONN RGB-D dynamic"
    LICENCE: ClassVar[str] = "none stated (Palazzolo, Behley, Lottes, Giguere, Stachniss 2019)"
    URL: ClassVar[str] = "https://www.ipb.uni-bonn.de/html/projects/rgbd_dynamic2019"
    PREFIX: ClassVar[str] = "rgbd_bonn_"
    TEST: ClassVar[tuple[str, ...]] = ("balloon2", "crowd3", "person_tracking2", "synchronous2")
    CHECKSUMS: ClassVar[dict[str, str]] = {}
    CAMERAS: ClassVar[dict[str, tuple]] = {
        "": ((542.823, 542.577, 315.594, 237.756), (0.039903, -0.099343, -0.000730, -0.000144, 0.0))
    }

    @classmethod
    def archive(cls, name: str) -> str:
        """Name of the sequence's archive on the server."""
        return f"{cls.PREFIX}{name}.zip"

    @staticmethod
    def to_cam(T_world_marker: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
        """T_world_cam, rigid and in the metres of the depth camera: the scale is divided out."""
        T = T_AXES @ T_world_marker @ T_AXES @ T_MARKER_CAM
        U, _, Vt = np.linalg.svd(T[:, :3, :3])
        T[:, :3, 3] /= np.cbrt(np.linalg.det(T_MARKER_CAM[:3, :3]))
        T[:, :3, :3] = U @ Vt
        return T
