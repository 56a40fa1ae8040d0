"""NYU Depth v2 (Silberman et al. 2012): the labelled .mat for evaluation, raw Kinect video for training.

Layouts: `<raw>/nyu_depth_v2_labeled.mat` with `splits.mat`; `<raw>/<scene>/r-TIME-TICKS.ppm`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
from jaxtyping import Float, UInt8
from scipy.io import loadmat

from ssmde_lib.data.download import Remote, download
from ssmde_lib.data.images import list_frames, read_image
from ssmde_lib.data.prepare import Sequence, choose, split_by_rule
from ssmde_lib.errors import UserError


@dataclass
class NyuSequence(Sequence):
    """What the labelled pictures and the raw video share; the raw depth is not registered and is left out."""

    SOURCE: ClassVar[str] = "NYU Depth v2"
    LICENCE: ClassVar[str] = "none stated (Silberman, Hoiem, Kohli, Fergus 2012)"
    URL: ClassVar[str] = "http://horatio.cs.nyu.edu/mit/silberman"
    LABELLED: ClassVar[tuple[str, str]] = (
        "nyu_depth_v2/nyu_depth_v2_labeled.mat",
        "md5:520609c519fba3ba5ac58c8fefcc3530",
    )
    SPLITS: ClassVar[tuple[str, str]] = ("indoor_seg_sup/splits.mat", "md5:08e3c3aea27130ac7c01ffd739a4535f")
    FPS: ClassVar[float] = 30.0
    STEP: ClassVar[int] = 10
    SIZE: ClassVar[tuple[int, int]] = (256, 320)
    DEPTH_UNITS: ClassVar[int] = 5000
    CAMERA: ClassVar[np.ndarray] = np.array(
        [[518.85790117, 0, 325.58244941], [0, 519.46961112, 253.73616633], [0, 0, 1]]
    )
    DISTORTION: ClassVar[tuple[float, ...]] = (0.20796615, -0.58613825, 0.00072231, 0.00104796, 0.49856987)

    folder: Path = field(kw_only=True)


class NyuLabelled(NyuSequence):
    """Pictures of the .mat, named by their index; its depth is registered and in-painted by the publisher."""

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return self.read("images", i).transpose(2, 1, 0)  # stored as MATLAB does, 3 w h

    def depth(self, i: int) -> Float[np.ndarray, "h w"]:
        """Depth of frame i in metres."""
        return self.read("depths", i).T.astype(np.float32)

    def read(self, key: str, i: int) -> np.ndarray:
        """Entry of frame i in one of the file's arrays."""
        with h5py.File(self.folder / "nyu_depth_v2_labeled.mat") as file:
            pictures = file[key]
            assert isinstance(pictures, h5py.Dataset)
            return np.ascontiguousarray(pictures[int(self.frames[i])])


class NyuVideo(NyuSequence):
    """A scene of the raw video."""

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame i, RGB."""
        return read_image(self.folder / self.frames[i])


def download_labelled(raw: str | Path, url: str = NyuSequence.URL) -> None:
    """Download the labelled set (3 GB) and its split; the raw video (hundreds of GB) is up to the user."""
    for path, checksum in (NyuSequence.SPLITS, NyuSequence.LABELLED):
        download(Remote(f"{url}/{path}", NyuSequence.LICENCE, checksum), raw)


def find_scenes(raw: str | Path, names: tuple[str, ...] = (), split: str | None = None) -> list[NyuSequence]:
    """The labelled images, where the .mat exists, and the raw scenes (all or the named ones).

    The last tenth of the scenes is validation.
    """
    raw = Path(raw)
    sequences: list[NyuSequence] = []
    if not names and (raw / "nyu_depth_v2_labeled.mat").is_file():
        sequences += labelled(raw)
    found = sorted({path.parent for path in raw.glob("**/r-*.ppm")})
    for folder in choose(found, names, raw, lambda folder, name: folder == name):
        frames = sorted((path.name for path in list_frames(folder) if path.name.startswith("r-")), key=picture_time)
        for part, kept in split_by_rule(frames, split):
            sequences.append(
                NyuVideo(folder.name, part, kept, NyuSequence.CAMERA, None, NyuSequence.DISTORTION, folder=folder)
            )
    if not sequences:
        raise UserError(
            f"{raw} holds neither nyu_depth_v2_labeled.mat nor scenes with r-*.ppm: "
            "use --download or unpack the raw video."
        )
    return sequences


def picture_time(name: str) -> float:
    """Seconds, from a file name of the raw video."""
    try:
        return float(name.split("-")[1])
    except (IndexError, ValueError):
        raise UserError(f"{name} does not carry its time as r-TIME-TICKS.ppm: keep the official names.") from None


def labelled(raw: Path) -> list[NyuLabelled]:
    """The 654 test pictures by the publisher's split; of his training pictures the last tenth is validation.

    They are no video: no training picture is a target of triplets, but the others have the only registered depth.
    """
    try:
        split = loadmat(raw / "splits.mat")
        test, train = (split[key].ravel().astype(int) - 1 for key in ("testNdxs", "trainNdxs"))  # MATLAB counts from 1
        with h5py.File(raw / "nyu_depth_v2_labeled.mat") as file:
            images, depths = file["images"], file["depths"]
            assert isinstance(images, h5py.Dataset) and isinstance(depths, h5py.Dataset)
            count = min(len(images), len(depths))
    except (OSError, KeyError, ValueError, NotImplementedError) as error:
        name = (
            "splits.mat"
            if "splits" in str(error) or not (raw / "splits.mat").is_file()
            else "nyu_depth_v2_labeled.mat or splits.mat"
        )
        raise UserError(f"{raw}: {name} is missing or damaged: delete it and download it again (--download).") from None
    last = max(*test, *train)
    if last >= count:
        raise UserError(
            f"{raw / 'splits.mat'} names picture {last + 1} of {count}: the two files do not belong together."
        )
    parts = [("test", test), *split_by_rule(list(train), None)]
    return [
        NyuLabelled(
            "nyu_labelled",
            part,
            [f"{i:06d}" for i in indices],
            NyuSequence.CAMERA,
            targets=set() if part == "train" else None,
            folder=raw,
        )
        for part, indices in parts
    ]
