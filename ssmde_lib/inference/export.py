"""A depth network as an ONNX file, for engines other than PyTorch."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.errors import UserError
from ssmde_lib.inference.predictor import Predictor


class DepthFromImages(nn.Module):
    """The exported graph: float RGB in [0, 1] at the network's size to depth."""

    def __init__(self, predictor: Predictor):
        super().__init__()
        self.net = predictor.net

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Depth of a batch of images."""
        return self.net.depth(self.net(images)[0])


def export_onnx(predictor: Predictor, path: str | Path, size: tuple[int, int] | None = None) -> float:
    """Write the network with input `images` (b 3 h w) and output `depth` (b 1 h w), b free; returns its parity error.

    The parity error is the largest relative difference between onnxruntime and PyTorch over batches of 1 and 3.
    """
    size = size or predictor.size
    if size is None:
        raise UserError("the checkpoint does not say its image size: give --size HEIGHT WIDTH.")
    if min(size) < 64 or size[0] % 32 or size[1] % 32:
        raise UserError(
            f"size {size[0]}x{size[1]} does not suit the network: give multiples of 32, at least 64, by --size."
        )
    model = DepthFromImages(predictor).to("cpu").eval()
    example = torch.rand(2, 3, *size, device="cpu", generator=torch.Generator("cpu").manual_seed(0))
    axes = {"images": {0: "batch"}, "depth": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no onnxscript warns of its age
        torch.onnx.export(
            model,
            (example,),
            str(path),
            dynamo=False,
            input_names=["images"],
            output_names=["depth"],
            dynamic_axes=axes,
        )
    return parity_error(model, path, size)


@torch.inference_mode()
def parity_error(model: nn.Module, path: str | Path, size: tuple[int, int]) -> float:
    """Largest relative difference of an ONNX file's depth from the model's, over batches of 1 and 3 random images."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path} was written but not checked: pip install onnxruntime, then export again.") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 3):
        images = torch.rand(batch, 3, *size, device="cpu", generator=torch.Generator("cpu").manual_seed(batch))
        expected = model(images).numpy()
        found = session.run(["depth"], {"images": images.numpy()})[0]
        worst = max(worst, float(np.max(np.abs(found - expected) / expected)))
    return worst
