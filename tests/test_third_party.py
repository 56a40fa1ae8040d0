"""Checkpoints of Monodepth2 and SC-Depth: random weights in their layouts, against literal decoders."""

import argparse
import collections
import datetime

import pytest
import torch
import torch.nn.functional as F

from ssmde_lib.errors import UserError
from ssmde_lib.networks.resnet import ResNetEncoder
from ssmde_lib.networks.third_party import load_monodepth2, load_sc_depth

DECODER = (16, 32, 64, 128, 256)


def random_encoder(layers: int) -> ResNetEncoder:
    encoder = ResNetEncoder(layers).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return encoder


def classifier(encoder: ResNetEncoder) -> dict:
    return {"fc.weight": torch.randn(1000, encoder.channels[-1]), "fc.bias": torch.randn(1000)}


def random_decoder(channels: list[int]) -> dict:
    """{("upconv", i, j) or ("dispconv", s): (weight, bias)}, in Monodepth2's order of creation."""

    def conv(inputs: int, outputs: int):
        return torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5, 0.1 * torch.randn(outputs)

    convs = {}
    for i in range(4, -1, -1):
        convs["upconv", i, 0] = conv(channels[-1] if i == 4 else DECODER[i + 1], DECODER[i])
        convs["upconv", i, 1] = conv(DECODER[i] + (channels[i - 1] if i > 0 else 0), DECODER[i])
    for s in range(4):
        convs["dispconv", s] = conv(DECODER[s], 1)
    return convs


def literal_disparity(encoder: ResNetEncoder, convs: dict, images: torch.Tensor, mode: str) -> torch.Tensor:
    def conv(key, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), *convs[key])

    features = encoder((images - 0.45) / 0.225)
    x = features[-1]
    for i in range(4, -1, -1):
        x = F.interpolate(F.elu(conv(("upconv", i, 0), x)), scale_factor=2, mode=mode)
        if i > 0:
            x = torch.cat([x, features[i - 1]], 1)
        x = F.elu(conv(("upconv", i, 1), x))
    return torch.sigmoid(conv(("dispconv", 0), x))


def named(prefix: str, parameters: tuple) -> dict:
    return dict(zip((f"{prefix}.weight", f"{prefix}.bias"), parameters, strict=True))


def write_monodepth2(folder, encoder, convs, **extra) -> None:
    state = encoder.state_dict() | classifier(encoder)
    torch.save(
        {f"encoder.{k}": v for k, v in state.items()} | {"height": 192, "width": 640, "use_stereo": False} | extra,
        folder / "encoder.pth",
    )
    decoder = {}
    for k, (key, parameters) in enumerate(convs.items()):
        decoder |= named(f"decoder.{k}.conv.conv" if key[0] == "upconv" else f"decoder.{k}.conv", parameters)
    torch.save(decoder, folder / "depth.pth")


def sc_depth_checkpoint(encoder, convs, dataset: str = "nyu") -> dict:
    state = {f"depth_net.encoder.encoder.{k}": v for k, v in (encoder.state_dict() | classifier(encoder)).items()}
    for key, parameters in convs.items():
        name = f"upconvs{key[2]}.{4 - key[1]}.conv.conv" if key[0] == "upconv" else f"dispconvs.{key[1]}.conv"
        state |= named(f"depth_net.decoder.{name}", parameters)
    state["pose_net.decoder.net.0.weight"] = torch.zeros(3)
    return {"epoch": 3, "state_dict": state, "hyper_parameters": {"hparams": argparse.Namespace(dataset_name=dataset)}}


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96)


@pytest.mark.parametrize("layers", [18, 50])
@torch.no_grad()
def test_monodepth2_loads_and_predicts_the_same(tmp_path, images, layers):
    torch.manual_seed(0)
    encoder = random_encoder(layers)
    convs = random_decoder(encoder.channels)
    write_monodepth2(tmp_path, encoder, convs)
    net, record = load_monodepth2(tmp_path)
    assert record == {"source": "Monodepth2", "size": [192, 640]}
    disparity = literal_disparity(encoder, convs, images, "nearest")
    assert disparity.std() > 1e-3
    torch.testing.assert_close(net(images)[0], disparity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.depth(disparity), 1 / (0.01 + 9.99 * disparity))


@pytest.mark.parametrize("layers", [18, 50])
@torch.no_grad()
def test_sc_depth_loads_and_predicts_the_same(tmp_path, images, layers):
    torch.manual_seed(0)
    encoder = random_encoder(layers)
    convs = random_decoder(encoder.channels)
    torch.save(sc_depth_checkpoint(encoder, convs), tmp_path / "sc.ckpt")
    net, record = load_sc_depth(tmp_path / "sc.ckpt")
    assert record == {"source": "SC-Depth", "size": [256, 320]}
    disparity = literal_disparity(encoder, convs, images, "bilinear")
    torch.testing.assert_close(net(images)[0], disparity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.depth(disparity), 1 / (10 * disparity + 0.01))


def test_a_pickle_that_carries_more_than_weights_is_refused(tmp_path):
    write_monodepth2(tmp_path, random_encoder(18), {}, made=datetime.date(2020, 1, 1))
    with pytest.raises(UserError, match=r"encoder.pth carries more than weights"):
        load_monodepth2(tmp_path)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    witness = tmp_path / "witness"

    class Hostile:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    torch.save({"state_dict": collections.OrderedDict(), "callbacks": Hostile()}, tmp_path / "sc.ckpt")
    with pytest.raises(UserError, match="could run code"):
        load_sc_depth(tmp_path / "sc.ckpt")
    assert not witness.exists()


def test_broken_missing_and_wrong_files_are_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_sc_depth(tmp_path / "none.ckpt")
    path = tmp_path / "cut.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        load_sc_depth(path)
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(UserError, match="cut.ckpt"):
        load_sc_depth(path)
    torch.save({"state_dict": {"a": torch.zeros(3)}}, path)
    with pytest.raises(UserError, match="depth_net"):
        load_sc_depth(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="not a dict"):
        load_sc_depth(path)


def test_a_layout_with_a_hole_names_the_key(tmp_path):
    encoder = random_encoder(18)
    convs = random_decoder(encoder.channels)
    checkpoint = sc_depth_checkpoint(encoder, convs)
    del checkpoint["state_dict"]["depth_net.decoder.upconvs0.2.conv.conv.bias"]
    torch.save(checkpoint, tmp_path / "sc.ckpt")
    with pytest.raises(UserError, match=r"before\.2\.0\.bias"):
        load_sc_depth(tmp_path / "sc.ckpt")


def test_an_unknown_encoder_is_refused(tmp_path):
    encoder = random_encoder(18)
    checkpoint = sc_depth_checkpoint(encoder, random_decoder(encoder.channels))
    checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if "layer3.1" not in k}
    torch.save(checkpoint, tmp_path / "sc.ckpt")
    with pytest.raises(UserError, match="no ResNet-18"):
        load_sc_depth(tmp_path / "sc.ckpt")
