"""The batch augmentation: mirroring commutes with the geometry, one draw a triplet, clean frames stay clean."""

import colorsys

import numpy as np
import pytest
import torch

from ssmde_lib.data.augment import FRAMES, augment, mirror


def make_batch(size=4, height=6, width=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    batch = {name: torch.rand(size, 3, height, width, generator=generator) for name in FRAMES}
    K = torch.tensor([[7.0, 0, 4.2], [0, 8.0, 2.9], [0, 0, 1]]).repeat(size, 1, 1)
    return batch | {
        "K": K,
        "relative_depth": torch.rand(size, 1, height, width, generator=generator),
        "teacher_mask": torch.rand(size, 1, height, width, generator=generator) > 0.5,
    }


def test_mirroring_commutes_with_the_geometry():
    batch = make_batch(2)
    mirrored = mirror(batch, torch.tensor([True, False]))
    ys, xs = torch.meshgrid(torch.arange(6.0), torch.arange(10.0), indexing="ij")
    rays = torch.stack([xs, ys, torch.ones_like(xs)]).flatten(1)
    points = torch.linalg.inv(batch["K"][0]) @ rays
    reflected = (torch.linalg.inv(mirrored["K"][0]) @ rays).view(3, 6, 10).flip(-1).flatten(1)
    # the point seen at a mirrored pixel is the mirror image (x to -x) of the point seen before
    torch.testing.assert_close(reflected, points * torch.tensor([[-1.0], [1.0], [1.0]]))
    for name in (*FRAMES, "relative_depth", "teacher_mask"):
        assert torch.equal(mirrored[name][0], batch[name][0].flip(-1))
        assert torch.equal(mirrored[name][1], batch[name][1])
    assert torch.equal(mirrored["K"][1], batch["K"][1])
    again = mirror(mirrored, torch.tensor([True, False]))
    torch.testing.assert_close(again["K"], batch["K"])


def test_one_draw_for_the_three_frames_and_another_for_the_next_triplet():
    batch = make_batch(3)
    batch["prev"], batch["next"] = batch["tgt"].clone(), batch["tgt"].clone()
    for name in FRAMES:
        batch[name][:] = batch[name][:1]
    out = augment(batch, torch.Generator().manual_seed(1), flip=0.0, jitter=1.0)
    assert torch.equal(out["tgt_aug"], out["prev_aug"]) and torch.equal(out["tgt_aug"], out["next_aug"])
    assert (out["tgt_aug"][0] - out["tgt_aug"][1]).abs().max() > 0.02
    assert (out["tgt_aug"] - out["tgt"]).abs().amax((1, 2, 3)).min() > 0.02


def test_the_draw_comes_from_the_generator_alone():
    batch = make_batch()
    first = augment(batch, torch.Generator().manual_seed(5))
    torch.rand(3)
    second = augment(batch, torch.Generator().manual_seed(5))
    other = augment(batch, torch.Generator().manual_seed(6))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_given_batch_is_left_alone():
    batch = make_batch()
    before = {key: value.clone() for key, value in batch.items()}
    augment(batch, torch.Generator().manual_seed(2))
    assert batch.keys() == before.keys()
    assert all(torch.equal(batch[key], before[key]) for key in batch)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_without_jitter_the_copies_are_the_clean_frames(flip):
    out = augment(make_batch(), torch.Generator().manual_seed(0), flip=flip, jitter=0.0)
    for name in FRAMES:
        torch.testing.assert_close(out[f"{name}_aug"], out[name], atol=2e-4, rtol=0)


def test_jitter_stays_in_range_and_moves_the_hue_as_stated():
    batch = make_batch(64, 4, 4)
    out = augment(batch, torch.Generator().manual_seed(3), flip=0.0, jitter=1.0)
    assert out["tgt_aug"].min() >= 0 and out["tgt_aug"].max() <= 1
    # a muted red: its hue turns by about 0.1 turns at most (the chroma plane of YIQ is not exactly that of HSV)
    for name in FRAMES:
        batch[name][:] = torch.tensor([0.6, 0.4, 0.4])[:, None, None]
    out = augment(batch, torch.Generator().manual_seed(4), flip=0.0, jitter=1.0)
    hues = np.array([colorsys.rgb_to_hsv(*rgb.tolist())[0] for rgb in out["tgt_aug"][:, :, 0, 0]])
    turns = np.minimum(hues, 1 - hues)
    assert 0.05 < turns.max() < 0.16
    # grey has no hue: it only changes its brightness
    for name in FRAMES:
        batch[name][:] = 0.5
    out = augment(batch, torch.Generator().manual_seed(4), flip=0.0, jitter=1.0)
    channels = out["tgt_aug"].amax(1) - out["tgt_aug"].amin(1)
    assert channels.max() < 1e-3
    assert out["tgt_aug"].min() > 0.39 and out["tgt_aug"].max() < 0.61
