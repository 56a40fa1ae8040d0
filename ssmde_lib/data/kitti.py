"""KITTI raw (Geiger et al. 2013): calibration, LiDAR projection, OXTS poses, tracklets that move, Eigen-Zhou splits.

Layout: `<raw>/<date>/calib_*.txt` and `<raw>/<date>/<date>_drive_NNNN_sync/{image_02, velodyne_points, oxts}/data/…`.
"""

import hashlib
import itertools
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.download import Absent, Remote, download, unpack
from ssmde_lib.data.images import list_frames, read_image
from ssmde_lib.data.kitti_calibration import Calibration, rotation
from ssmde_lib.data.kitti_tracklets import Tracklet, is_moving, move, read_tracklets, tracklet_mask
from ssmde_lib.data.prepare import Sequence, choose, split_by_rule
from ssmde_lib.data.sparse_depth import project_points
from ssmde_lib.errors import UserError

EARTH_RADIUS = 6378137.0  # metres, of the Mercator projection that the official development kit uses


# The 28 drives that the 697 test images of Eigen et al. 2014 come from: never trained on. Held against SfMLearner's
# list of test scenes and the drives of Monodepth2's list of test frames.
EIGEN_TEST_DRIVES = {
    "2011_09_26": "2 9 13 20 23 27 29 36 46 48 52 56 59 64 84 86 93 96 101 106 117",
    "2011_09_28": "2",
    "2011_09_29": "71",
    "2011_09_30": "16 18 27",
    "2011_10_03": "27 47",
}


# Lists of the Eigen-Zhou split: file, number of lines, begin and end of the published SHA-256.
LISTS = {
    "train": ("train_files.txt", 39810, "00173a23", "3f7b0c"),
    "val": ("val_files.txt", 4424, "64a868b8", "a1ad04"),
    "test": ("test_files.txt", 697, "e226d4ca", "91a6b"),
}


CAMERA_OF_SIDE = {"l": "02", "r": "03"}


@dataclass
class KittiDrive(Sequence):
    """One colour camera of one drive."""

    SOURCE: ClassVar[str] = "KITTI raw"
    LICENCE: ClassVar[str] = "CC BY-NC-SA 3.0 (Geiger, Lenz, Stiller, Urtasun 2013)"
    URL: ClassVar[str] = "https://s3.eu-central-1.amazonaws.com/avg-kitti"
    SIZE: ClassVar[tuple[int, int]] = (256, 832)
    SPARSE: ClassVar[bool] = True

    folder: Path = field(kw_only=True)
    camera: str = field(kw_only=True)
    calibration: Calibration = field(kw_only=True)
    improved: Path | None = field(kw_only=True, default=None)  # …/train|val of data_depth_annotated.zip

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return read_image(self.folder / f"image_{self.camera}" / "data" / self.frames[i])

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        """The LiDAR sweep, or the official accumulated ("improved") ground truth where `improved` is given."""
        stem = Path(self.frames[i]).stem
        if self.improved:
            folder = f"{self.folder.name}/proj_depth/groundtruth/image_{self.camera}"
            paths = sorted(self.improved.glob(f"*/{folder}/{stem}.png"))
            return read_image(paths[0], cv2.IMREAD_UNCHANGED).astype(np.float32) / 256 if paths else None
        path = self.folder / "velodyne_points" / "data" / f"{stem}.bin"
        if not path.is_file():
            return None
        points = move(self.calibration.T_cam_velo, read_sweep(path))
        return project_points(points, self.calibration.K, self.image(i).shape[:2])

    def dynamic_mask(
        self, i: int, K: Float[np.ndarray, "3 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w"] | None:
        """Boxes of moving objects, where the drive has tracklets and poses."""
        if self.tracklets is None:
            return None
        return tracklet_mask(
            self.tracklets, self.moving, int(Path(self.frames[i]).stem), self.calibration.T_cam_velo, K, size
        )

    @cached_property
    def tracklets(self) -> list[Tracklet] | None:
        """The annotated objects; None where the drive has no tracklets or no poses."""
        path = self.folder / "tracklet_labels.xml"
        return read_tracklets(path) if path.is_file() and self.poses is not None else None

    @cached_property
    def moving(self) -> list[bool]:
        """Whether each of the tracklets moves through the world."""
        numbers = [int(Path(frame).stem) for frame in self.frames]
        T_world_velo = dict(zip(numbers, self.poses @ self.calibration.T_cam_velo, strict=False))
        return [is_moving(tracklet, T_world_velo, self.FPS) for tracklet in self.tracklets or []]


def download_drives(raw: str | Path, drives: tuple[str, ...], url: str = KittiDrive.URL) -> None:
    """Download and unpack drives (2011_09_26_drive_0005) with their calibration and, where published, tracklets."""
    if not drives:
        raise UserError(
            "name the drives to download, such as --drives 2011_09_26_drive_0005: all of KITTI raw is 175 GB."
        )
    for drive in (drive.removesuffix("_sync") for drive in drives):
        date, found, number = drive.partition("_drive_")
        if not (found and number.isdigit()):
            raise UserError(f"drive {drive} needs its full name to be downloaded, such as 2011_09_26_drive_0005.")
        paths = [f"{date}_calib.zip", f"{drive}/{drive}_sync.zip", f"{drive}/{drive}_tracklets.zip"]
        for path in paths:
            try:
                archive = download(Remote(f"{url}/raw_data/{path}", KittiDrive.LICENCE), Path(raw) / "archives")
            except Absent:
                if path.endswith("_tracklets.zip"):  # most drives have none
                    continue
                raise
            unpack(archive, raw, lambda name: "/image_00/" not in name and "/image_01/" not in name)  # grey cameras


def find_drives(
    raw: str | Path,
    drives: tuple[str, ...] = (),
    cameras: tuple[str, ...] = ("02", "03"),
    split: str | None = None,
    lists: str | Path | None = None,
    improved: str | Path | None = None,
) -> list[KittiDrive]:
    """The sequences found under `raw`, all or the named `drives` (0005, 2011_09_26_drive_0005 or …_sync).

    Splits: those of the user's copies of the Eigen-Zhou `lists`, or only the one named by `split`; without lists all in
    `split`, else by rule: Eigen's 28 test drives are `test`, the last tenth of every other drive `val`, the rest
    `train`.
    """
    if not Path(raw).is_dir():
        raise UserError(f"{raw} is not a folder: point --raw to the folder that holds the KITTI recording days.")
    if improved and not any(Path(improved).glob("*/*_drive_*_sync/proj_depth/groundtruth")):
        raise UserError(
            f"{improved} holds no improved ground truth: unpack data_depth_annotated.zip there, "
            "so that train/ and val/ lie in it."
        )
    found = [path for path in sorted(Path(raw).glob("*/*_drive_*_sync")) if path.is_dir()]
    chosen = choose(found, drives, raw, is_named)
    listed = (
        {part: entries for part, entries in read_lists(Path(lists)).items() if split in (None, part)} if lists else None
    )
    sequences = []
    for folder, camera in itertools.product(chosen, cameras):
        images = [path.name for path in list_frames(folder / f"image_{camera}" / "data")]
        if images:
            parts = listed_parts(images, listed, folder, camera) if listed else ruled_parts(images, folder.name, split)
            sequences += [make_drive(folder, camera, *part, improved) for part in parts]
    if not sequences:
        what = "listed frame" if listed else "KITTI drive with images"
        raise UserError(f"{raw} holds no {what}: expected <date>/<date>_drive_NNNN_sync/image_02/data.")
    return sequences


def make_drive(
    folder: Path, camera: str, split: str, frames: list[str], targets: set[str] | None, improved
) -> KittiDrive:
    """The clip of a drive's frames; outside of lists and the test split those without a pose are left out."""
    calibration = Calibration.read(folder.parent, camera)
    poses, known = drive_poses(folder, frames, calibration), [True] * len(frames)
    if poses is not None and split != "test" and targets is None:
        known = [np.isfinite(pose).all() for pose in poses]
        poses = poses[known]
    elif poses is not None and not np.isfinite(poses).all():
        poses = None
    lost = [frame for frame, kept in zip(frames, known, strict=True) if not kept]
    frames = [frame for frame, kept in zip(frames, known, strict=True) if kept]
    return KittiDrive(
        f"{folder.name}_{camera}",
        split,
        frames,
        calibration.K,
        poses,
        targets=targets,
        rejected={"no OXTS record": lost} if lost else {},
        folder=folder,
        camera=camera,
        calibration=calibration,
        improved=Path(improved) if improved else None,
    )


def is_named(folder: str, drive: str) -> bool:
    """Whether a drive's folder is meant by a user's short or full name of it."""
    return drive.removesuffix("_sync") in (
        folder.removesuffix("_sync"),
        folder.removesuffix("_sync").rpartition("_")[2],
    )


def ruled_parts(images: list[str], drive: str, split: str | None) -> list[tuple[str, list[str], None]]:
    """(split, frames, None) of a drive by rule: every frame is a target."""
    date, _, number = drive.removesuffix("_sync").partition("_drive_")
    if split is None and number.lstrip("0") in EIGEN_TEST_DRIVES.get(date, "").split():
        split = "test"
    return [(part, frames, None) for part, frames in split_by_rule(images, split)]


def listed_parts(images: list[str], listed: dict, folder: Path, camera: str) -> list[tuple[str, list[str], set[str]]]:
    """(split, frames, targets) of a drive by the lists: the targets, except for test their adjacent frames too."""
    parts = []
    for split, entries in listed.items():
        numbers = entries.get((f"{folder.parent.name}/{folder.name}", camera), set())
        reach = 0 if split == "test" else 1
        targets = {image for image in images if int(Path(image).stem) in numbers}
        frames = [
            image for image in images if any(int(Path(image).stem) + d in numbers for d in range(-reach, reach + 1))
        ]
        if targets:
            parts.append((split, frames, targets))
    return parts


def read_lists(folder: Path) -> dict[str, dict[tuple[str, str], set[int]]]:
    """The user's Eigen-Zhou lists, verified by their published hashes.

    Returns split: {(drive, camera): frame numbers}.
    """
    listed = {}
    for split, (name, lines, begin, end) in LISTS.items():
        path = folder / name
        if not path.is_file():
            raise UserError(
                f"{path} is missing: fetch the Eigen-Zhou lists from their source (docs/data.md) into {folder}."
            )
        content = path.read_bytes().replace(b"\r\n", b"\n")  # as an editor of Windows ends lines
        digest = hashlib.sha256(content).hexdigest()
        if not (digest.startswith(begin) and digest.endswith(end)):
            raise UserError(
                f"{path} is not the published list of {lines} lines (SHA-256 {begin}…{end}): fetch it again."
            )
        listed[split] = {}
        for drive, frame, side in map(str.split, content.decode().splitlines()):
            listed[split].setdefault((drive, CAMERA_OF_SIDE[side]), set()).add(int(frame))
    return listed


def drive_poses(folder: Path, frames: list[str], calibration: Calibration) -> Float[np.ndarray, "n 4 4"] | None:
    """T_world_cam of every frame by OXTS, metres, the world is the first frame's camera.

    nan where a record is missing or damaged, None where all are.
    """
    records = np.array([read_oxts(folder / "oxts" / "data" / f"{Path(frame).stem}.txt") for frame in frames])
    known = np.isfinite(records).all(1)
    if not known.any():
        return None
    T_world_cam = np.full((len(frames), 4, 4), np.nan)
    T_world_cam[known] = oxts_poses(records[known]) @ np.linalg.inv(calibration.T_cam_imu)
    return np.linalg.inv(T_world_cam[known][0]) @ T_world_cam


def oxts_poses(records: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 4 4"]:
    """T_world_imu from latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad).

    Mercator projection at the first latitude.
    """
    latitude, longitude, altitude, roll, pitch, yaw = records.T
    scale = np.cos(np.radians(latitude[0])) * EARTH_RADIUS
    T = np.tile(np.eye(4), (len(records), 1, 1))
    T[:, 0, 3] = scale * np.radians(longitude)
    T[:, 1, 3] = scale * np.log(np.tan(np.radians(90 + latitude) / 2))
    T[:, 2, 3] = altitude
    T[:, :3, :3] = rotation(2, yaw) @ rotation(1, pitch) @ rotation(0, roll)
    return T


def read_oxts(path: Path) -> Float[np.ndarray, " 6"]:
    """The six values of `oxts_poses`, nan where the record is missing or damaged."""
    try:
        return np.array(path.read_text().split()[:6], float).reshape(6)
    except (OSError, ValueError):
        return np.full(6, np.nan)


def read_sweep(path: Path) -> Float[np.ndarray, "n 3"]:
    """Points of a Velodyne sweep in its own frame (x forward, y left, z up), metres."""
    values = np.fromfile(path, np.float32)
    if len(values) % 4 or not len(values):
        raise UserError(f"{path} is not a whole Velodyne sweep: unpack the drive again.")
    return values.reshape(-1, 4)[:, :3].astype(np.float64)
