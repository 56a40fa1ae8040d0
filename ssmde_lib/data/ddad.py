"""DDAD (Guizilini et al. 2020) in the DGP layout: front camera, LiDAR and poses.

Layout: `<raw>/ddad.json` names the scenes of each split; `<raw>/<scene>/scene_*.json` ties images, LiDAR, calibration
and poses.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from ssmde_lib.data.download import Remote, download, unpack
from ssmde_lib.data.images import read_image, tell_once
from ssmde_lib.data.prepare import Sequence, choose
from ssmde_lib.data.sparse_depth import project_points
from ssmde_lib.errors import UserError

LIDAR = "LIDAR"


@dataclass
class DdadScene(Sequence):
    """One camera of one scene."""

    SOURCE: ClassVar[str] = "DDAD"
    LICENCE: ClassVar[str] = "CC BY-NC-SA 4.0 (Guizilini, Ambrus, Pillai, Raventos, Gaidon 2020)"
    URL: ClassVar[str] = "https://tri-ml-public.s3.amazonaws.com/github/DDAD/datasets/DDAD.tar"
    CHECKSUM: ClassVar[str] = "md5:c0da97967f76da80f86d6f97d0d98904"
    SIZE: ClassVar[tuple[int, int]] = (384, 640)
    SPARSE: ClassVar[bool] = True
    # DGP's split numbers. Published figures are on its validation scenes; the test scenes (2) have no public ground
    # truth.
    TRAIN: ClassVar[str] = "0"
    TEST: ClassVar[str] = "1"

    folder: Path = field(kw_only=True)
    sweeps: list[str | None] = field(kw_only=True)  # None: a sample without LiDAR
    T_world_lidar: Float[np.ndarray, "n 4 4"] = field(kw_only=True)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return read_image(self.folder / self.frames[i])

    def depth(self, i: int) -> Float[np.ndarray, "h w"] | None:
        """The LiDAR sweep, moved from its own pose at its own time into the camera."""
        sweep = self.sweeps[i]
        if sweep is None:
            return None
        path = self.folder / sweep
        try:
            with np.load(path) as arrays:
                points = arrays["data"][:, :3]
        except (OSError, ValueError, KeyError, IndexError):
            raise UserError(f"{path} is missing or not a DGP point cloud: unpack the scene again.") from None
        assert self.poses is not None  # every scene has them
        T_cam_lidar = np.linalg.inv(self.poses[i]) @ self.T_world_lidar[i]
        return project_points(points @ T_cam_lidar[:3, :3].T + T_cam_lidar[:3, 3], self.K, self.image(i).shape[:2])


def download_ddad(
    raw: str | Path, url: str = DdadScene.URL, checksum: str | None = DdadScene.CHECKSUM, camera: str = "CAMERA_01"
) -> None:
    """Download all of DDAD and unpack one camera and the LiDAR."""
    archive = download(Remote(url, DdadScene.LICENCE, checksum), Path(raw) / "archives")
    unpack(
        archive,
        raw,
        lambda name: (
            not name.endswith((".jpg", ".png", ".npz")) or f"/{camera}/" in name or f"/point_cloud/{LIDAR}/" in name
        ),
    )


def find_scenes(
    raw: str | Path, names: tuple[str, ...] = (), camera: str = "CAMERA_01", split: str | None = None
) -> list[DdadScene]:
    """The scenes that the data set's JSON names, all or the named ones.

    DGP's validation scenes are the test split, every tenth training scene is validation.
    """
    root, scene_splits = read_splits(Path(raw))
    scenes, damaged = [], []
    for number, ours in ((DdadScene.TRAIN, "train"), (DdadScene.TEST, "test")):
        files = [root / name for name in scene_splits.get(number, {}).get("filenames", [])]
        kept = choose([path.parent for path in files], names, raw, lambda folder, name: folder == name)
        for i, path in enumerate(path for path in files if path.parent in kept):
            try:
                scenes.append(read_scene(path, camera, split or ("val" if ours == "train" and i % 10 == 9 else ours)))
            except UserError as error:  # one lost file costs one scene
                damaged.append(error)
    if damaged and not scenes:
        raise damaged[0]
    for error in damaged:
        tell_once(f"left out a scene: {error.message}")
    return scenes


def read_splits(raw: Path) -> tuple[Path, dict]:
    """The folder of the scenes and the scenes of each split."""
    for path in sorted(raw.glob("**/*.json"), key=lambda path: (len(path.parts), path)):  # it lies above the scenes
        if "scene_splits" in (content := read_json(path)):
            return path.parent, content["scene_splits"]
    raise UserError(f"{raw} holds no JSON with scene_splits (ddad.json): point --raw to the unpacked DDAD.")


def read_scene(path: Path, camera: str, split: str) -> DdadScene:
    """The scene of a JSON file, seen by one camera."""
    scene = read_json(path)
    try:
        data = {datum["key"]: datum for datum in scene["data"]}
        samples = [
            {data[key]["id"]["name"]: data[key]["datum"] for key in sample["datum_keys"]} for sample in scene["samples"]
        ]
        seen = [sample for sample in samples if camera in sample]
        if not seen:
            raise UserError(f"{path} has no sample of {camera}: choose another --camera.")
        images = [sample[camera]["image"] for sample in seen]
        sweeps = [sample[LIDAR]["point_cloud"] if LIDAR in sample else None for sample in seen]
        calibration = read_json(path.parent / "calibration" / f"{scene['samples'][0]['calibration_key']}.json")
        K = intrinsics(calibration["intrinsics"][calibration["names"].index(camera)])
        return DdadScene(
            path.parent.name,
            split,
            [image["filename"] for image in images],
            K,
            np.array([transform(image["pose"]) for image in images]),
            folder=path.parent,
            rejected={f"sample without {camera}": ["?"] * missing} if (missing := len(samples) - len(seen)) else {},
            sweeps=[sweep["filename"] if sweep else None for sweep in sweeps],
            T_world_lidar=np.array([transform(sweep["pose"]) if sweep else np.eye(4) for sweep in sweeps]),
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"{path} is not a whole DGP scene: unpack it again.") from None


def read_json(path: Path) -> dict:
    """The object in a JSON file; UserError where there is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        raise UserError(f"{path} is missing or not JSON: unpack the scene again.") from None


def intrinsics(values: dict) -> Float[np.ndarray, "3 3"]:
    """K of DGP's named values."""
    return np.array([[values["fx"], values["skew"], values["cx"]], [0, values["fy"], values["cy"]], [0, 0, 1]])


def transform(pose: dict) -> Float[np.ndarray, "4 4"]:
    """T_world_sensor of a DGP pose."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([pose["rotation"][key] for key in ("qx", "qy", "qz", "qw")]).as_matrix()
    T[:3, 3] = [pose["translation"][key] for key in "xyz"]
    return T
