"""The LeReS network: official names and counts, equality with an independent implementation, and its preprocessing."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ssmde_lib.errors import UserError
from ssmde_lib.networks.leres import VARIANTS, LeReS, load_official, preprocess

PARAMETERS = {"resnext101": 115_360_833, "resnet50": 52_126_529}


def randomised(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random weights and batch statistics of a magnitude that keeps activations alive, in place."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data.copy_(torch.randn(module.weight.shape, generator=generator) * (2 / fan) ** 0.5)
            if module.bias is not None:
                module.bias.data.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 0.8, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return net.eval()


def oracle_class():
    """`RelDepthModel` of controlnet_aux, its LeReS files alone.

    The package's root imports far more than is installed.
    """
    spec = importlib.util.find_spec("controlnet_aux")
    if spec is None:
        pytest.skip("controlnet_aux 0.0.10 (development dependency, oracle) is not installed")
    name = "leres_oracle"
    package = ModuleType(name)
    package.__path__ = [str(Path(spec.submodule_search_locations[0]) / "leres" / "leres")]
    sys.modules.setdefault(name, package)
    return importlib.import_module(f"{name}.multi_depth_model_woauxi").RelDepthModel


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameter_counts(variant):
    with torch.device("meta"):
        net = LeReS(**VARIANTS[variant])
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS[variant]


@pytest.mark.parametrize("variant", PARAMETERS)
def test_official_checkpoint_gives_the_oracles_output(variant, tmp_path):
    oracle = randomised(oracle_class()(variant), seed=1)
    path = tmp_path / "official.pth"
    torch.save({"depth_model": {f"module.{key}": value for key, value in oracle.state_dict().items()}}, path)
    net = load_official(path, variant)
    assert not net.training
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, actual = oracle.depth_model(images), net(images)
    assert expected.std() > 0.05, "a dead oracle would agree with anything"
    assert actual.shape == (1, 1, 64, 96)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_checkpoint_of_another_variant_or_kind_is_one_sentence(tmp_path):
    small = LeReS(**VARIANTS["small"])
    path = tmp_path / "res50.pth"
    torch.save({"depth_model": small.state_dict()}, path)
    with pytest.raises(UserError, match="res50.pth is not an official LeReS resnet50 checkpoint"):
        load_official(path, "resnet50")
    path.write_bytes(b"not a pickle")
    with pytest.raises(UserError, match="res50.pth is not an official LeReS"):
        load_official(path, "resnet50")


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_code_is_refused(tmp_path, capsys):
    path = tmp_path / "res101.pth"
    torch.save({"depth_model": Hostile()}, path)
    with pytest.raises(UserError, match="res101.pth"):
        load_official(path, "resnext101")
    assert "executed" not in capsys.readouterr().out


def reference_preprocess(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """The literal normalisation, one pixel at a time; uint8 h w 3 to 3 H W.

    Bilinear about pixel centres, /255, ImageNet's mean and standard deviation.
    """
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    h, w = rgb.shape[:2]
    out = np.zeros((3, height, width))
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((column + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = (1 - x + left) * rgb[top, left] + (x - left) * rgb[top, right]
            lower = (1 - x + left) * rgb[bottom, left] + (x - left) * rgb[bottom, right]
            out[:, row, column] = (((1 - y + top) * upper + (y - top) * lower) / 255 - mean) / std
    return out


@pytest.mark.parametrize("size", [(24, 40), (96, 130)])
def test_preprocessing_equals_the_hand_written_reference(size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    images = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(preprocess(images, (64, 48))[0], reference_preprocess(rgb, 64, 48), atol=1e-4)
    assert preprocess(images).shape == (1, 3, 448, 448)


def test_small_is_small_and_learns():
    torch.manual_seed(0)
    net = LeReS(**VARIANTS["small"])
    assert sum(p.numel() for p in net.parameters()) < 4_000_000
    images = torch.randn(2, 3, 64, 96)
    net(images).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_output_stays_float32_under_autocast():
    net = LeReS(**VARIANTS["small"]).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(torch.zeros(1, 3, 32, 32)).dtype == torch.float32
