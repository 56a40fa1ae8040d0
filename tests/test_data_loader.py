"""The streamed loader and the batched jitter give what the literal loader gives."""

import json

import cv2
import numpy as np
import pytest
import torch
from reference import loader as literal
from torch.utils.data import default_collate

from ssmde_lib.data.augment import FRAMES, colour_transform
from ssmde_lib.data.layout import Clip
from ssmde_lib.data.resident import ResidentTriplets, resident
from ssmde_lib.data.triplets import FrameCache, Triplets
from ssmde_lib.errors import UserError


@pytest.fixture
def clip(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        image = cv2.GaussianBlur(rng.integers(0, 255, (125, 414, 3), np.uint8), (0, 0), 1)
        cv2.imwrite(str(tmp_path / f"{i:06d}.png"), image)
    np.savetxt(tmp_path / "cam.txt", [[240.0, 0, 203], [0, 240, 57], [0, 0, 1]])
    return Clip(tmp_path)


def test_items_equal_the_literal_loader(clip):
    item = Triplets([clip], size=(64, 192), memory=0)[1]
    for name, i in zip(FRAMES, (2, 1, 3), strict=True):
        expected = literal.read_frame(clip.path / clip.frames[i], (64, 192)).transpose(2, 0, 1) * 255
        assert item[name].dtype == torch.uint8
        assert np.abs(item[name].numpy() - expected).max() <= 0.51  # rounded to whole grey levels
    np.testing.assert_allclose(item["K"][0], [240 * 192 / 414, 0, 203.5 * 192 / 414 - 0.5], rtol=1e-6)


def test_batched_jitter_equals_one_operation_after_the_other(clip):
    draw = np.random.default_rng(1).random((4, 3))
    frames = np.random.default_rng(2).random((3, 3, 4, 6, 3))  # triplet, frame
    mean = torch.from_numpy(frames.mean((1, 2, 3))).float()
    matrix, offset = colour_transform(torch.from_numpy(draw).float(), mean, torch.tensor([True, True, False]))
    for b in range(3):
        brightness, contrast, saturation = 0.8 + 0.4 * draw[:3, b] if b < 2 else (1, 1, 1)
        expected = literal.jitter(
            list(frames[b]), brightness, contrast, saturation, 0.2 * np.pi * (2 * draw[3, b] - 1) * (b < 2)
        )
        for frame, wanted in zip(frames[b], expected, strict=True):
            found = np.clip(frame @ matrix[b].double().numpy().T + float(offset[b]), 0, 1)
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_only_listed_targets_are_items(clip):
    assert [i for _, i in Triplets([clip], size=(64, 192), memory=0).index] == [1, 2, 3]
    (clip.path / "clip.json").write_text(json.dumps({"targets": [0, 3]}))
    assert Triplets([Clip(clip.path)], size=(64, 192), memory=0).index == [(0, 3)]
    with pytest.raises(UserError, match="too few frames for triplets with step 2"):
        Triplets([Clip(clip.path)], size=(64, 192), frame_stride=2)


def test_what_lies_on_a_device_are_the_items_that_a_loader_gives(clip):
    (clip.path / "clip.json").write_text(json.dumps({"targets": [1, 3]}))
    triplets = Triplets([clip, Clip(clip.path)], size=(64, 192))
    pixels = torch.rand(5, 64, 192, generator=torch.Generator().manual_seed(0))
    triplets.pseudo = [FrameCache(lambda i: pixels[i], range(5), True)] * 2
    triplets.labels = [FrameCache(lambda i: (1 + pixels[i].half(), pixels[i] > 0.5), range(5), True)] * 2
    there = ResidentTriplets(triplets, torch.device("cpu"))
    indices = [3, 0, 2, 2]
    expected = default_collate([triplets[i] for i in indices])
    found = there[indices]
    assert found.keys() == expected.keys() >= {"relative_depth", "teacher_mask"}
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


@pytest.mark.parametrize(
    ("device", "memory", "free", "fits"),
    [("cuda", 1e9, 1e9, True), ("cuda", 1e9, 1e5, False), ("cuda", 0, 1e9, False), ("cpu", 1e9, 1e9, False)],
)
def test_only_a_small_data_set_goes_to_a_gpu(clip, monkeypatch, device, memory, free, fits):
    """One that is held in memory and takes less than a quarter of what is free there."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 80e9))
    monkeypatch.setattr(ResidentTriplets, "__init__", lambda self, triplets, device: None)
    triplets = Triplets([clip], size=(64, 192), memory=memory)
    assert (resident(triplets, torch.device(device)) is not None) == fits
