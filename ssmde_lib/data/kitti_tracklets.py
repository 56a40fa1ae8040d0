"""KITTI's tracklets: which annotated objects move, and box-level masks of them."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.kitti_calibration import Calibration, rotation
from ssmde_lib.errors import UserError

MOVING_SPEED = 0.8  # metres a second: parked cars of drive 0005 seem to move by up to 0.55, walkers by 1.1 and more


NEAR_PLANE = 0.1  # metres
FRAMES_PER_SECOND = 10.0  # of every drive


@dataclass(frozen=True)
class Tracklet:
    """An annotated object: its box (length, width, height, metres), and its place in every frame from `first` on."""

    kind: str
    box: tuple[float, float, float]
    first: int
    T_velo_box: Float[np.ndarray, "n 4 4"]  # origin at the middle of the bottom, x along the length, z up

    def pose(self, frame: int) -> Float[np.ndarray, "4 4"] | None:
        """T_velo_box at a frame of the drive; None where the object is not annotated."""
        return self.T_velo_box[frame - self.first] if 0 <= frame - self.first < len(self.T_velo_box) else None


def move(T: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Points in another frame."""
    return points @ T[:3, :3].T + T[:3, 3]


def read_tracklets(path: str | Path) -> list[Tracklet]:
    """The annotated objects of a drive (tracklet_labels.xml)."""
    try:
        tracklets = ElementTree.parse(path).getroot().find("tracklets")
        return [read_tracklet(item) for item in tracklets.iterfind("item")]  # pyright: ignore[reportOptionalMemberAccess]
    except (OSError, ElementTree.ParseError, AttributeError, TypeError, ValueError):
        raise UserError(f"{path} is missing or not a tracklet file: download the drive's tracklets again.") from None


def read_tracklet(item: ElementTree.Element) -> Tracklet:
    """One annotated object; ValueError where a number is missing."""
    poses = [[number(pose, key) for key in ("tx", "ty", "tz", "rz")] for pose in item.findall("poses/item")]
    T = np.tile(np.eye(4), (len(poses), 1, 1))
    *centre, yaw = np.array(poses).reshape(-1, 4).T
    T[:, :3, 3], T[:, :3, :3] = np.transpose(centre), rotation(2, yaw)
    return Tracklet(
        item.findtext("objectType", ""),
        (number(item, "l"), number(item, "w"), number(item, "h")),
        int(number(item, "first_frame")),
        T,
    )


def number(item: ElementTree.Element, key: str) -> float:
    """The number in a child element; ValueError where it is missing."""
    return float(item.findtext(key, ""))  # a ValueError where it is missing


def is_moving(tracklet: Tracklet, T_world_velo: dict[int, np.ndarray], fps: float) -> bool:
    """Whether the object moves faster than MOVING_SPEED over some second, or over all of a shorter track."""
    frames = [frame for frame in sorted(T_world_velo) if tracklet.pose(frame) is not None]
    if len(frames) < 2:
        return False
    positions = np.array([(T_world_velo[frame] @ tracklet.pose(frame))[:3, 3] for frame in frames])
    span = min(round(fps), len(frames) - 1)
    return bool(np.linalg.norm(positions[span:] - positions[:-span], axis=1).max() * fps / span > MOVING_SPEED)


def tracklet_mask(
    tracklets: list[Tracklet],
    moving: list[bool],
    frame: int,
    T_cam_velo: np.ndarray,
    K: np.ndarray,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "h w"]:
    """Moving objects of a frame at box level.

    The filled outline of each projected 3D box, with the value 1 + its index among the moving objects.

    Boxes are drawn from far to near, static ones as 0, so that a parked car occludes dynamic objects behind it.
    """
    mask = np.zeros(size, np.uint8)
    ids = np.cumsum(moving) * moving
    boxes = [(move(T_cam_velo @ tracklet.pose(frame), box_corners(tracklet.box)), k)
             for tracklet, k in zip(tracklets, ids, strict=False) if tracklet.pose(frame) is not None]  # fmt: skip
    for corners, k in sorted(boxes, key=lambda box: -np.linalg.norm(box[0].mean(0))):
        outline = clip_box(corners)
        if len(outline) > 2:
            pixels = (outline @ K.T)[:, :2] / outline[:, 2:]
            pixels = np.clip(np.rint(pixels), -(2**15), 2**15).astype(np.int32)
            cv2.fillConvexPoly(mask, cv2.convexHull(pixels), int(k))
    return mask


def box_corners(box: tuple[float, float, float]) -> Float[np.ndarray, "8 3"]:
    """Corners of a (length, width, height) box that stands on its origin."""
    unit = np.stack(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [0.0, 1.0], indexing="ij"), -1).reshape(8, 3)
    return unit * np.array(box)


def clip_box(corners: Float[np.ndarray, "8 3"]) -> Float[np.ndarray, "n 3"]:
    """The corners in front of the camera, and where the box's edges pass its near plane."""
    points = [corner for corner in corners if corner[2] >= NEAR_PLANE]
    for a in range(8):
        for b in (a ^ 1, a ^ 2, a ^ 4):
            if corners[a][2] < NEAR_PLANE <= corners[b][2]:
                s = (NEAR_PLANE - corners[a][2]) / (corners[b][2] - corners[a][2])
                points.append(corners[a] + s * (corners[b] - corners[a]))
    return np.array(points).reshape(-1, 3)


def tracklet_masks(
    tracklets_xml: str | Path,
    calibration_folder: str | Path,
    T_world_cam: Float[np.ndarray, "n 4 4"],
    K: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    first_frame: int = 0,
    camera: str = "02",
) -> list[UInt8[np.ndarray, "h w"]]:
    """Box-level masks of moving objects for a clip of a drive from `first_frame` on, with the clip's K and size."""
    T_cam_velo = Calibration.read(Path(calibration_folder), camera).T_cam_velo
    tracklets = read_tracklets(tracklets_xml)
    T_world_velo = dict(enumerate(T_world_cam @ T_cam_velo, first_frame))
    moving = [is_moving(tracklet, T_world_velo, FRAMES_PER_SECOND) for tracklet in tracklets]
    return [tracklet_mask(tracklets, moving, frame, T_cam_velo, K, size) for frame in T_world_velo]
