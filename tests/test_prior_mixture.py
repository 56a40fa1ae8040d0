"""The mixture: deterministic, varied, physically sensible, and ignorant of the worlds that the prior serves.

Its augmentation.
"""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import ssmde_lib
from ssmde_lib.prior.augment import augment, crop, photograph
from ssmde_lib.synthetic.close_up import CLOSE, close_up
from ssmde_lib.synthetic.mixture import ROOMY, Mixture, interior, render_view, sample_view
from ssmde_lib.synthetic.mixture_shards import load_shards, render_shards

SEEDS = range(2000, 2040)


@pytest.fixture(scope="module")
def frames():
    return [render_view(seed, 32, 64) for seed in SEEDS]


def test_the_same_seed_gives_the_same_bytes(frames):
    again = render_view(SEEDS[3], 32, 64)
    np.testing.assert_array_equal(again.rgb, frames[3].rgb)
    np.testing.assert_array_equal(again.depth, frames[3].depth)
    assert not np.array_equal(frames[3].rgb, frames[4].rgb)


def test_views_are_varied_and_sensible(frames):
    assert all((frame.depth > 0.1).all() for frame in frames), "the camera stands inside something"
    assert np.mean([np.isfinite(frame.depth).mean() > 0.2 for frame in frames]) > 0.9
    medians = [np.median(frame.depth) for frame in frames]
    assert np.nanmin(medians) < 3 and np.max([m for m in medians if np.isfinite(m)]) > 10
    assert 0.1 < np.mean([np.isinf(frame.depth).any() for frame in frames]) < 0.9, "indoors and outdoors"
    squash = [frame.K[1, 1] / frame.K[0, 0] for frame in frames]
    assert 6 / 7 < min(squash) < 0.9 and 1.1 < max(squash) < 7 / 6
    assert np.std([frame.rgb.mean() for frame in frames]) > 15


def test_close_views_are_near_tilted_and_of_small_range():
    close, common = (Mixture((family,), (1.0,), (1.0,)) for family in (close_up, interior))
    near, usual = (
        np.array([np.percentile(render_view(seed, 24, 32, mixture).depth, (0, 5, 50, 95)) for seed in range(30)])
        for mixture in (close, common)
    )
    assert near[:, 0].min() > 0.05, "the camera stands inside something"
    assert np.median(near[:, 2]) < 0.7 * np.median(usual[:, 2])
    assert np.median(near[:, 3] / near[:, 1]) < np.median(usual[:, 3] / usual[:, 1])
    pitch = [np.arcsin(sample_view(seed, 24, 32, close).T_world_cam[1, 2]) for seed in range(30)]
    assert 0.25 < np.mean(pitch) < 0.55 and np.std(pitch) > 0.15, "y points down, and so does the optical axis"


def test_the_mixture_of_close_views_leaves_the_other_as_it_was():
    assert set(CLOSE.families) - set(ROOMY.families) == {close_up}
    assert sum(CLOSE.wide) == pytest.approx(1) and sum(CLOSE.narrow) == pytest.approx(1)
    np.testing.assert_array_equal(render_view(7, 16, 24).rgb, render_view(7, 16, 24, ROOMY).rgb)


def test_size_changes_the_sampling_only():
    small, large = sample_view(5, 32, 64), sample_view(5, 64, 128)
    np.testing.assert_allclose((large.K[:2, 2] + 0.5) / 2 - 0.5, small.K[:2, 2])
    np.testing.assert_allclose(large.K[[0, 1], [0, 1]] / 2, small.K[[0, 1], [0, 1]])
    assert len(small.scene.primitives) == len(large.scene.primitives)


def test_wide_pictures_are_taken_outdoors_narrow_ones_indoors():
    roofed = {
        size: np.mean([np.isfinite(render_view(seed, *size).depth).all() for seed in range(40)])
        for size in ((16, 48), (24, 32))
    }
    assert roofed[16, 48] < roofed[24, 32] - 0.15


def test_training_never_imports_the_worlds_it_serves():
    """Only the renderer and its building blocks: neither street nor room, nor what they are made of."""
    allowed = [f"ssmde_lib.synthetic.{name}" for name in ("engine", "scene", "scene_builder", "close_up")]
    allowed += [
        f"ssmde_lib.synthetic.{path.stem}" for path in Path(ssmde_lib.__file__).parent.glob("synthetic/mixture*.py")
    ]
    folder = Path(ssmde_lib.__file__).parent
    for name in (
        "synthetic/mixture.py",
        "synthetic/mixture_shards.py",
        "synthetic/close_up.py",
        "prior/augment.py",
        "prior/losses.py",
        "prior/loop.py",
        "prior/tokens.py",
        "prior/train.py",
    ):
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ssmde_lib.synthetic"):
                assert node.module in allowed, (name, node.module)


def test_shards_resume_and_join(tmp_path, monkeypatch):
    monkeypatch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 2)
    first = render_shards(tmp_path, 0, 2, (32, 64))
    stamp = first[0].stat().st_mtime_ns
    data = load_shards(render_shards(tmp_path, 0, 4, (32, 64)))
    assert first[0].stat().st_mtime_ns == stamp, "a finished shard was rendered again"
    assert [tuple(data[key].shape) for key in ("images", "depths", "K")] == [(4, 3, 32, 64), (4, 1, 32, 64), (4, 3, 3)]
    np.testing.assert_array_equal(data["images"][3].permute(1, 2, 0), render_view(3, 32, 64).rgb)


def test_a_short_shard_is_never_taken_for_a_full_one(tmp_path, monkeypatch):
    monkeypatch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 4)
    for count in (3, 4, 3, 5):
        images = load_shards(render_shards(tmp_path, 0, count, (16, 32)))["images"]
        assert len(images) == count
        np.testing.assert_array_equal(images[-1].permute(1, 2, 0), render_view(count - 1, 16, 32).rgb)


def test_a_cropped_pixel_keeps_its_ray():
    """Images that hold each pixel's own ray (x/z, y/z).

    After any crop, aspect and mirroring the new K gives the same rays.
    """
    torch.manual_seed(0)
    b, h, w = 16, 40, 80
    K = torch.tensor([[50.0, 0, 37], [0, 35, 21], [0, 0, 1]]).expand(b, 3, 3)
    y, x = torch.meshgrid(torch.arange(float(h)), torch.arange(float(w)), indexing="ij")
    rays = torch.stack([(x - 37) / 50, (y - 21) / 35, torch.ones_like(x)]).expand(b, 3, h, w)
    images, depths, new_K = crop(rays, rays[:, 2:], K, (24, 64))
    assert (depths == 1).all()
    v, u = torch.meshgrid(torch.arange(24.0), torch.arange(64.0), indexing="ij")
    expected_x = (u - new_K[:, 0, 2].view(b, 1, 1)) / new_K[:, 0, 0].view(b, 1, 1)
    expected_y = (v - new_K[:, 1, 2].view(b, 1, 1)) / new_K[:, 1, 1].view(b, 1, 1)
    inner = np.s_[:, 2:-2, 2:-2]
    torch.testing.assert_close(images[:, 1][inner], expected_y[inner], rtol=0, atol=1e-3)
    mirrored = torch.where((images[:, 0, 0, -1] > images[:, 0, 0, 0]), 1.0, -1.0).view(b, 1, 1)
    assert set(mirrored.flatten().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close((images[:, 0] * mirrored)[inner], expected_x[inner], rtol=0, atol=1e-3)


def test_augmentation_changes_pictures_not_depths():
    torch.manual_seed(0)
    images, depths = torch.rand(8, 3, 32, 64), 1 + torch.rand(8, 1, 32, 64)
    K = torch.eye(3).expand(8, 3, 3)
    out, out_depths, _ = augment(images, depths, K, (32, 64))
    assert out.shape == images.shape and out.min() >= 0 and out.max() <= 1
    assert torch.isin(out_depths, depths).all(), "depth must never be blended across edges"
    flat = photograph(torch.full((8, 3, 16, 16), 0.5))
    assert flat.mean((1, 2, 3)).std() > 0.03, "exposure must vary"
