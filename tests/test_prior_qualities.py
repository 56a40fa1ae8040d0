"""The priors that the ablation sets beside the shipped one: made worse, and made to know its world."""

import numpy as np
import pytest
import torch

from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint
from ssmde_lib.prior import get_provider
from ssmde_lib.prior.degraded import Degradation, Degraded, blur
from ssmde_lib.prior.in_domain import FineTuning, fine_tune, views
from ssmde_lib.synthetic import write_world


class Flat:
    """A perfect prior of a wall."""

    device = torch.device("cpu")

    def __call__(self, images):
        return torch.ones_like(images[:, :1])

    def describe(self):
        return {"provider": "flat", "sha256": "0"}


def pictures(count: int, seed: int = 0):
    return torch.randint(0, 256, (count, 3, 32, 48), generator=torch.Generator().manual_seed(seed)) / 255


def test_the_error_belongs_to_the_picture():
    prior, images = Degraded(Flat()), pictures(3)
    together, alone = prior(images), torch.cat([prior(image[None]) for image in images])
    assert torch.equal(together, alone)
    assert (together > 0).all()
    assert not torch.allclose(together[0], together[1], atol=0.01)


def test_the_error_is_smooth_and_as_large_as_it_says():
    logs = Degraded(Flat(), Degradation(error=0.35))(pictures(300)).log()
    assert 0.2 < float(logs.std()) < 0.36  # interpolation between cells takes a little away
    assert float(logs.diff(dim=3).abs().max()) < 0.25
    assert torch.equal(Degraded(Flat(), Degradation(error=0.0))(pictures(2)), torch.ones(2, 1, 32, 48))


def test_blur_keeps_flat_maps_and_widens_edges():
    step = (torch.arange(48) >= 24).float().expand(1, 1, 32, 48)
    blurred = blur(step, 3.0)
    assert torch.allclose(blur(torch.full((1, 1, 16, 16), 2.0), 2.0), torch.full((1, 1, 16, 16), 2.0), atol=1e-5)
    expected = torch.special.ndtr((torch.arange(48) - 23.5) / 3)  # an edge becomes the normal distribution's integral
    assert torch.allclose(blurred[0, 0, 16], expected, atol=0.01)


def test_what_was_done_is_described():
    assert Degraded(Flat()).describe() == {
        "provider": "flat, degraded (a stand-in for a poor prior)",
        "sha256": "0",
        "degradation": {"blur": 0.04, "error": 0.35, "cells": 4},
    }


def test_an_in_domain_prior_learns_from_the_world_s_own_depth(tmp_path):
    write_world(tmp_path / "data", "street", {"train": 1, "val": 1}, 4, 32, 64, 0, workers=1)
    found = views(tmp_path / "data", "train", 2)
    assert (
        found["images"].shape == (2, 3, 32, 64)
        and found["depths"].shape == (2, 1, 32, 64)
        and found["K"].shape == (2, 3, 3)
    )
    assert found["depths"].isinf().any() and (found["depths"] > 0).all()  # the sky
    state = torch.get_rng_state()
    curve = fine_tune(tmp_path / "data", tmp_path / "out" / "prior.safetensors", FineTuning(steps=4, batch=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(curve) == 4 and np.isfinite(curve[-1]["held_out"])
    record = checkpoint.read_record(tmp_path / "out" / "prior.safetensors")
    assert "not zero-shot" in record["trained_on"] and record["input_sizes"] == [[32, 64]]
    assert get_provider("leres_small", weights=tmp_path / "out" / "prior.safetensors")(pictures(1)).shape == (
        1,
        1,
        32,
        48,
    )


def test_without_depth_one_sentence(tmp_path):
    write_world(tmp_path / "data", "street", {"train": 1}, 3, 32, 64, 0, outputs=(), workers=1)
    with pytest.raises(UserError, match="learns from the ground truth"):
        views(tmp_path / "data", "train", 1)
