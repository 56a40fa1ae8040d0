"""TUM RGB-D (Sturm et al. 2012): hand-held Kinect, registered depth, motion-capture poses.

Layout: `<raw>/rgbd_dataset_freiburgN_NAME/{rgb, depth}/TIMESTAMP.png` and `groundtruth.txt`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.spatial.transform import Rotation, Slerp

from ssmde_lib import opencv as cv2
from ssmde_lib.data.download import Remote, download, unpack
from ssmde_lib.data.images import list_frames, read_image
from ssmde_lib.data.prepare import Sequence, choose, prepare, read_table, script_options, split_by_rule
from ssmde_lib.errors import UserError

MAX_DEPTH_DELAY = 0.02  # seconds between a picture and its depth
MAX_POSE_GAP = 0.1  # seconds between the poses that are interpolated


@dataclass
class TumSequence(Sequence):
    """One recording of the colour camera."""

    SOURCE: ClassVar[str] = "TUM RGB-D"
    LICENCE: ClassVar[str] = "CC BY 4.0 (Sturm, Engelhard, Endres, Burgard, Cremers 2012)"
    URL: ClassVar[str] = "https://cvg.cit.tum.de/rgbd/dataset"
    FPS: ClassVar[float] = 30.0
    STEP: ClassVar[int] = 10
    SIZE: ClassVar[tuple[int, int]] = (256, 320)
    DEPTH_UNITS: ClassVar[int] = 5000
    PREFIX: ClassVar[str] = "rgbd_dataset_"
    TEST: ClassVar[tuple[str, ...]] = ("freiburg3_walking_static", "freiburg3_walking_xyz")  # our choice: people walk
    CHECKSUMS: ClassVar[dict[str, str]] = {
        "freiburg3_walking_xyz": "sha256:1459e9488ac0e61a2ec80dfbc35cfb77942f6d8eabded1c8d26a70be650d0e1d",
        "freiburg3_walking_static": "sha256:8aca832bf01746aa95fcc0b15bf42d78ad3bb8edef672ba4cc94a404b194f6c1",
        "freiburg1_desk": "sha256:e983d6830916e66dc4a46a71368046b149b283de87769690e7aa4e0b9483530c",
    }
    # fx fy cx cy and k1 k2 p1 p2 k3 of each Kinect
    CAMERAS: ClassVar[dict[str, tuple]] = {
        "freiburg1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
        "freiburg2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
        "freiburg3": ((535.4, 539.2, 320.1, 247.6), None),
    }

    folder: Path = field(kw_only=True)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return read_image(self.folder / "rgb" / self.frames[i])

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        """The registered Kinect depth nearest in time; None where there is none within 20 ms."""
        path = self.depth_files.get(self.frames[i])
        return None if path is None else read_image(path, cv2.IMREAD_UNCHANGED).astype(np.float32) / self.DEPTH_UNITS

    depth_files: dict[str, Path] = field(kw_only=True, default_factory=dict)

    @classmethod
    def camera(cls, name: str) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Intrinsics and distortion of a sequence, by its name."""
        for camera, facts in cls.CAMERAS.items():
            if camera in name:
                return facts
        raise UserError(
            f"{name} names none of {', '.join(cls.CAMERAS)}: keep the official folder name, the intrinsics go by it."
        )

    @classmethod
    def archive(cls, name: str) -> str:
        """Path of a sequence's archive on the server."""
        return f"{name.partition('_')[0]}/{cls.PREFIX}{name}.tgz"

    @staticmethod
    def to_cam(T_world_marker: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
        """T_world_cam from what groundtruth.txt holds."""
        return T_world_marker


def download_sequences(
    kind: type[TumSequence], raw: str | Path, names: tuple[str, ...], url: str | None = None
) -> None:
    """Download and unpack the named sequences."""
    if not names:
        raise UserError(f"name the sequences to download, such as --sequences {kind.TEST[0]}.")
    for name in (name.removeprefix(kind.PREFIX) for name in names):
        remote = Remote(f"{url or kind.URL}/{kind.archive(name)}", kind.LICENCE, kind.CHECKSUMS.get(name))
        unpack(download(remote, Path(raw) / "archives"), raw)


def preparation(kind: type[TumSequence], about: str) -> click.Command:
    """The command that downloads and prepares sequences of one kind; `about` is its help."""

    @click.command(help=about)
    @script_options(kind, "the named sequences")
    @click.option("--sequences", multiple=True, help="Only this sequence; may be repeated.")
    def main(raw, out, height, width, sequences, split, download, url, **settings):
        if download:
            download_sequences(kind, raw, sequences, url)
        prepare(find_sequences(kind, raw, sequences, split), out, (height, width), **settings)

    return main


def find_sequences(
    kind: type[TumSequence], raw: str | Path, names: tuple[str, ...] = (), split: str | None = None
) -> list[TumSequence]:
    """The sequences under `raw`, all or the named ones.

    `kind.TEST` are the test split, of others the last tenth is validation.
    """
    found = sorted(path.parent for path in Path(raw).glob("**/rgb") if path.is_dir())
    sequences = []
    for folder in choose(
        found, names, raw, lambda folder, name: folder.removeprefix(kind.PREFIX) == name.removeprefix(kind.PREFIX)
    ):
        sequences += read_sequence(kind, folder, split)
    if not sequences:
        raise UserError(
            f"{raw} holds no {kind.SOURCE} sequence: expected folders with rgb/, depth/ and groundtruth.txt."
        )
    return sequences


def read_sequence(kind: type[TumSequence], folder: Path, split: str | None) -> list[TumSequence]:
    """The clips of one recording; frames outside of the trajectory are rejected."""
    name = folder.name.removeprefix(kind.PREFIX)
    (fx, fy, cx, cy), distortion = kind.camera(name)
    images = in_time(list_frames(folder / "rgb"))
    if not images:
        raise UserError(f"{folder / 'rgb'} holds no pictures: unpack the sequence again.")
    times = timestamps(images)
    T_world_cam, known = interpolate_poses(read_table(folder / "groundtruth.txt", 8), times)
    T_world_cam = kind.to_cam(T_world_cam)
    depth_files = match_depth(images, times, list_frames(folder / "depth"))
    sequences = []
    for part, indices in split_by_rule(
        list(np.flatnonzero(known)), "test" if split is None and name in kind.TEST else split
    ):
        frames = [images[i].name for i in indices]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        nearest = {frame: depth_files[frame] for frame in frames if frame in depth_files}
        sequences.append(
            kind(name, part, frames, K, T_world_cam[indices], distortion, folder=folder, depth_files=nearest)
        )
    if not sequences:
        raise UserError(
            f"{folder}: no picture's time lies within groundtruth.txt: both must come from the same sequence."
        )
    sequences[0].rejected = {"no pose": [images[i].name for i in np.flatnonzero(~known)]} if not known.all() else {}
    return sequences


def in_time(paths: list[Path]) -> list[Path]:
    """The paths in order of time."""
    return [paths[i] for i in np.argsort(timestamps(paths), kind="stable")] if paths else []


def timestamps(paths: list[Path]) -> Float[np.ndarray, " n"]:
    """Seconds, from the file names."""
    try:
        return np.array([float(path.stem) for path in paths])
    except ValueError:
        raise UserError(
            f"{paths[0].parent} must hold files named by their time in seconds: keep the official names."
        ) from None


def match_depth(images: list[Path], times: Float[np.ndarray, " n"], depth: list[Path]) -> dict[str, Path]:
    """The depth file nearest in time to each picture, by the picture's name."""
    if not depth:
        return {}
    distance = np.abs(times[:, None] - timestamps(depth))
    nearest = distance.argmin(1)
    return {
        image.name: depth[j]
        for image, j, d in zip(images, nearest, distance.min(1), strict=True)
        if d <= MAX_DEPTH_DELAY
    }


def interpolate_poses(
    trajectory: Float[np.ndarray, "m 8"], times: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n 4 4"], Bool[np.ndarray, " n"]]:
    """Poses at the given times from lines `time tx ty tz qx qy qz qw`, and which times have close enough poses."""
    # Where tracking was lost, trackers write nan or a quaternion of zeros.
    trajectory = trajectory[np.isfinite(trajectory).all(1) & (np.linalg.norm(trajectory[:, 4:], axis=1) > 0.5)]
    trajectory = trajectory[np.unique(trajectory[:, 0], return_index=True)[1]]
    if len(trajectory) < 2:
        raise UserError("groundtruth.txt needs at least two poses: unpack the sequence again.")
    after = np.searchsorted(trajectory[:, 0], times).clip(1, len(trajectory) - 1)
    known = (
        (times >= trajectory[0, 0])
        & (times <= trajectory[-1, 0])
        & (np.diff(trajectory[:, 0])[after - 1] <= MAX_POSE_GAP)
    )
    inside = times.clip(trajectory[0, 0], trajectory[-1, 0])
    T = np.tile(np.eye(4), (len(times), 1, 1))
    T[:, :3, :3] = Slerp(trajectory[:, 0], Rotation.from_quat(trajectory[:, 4:]))(inside).as_matrix()
    T[:, :3, 3] = np.stack([np.interp(inside, trajectory[:, 0], trajectory[:, k]) for k in (1, 2, 3)], -1)
    return T, known
