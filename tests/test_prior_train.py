"""Training and scoring of a tiny leres_small: it learns, is deterministic and recorded, a perfect prior scores best."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ssmde_lib.errors import UserError
from ssmde_lib.prior import evaluate, get_provider, train
from ssmde_lib.prior.evaluate import score, score_image
from ssmde_lib.prior.train import Views
from ssmde_lib.synthetic.mixture_shards import load_shards, render_shards

SIZE, TALL = (32, 64), (64, 64)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 8)
        data = load_shards(render_shards(tmp_path_factory.mktemp("views"), 0, 8, SIZE))
        return [Views(data, data, SIZE)]


def test_it_learns(views, monkeypatch):
    monkeypatch.setattr(train, "augment", lambda images, depths, K, size: (images, depths, K))
    net, curve = train.train(views, steps=40, batch=8, seed=0, device="cpu")
    assert curve[-1]["level"] < 0.6 * curve[0]["level"]
    assert "held_out" in curve[-1] and not net.training


def test_shapes_take_turns(views, monkeypatch):
    seen = []
    monkeypatch.setattr(train, "augment", lambda images, depths, K, size: seen.append(size) or (images, depths, K))
    train.train([*views, Views(views[0].train, views[0].held_out, TALL)], steps=4, batch=4, seed=0, device="cpu")
    assert seen == [TALL, SIZE, TALL, SIZE]


def test_a_full_device_is_one_sentence(views, monkeypatch):
    def full(*parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "leres_loss", full)
    with pytest.raises(UserError, match="out of device memory: lower the batch"):
        train.train(views, steps=1, batch=4, seed=0, device="cpu")


def test_one_seed_gives_one_network(views):
    nets = [train.train(views, steps=3, batch=4, seed=seed, device="cpu")[0].state_dict() for seed in (0, 0, 1)]
    same, other = ([torch.equal(a, b) for a, b in zip(nets[0].values(), net.values(), strict=True)] for net in nets[1:])
    assert all(same) and not all(other)


def test_the_command_writes_weights_that_the_provider_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SHAPES", {SIZE: SIZE, TALL: TALL})
    monkeypatch.setattr("ssmde_lib.synthetic.mixture_shards.SHARD", 2)
    out = tmp_path / "w/leres_small.safetensors"
    options = f"--views 8 --steps 4 --batch 2 --device cpu --cache {tmp_path / 'cache'} --out {out}"
    monkeypatch.setattr(train, "VALIDATION", 0)
    monkeypatch.setattr(
        train, "render_shards", lambda folder, first, count, size: render_shards(folder, first, min(count, 4), size)
    )
    result = CliRunner().invoke(train.main, options.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["views"] == 8 and record["steps"] == record["steps_done"] == 4 and record["seed"] == 0
    assert record["curve"][-1]["step"] == 4 and record["training_seconds"] >= 0
    provider = get_provider("leres_small", weights=out)
    assert (
        provider.describe()["input_sizes"] == [list(SIZE), list(TALL)]
        and (provider(torch.rand(1, 3, 40, 50)) > 0).all()
    )


def test_score_of_perfect_and_reversed_priors():
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 20, (32, 48)).astype(np.float32)
    depth[:4] = np.inf
    dynamic_mask = np.zeros(depth.shape, bool)
    dynamic_mask[10:20, 10:20] = True
    known = np.where(np.isfinite(depth), depth, 50)
    scaled = score_image(3 * known, depth, dynamic_mask, 80)
    assert set(scaled) == {
        f"abs_rel_{a}_{r}" for a in ("scale", "scale_shift", "constant") for r in ("all", "static", "movers")
    } | {"order_all", "order_movers"}
    assert scaled["order_all"] == scaled["order_movers"] == 1
    assert max(value for key, value in scaled.items() if "abs_rel_scale" in key) < 1e-5 < scaled["abs_rel_constant_all"]
    affine = score_image(1 / (0.3 / known + 0.2), depth, dynamic_mask, 80)
    assert affine["abs_rel_scale_shift_all"] < 1e-5 and affine["abs_rel_scale_all"] > 0.1
    assert score_image(1 / known, depth, dynamic_mask, 80)["order_all"] == 0
    wrong = np.where(dynamic_mask, 2 * known, known)
    errors = score_image(wrong, depth, dynamic_mask, 80)
    assert errors["abs_rel_scale_movers"] > 0.5 and errors["abs_rel_scale_static"] < 0.2


def test_score_averages_movers_over_the_images_that_show_them():
    class Red:
        def __call__(self, images):
            return images[:, :1] + 0.1

    rgb = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    depth = (rgb[..., 0] / 255 + 0.1) * 10
    none, some = np.zeros((16, 16), bool), np.ones((16, 16), bool)
    row = score(Red(), [(rgb, depth, none), (rgb, depth, some), (rgb, depth, None)], 80)
    assert row["images"] == 3 and row["abs_rel_scale_movers"] == pytest.approx(0, abs=1e-4) and row["order_movers"] == 1


def test_held_out_frames_are_the_test_split():
    rgb, depth, dynamic_mask = next(iter(evaluate.world_samples("street", 1, 2, 1)))
    assert rgb.shape == (64, 192, 3) and depth.shape == dynamic_mask.shape == (64, 192)
    other = next(iter(evaluate.world_samples("street", 1, 2, 1, split=1)))
    assert not np.array_equal(rgb, other[0])
