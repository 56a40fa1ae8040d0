"""Providers: one interface, verified downloads, one-sentence errors, and the accuracy of the bundled weights."""

import hashlib

import numpy as np
import pytest
import torch
from local_server import serve

from ssmde_lib.data.download import Remote
from ssmde_lib.errors import UserError
from ssmde_lib.metrics import align, order_accuracy
from ssmde_lib.networks.leres import VARIANTS, LeReS, preprocess
from ssmde_lib.prior import get_provider, providers
from ssmde_lib.prior.train import VALIDATION
from ssmde_lib.synthetic.mixture import render_view


def test_leres_without_network_names_file_source_and_alternative(tmp_path, monkeypatch):
    with serve({}) as (url, _):
        monkeypatch.setitem(providers.OFFICIAL, "resnext101", Remote(f"{url}/res101.pth", "none"))
        with pytest.raises(UserError, match=r"res101\.pth cannot be downloaded now .*'leres_small'") as error:
            get_provider("leres", cache=tmp_path)
    assert str(error.value).count("\n") == 0


def test_unknown_names(tmp_path):
    with pytest.raises(UserError, match="did you mean 'leres_small'"):
        get_provider("leres_smal")
    with pytest.raises(UserError, match="'resnet9' of provider 'leres' is unknown: choose one of resnext101, resnet50"):
        get_provider("leres", variant="resnet9")
    with pytest.raises(UserError, match="none.pth does not exist"):
        get_provider("leres", weights=tmp_path / "none.pth")


def test_leres_follows_its_authors_rule(tmp_path, monkeypatch):
    """d - min(d) + 0.01 of the 448x448 output, image by image.

    A narrow network stands in for the 115 million parameters.
    """
    monkeypatch.setitem(VARIANTS, "resnet50", VARIANTS["small"])
    torch.manual_seed(0)
    net = LeReS(**VARIANTS["small"]).eval()
    path = tmp_path / "res50.pth"
    torch.save({"depth_model": {f"module.{k}": v for k, v in net.state_dict().items()}}, path)
    provider = get_provider("leres", variant="resnet50", weights=path)
    images = torch.rand(2, 3, 448, 448)
    with torch.no_grad():
        raw = net(preprocess(images))
    expected = torch.stack([d - d.min() + 0.01 for d in raw])
    torch.testing.assert_close(provider(images), expected, rtol=1e-4, atol=1e-5)
    about = provider.describe()
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert about["input_sizes"] == [[448, 448]] and "d - min(d) + 0.01" in about["convention"]


@pytest.fixture(scope="module")
def small():
    return get_provider("leres_small")


def test_shipped_weights(small):
    assert providers.BUNDLED.stat().st_size <= 8e6
    about = small.describe()
    assert about["sha256"] == hashlib.sha256(providers.BUNDLED.read_bytes()).hexdigest()
    assert "neither street nor room" in about["trained_on"]


def test_relative_depth_is_positive_repeatable_and_per_image(small):
    images = torch.rand(3, 3, 64, 192, generator=torch.Generator().manual_seed(0))
    depth = small(images)
    assert depth.shape == (3, 1, 64, 192) and depth.dtype == torch.float32
    assert torch.isfinite(depth).all() and (depth > 0).all()
    torch.testing.assert_close(small(images[1:2]), depth[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("multi_crop", [False, True])
def test_a_mirrored_picture_has_the_mirrored_depth(multi_crop):
    images, prior = (
        torch.rand(1, 3, 64, 192, generator=torch.Generator().manual_seed(0)),
        get_provider("leres_small", multi_crop=multi_crop),
    )
    torch.testing.assert_close(prior(images.flip(3)), prior(images).flip(3), rtol=1e-4, atol=1e-4)
    assert prior.describe()["test_time_augmentation"] == ("multi_crop" if multi_crop else "one")


def test_shipped_weights_know_depth(small):
    """On held-out views of its own mixture: order of pixels and scaled depth, against the best constant."""
    order, error, constant = [], [], []
    for seed in range(VALIDATION + 500, VALIDATION + 524):
        frame = render_view(seed, 64, 192)
        known = np.isfinite(frame.depth)
        predicted = small(torch.from_numpy(frame.rgb).permute(2, 0, 1)[None].float() / 255)[0, 0].numpy()
        order.append(order_accuracy(predicted, frame.depth, known))
        error.append(np.mean(np.abs(align(predicted, frame.depth, known) / frame.depth - 1)[known]))
        constant.append(np.mean(np.abs(np.median(frame.depth[known]) / frame.depth - 1)[known]))
    assert np.nanmean(order) > 0.72
    assert np.mean(error) < 0.8 * np.mean(constant)


def test_depth_anything_with_a_tiny_random_network():
    transformers = pytest.importorskip("transformers", reason="optional: pip install 'ssmde[priors]'")
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, out_features=["stage1", "stage2"],
        apply_layernorm=True, reshape_hidden_states=False)  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        patch_size=14,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_in_index=-1,
        head_hidden_size=4,
    )
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config)
    provider = get_provider("depth_anything_v2", model=model, size=(56, 84))
    images = torch.rand(2, 3, 56, 84)
    depth = provider(images)
    with torch.no_grad():
        disparity = model(preprocess(images, (56, 84))).predicted_depth[:, None]
    expected = torch.stack([1 / (q / q.max().clamp(min=1e-6) + 0.01) for q in disparity])
    torch.testing.assert_close(depth, expected, rtol=1e-4, atol=1e-4)
    assert "inverse depth" in provider.describe()["convention"] and len(provider.describe()["sha256"]) == 64


def test_depth_anything_without_transformers(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers: pip install 'ssmde\[priors\]'"):
        get_provider("depth_anything_v2")
