"""Pseudo-depth on disk: layout, encoding, resuming frame by frame, and what is refused."""

import json

import cv2
import numpy as np
import pytest
import torch

from ssmde_lib.errors import UserError
from ssmde_lib.prior import read_pseudo_depth, write_pseudo_depth
from ssmde_lib.prior.pseudo_depth import ENCODING


class Brightness:
    """A stand-in provider whose relative depth is known: 0.1 + red; it counts the images it sees."""

    device = torch.device("cpu")

    def __init__(self, name="brightness"):
        self.name, self.seen = name, []

    def __call__(self, images):
        self.seen.append(len(images))
        return images[:, :1] + 0.1

    def describe(self):
        return {"provider": self.name, "sha256": "0", "convention": "red + 0.1"}


def write_clip(folder, frames, seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (frames, 8, 12, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:06d}.png"), image[..., ::-1])
    np.savetxt(folder / "cam.txt", np.eye(3))
    return images


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    return root, {name: write_clip(root / name, 5, seed) for seed, name in enumerate(("train/a", "test/b"))}


def test_layout_encoding_and_manifest(data, tmp_path):
    root, images = data
    provider, out = Brightness(), tmp_path / "out"
    manifest = write_pseudo_depth(provider, root, out, batch=2)
    assert provider.seen == [2, 2, 1, 2, 2, 1]
    assert manifest == json.loads((out / "prior.json").read_text()) == {**provider.describe(), "encoding": ENCODING}
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == sorted(
        ["prior.json", *(f"{clip}/{i:06d}.png" for clip in images for i in range(5))])  # fmt: skip
    for clip, frames in images.items():
        for i, image in enumerate(frames):
            expected = image[..., 0] / 255 + 0.1
            depth = read_pseudo_depth(out / clip / f"{i:06d}.png")
            assert depth.dtype == np.float32
            np.testing.assert_allclose(depth, expected / expected.max(), atol=1 / 65535)
            assert depth.min() > 0, "zero would mean: no measurement"


def test_an_interrupted_run_goes_on_with_the_missing_frames(data, tmp_path):
    root, _ = data
    out = tmp_path / "out"
    write_pseudo_depth(Brightness(), root, out)
    (out / "train/a/000003.png").unlink()
    kept = (out / "train/a/000000.png").stat().st_mtime_ns
    again = Brightness()
    write_pseudo_depth(again, root, out)
    assert again.seen == [1]
    assert (out / "train/a/000000.png").stat().st_mtime_ns == kept
    assert (out / "train/a/000003.png").is_file()


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2 GiB.",
        "MPS backend out of memory (MPS allocated: 9 GB)",
        "CUDA error: out of memory",
    ],
)
def test_a_full_device_is_one_sentence_and_loses_nothing(data, tmp_path, said):
    class Full(Brightness):  # a stand-in for a GPU
        def __call__(self, images):
            if len(self.seen) == 2:
                raise RuntimeError(said)
            return super().__call__(images)

    root, _ = data
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match="out of device memory: lower the batch; .* run it again; maps that are there are kept"
    ):
        write_pseudo_depth(Full(), root, out, batch=2)
    again = Brightness()
    write_pseudo_depth(again, root, out, batch=2)
    assert again.seen == [1, 2, 2, 1]


def test_maps_of_two_providers_never_mix(data, tmp_path):
    root, _ = data
    out = tmp_path / "out"
    write_pseudo_depth(Brightness(), root, out)
    with pytest.raises(UserError, match=r"prior\.json records another provider"):
        write_pseudo_depth(Brightness("other"), root, out)


def test_a_flat_clip(tmp_path):
    write_clip(tmp_path / "video", 3)
    write_pseudo_depth(Brightness(), tmp_path / "video", tmp_path / "out")
    assert len(list((tmp_path / "out/video").glob("*.png"))) == 3


def test_bad_input_names_the_file(data, tmp_path):
    root, _ = data
    (root / "train/a/000002.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"000002\.png is missing"):
        write_pseudo_depth(Brightness(), root, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no train, val or test"):
        write_pseudo_depth(Brightness(), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UserError, match="absent.png"):
        read_pseudo_depth(tmp_path / "absent.png")
