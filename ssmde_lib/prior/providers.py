"""Where pseudo-depth comes from: one callable a provider, images in, relative depth out (far is large), and what it is.

Every provider returns a positive map, so that the ratio of two pixels means something to the ranking loss:

- `leres_small` predicts log-depth, and its training scenes have known shift: exp(output) is depth up to scale (and the
  camera's unknown field of view). Ratios are trustworthy at every distance.
- `dinov2_small` predicts log-depth too, from pretrained features, and was trained on the same kind of scenes.
- `leres` predicts depth up to scale *and shift*; as in its authors' code, d - min(d) + 0.01 makes it positive. The
  nearest pixel becomes 0.01 of a map whose spread is about 1, so ratios among the nearest pixels exaggerate; the order
  itself does not change.
- `depth_anything_v2` predicts inverse depth up to scale and shift; 1 / (q / max(q) + 0.01) bounds the far end at 101
  times the near one.
"""

import difflib
import hashlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pooch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssmde_lib.data.download import Remote, download
from ssmde_lib.errors import UserError
from ssmde_lib.files import WEIGHTS
from ssmde_lib.networks import checkpoint
from ssmde_lib.networks.dinov2 import INSTALL, PACKAGE, installed_file
from ssmde_lib.networks.leres import OFFICIAL_SIZE, load_official
from ssmde_lib.prior.dinov2_small import BEST, BUNDLED_HEAD, FAST, RANGE, TokenGrid, load_network
from ssmde_lib.prior.test_time_augmentation import FlipAverage, MultiCrop, SinglePass

BUNDLED = WEIGHTS / "leres_small.safetensors"
LICENCE = "Adobe Research, non-commercial research only, no redistribution"
OFFICIAL = {
    "resnext101": Remote(
        "https://huggingface.co/lllyasviel/Annotators/resolve/main/res101.pth",
        LICENCE,
        "sha256:1d696b2ef3e8336b057d0c15bc82d2fecef821bfebe5ef9d7671a5ec5dde520b",
    ),
    "resnet50": Remote("https://huggingface.co/ffranchina/LeReS/resolve/main/res50.pth", LICENCE),
}


@runtime_checkable
class DepthPrior(Protocol):
    """What predicts relative depth and can say what it is."""

    @property
    def device(self) -> torch.device | str:
        """Where it computes."""
        ...

    def __call__(self, images: Float[Tensor, "b 3 h w"], /) -> Float[Tensor, "b 1 h w"]:
        """Relative depth, positive, far is large."""
        ...

    def describe(self) -> dict:
        """Provider, weights, depth convention: JSON-able."""
        ...


class Provider:
    """A way to look at pictures, `predict` (a module of `ssmde_lib.prior.test_time_augmentation`), and what it is.

    `about` is what `describe` returns.
    """

    def __init__(self, predict: nn.Module, about: dict, device: torch.device | str):
        self.predict, self.about, self.device = predict.to(device).eval(), about, torch.device(device)

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Relative depth, positive, far is large, at the images' size; RGB in [0, 1]; half precision on GPUs."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            return self.predict(images.to(self.device))

    def describe(self) -> dict:
        """Provider, weights and their SHA-256, input sizes, depth convention: JSON-able."""
        return self.about


def leres(
    variant: str = "resnext101",
    weights: str | Path | None = None,
    device: torch.device | str = "cpu",
    cache: str | Path | None = None,
) -> Provider:
    """The published LeReS (Yin et al. 2021): weights from a local path, or fetched once into `cache`."""
    if variant not in OFFICIAL:
        raise UserError(f"variant {variant!r} of provider 'leres' is unknown: choose one of {', '.join(OFFICIAL)}.")
    if weights is not None and not Path(weights).is_file():
        raise UserError(
            f"{weights} does not exist: download it from {OFFICIAL[variant].url} or choose provider 'leres_small'."
        )
    path = Path(weights) if weights else download_official(variant, cache)
    about = {
        "provider": "leres",
        "variant": variant,
        "weights": path.name,
        "sha256": pooch.file_hash(str(path)),
        "licence": LICENCE,
        "convention": "depth up to scale and shift, stored as d - min(d) + 0.01 of each image",
        "input_sizes": [list(OFFICIAL_SIZE)],
    }
    return Provider(
        SinglePass(load_official(path, variant), [OFFICIAL_SIZE], lambda d: d - d.amin((2, 3), keepdim=True) + 0.01),
        about,
        device,
    )


def download_official(variant: str, cache: str | Path | None) -> Path:
    """The published weights in `cache` (default: the user's), downloaded on first use."""
    try:
        return download(OFFICIAL[variant], cache or pooch.os_cache("ssmde"))
    except UserError as error:
        raise UserError(f"{error.message} Or choose provider 'leres_small', which needs no download.") from None


def leres_small(weights: str | Path = BUNDLED, multi_crop: bool = True, device: torch.device | str = "cpu") -> Provider:
    """The narrow LeReS trained by `ssmde_lib.prior.train` on a broad mixture of procedural scenes.

    Bundled with the package.

    With `multi_crop` it processes crops of the image too (see `MultiCrop`): more accurate on small objects, and five to
    six times as slow as a single pass.
    """
    net, record = checkpoint.load(weights), checkpoint.read_record(weights)
    about = {
        "provider": "leres_small",
        "weights": Path(weights).name,
        "sha256": pooch.file_hash(str(weights)),
        "licence": "MIT",
        "trained_on": record["trained_on"],
        "convention": "depth up to scale, exp(network output); the unknown field of view leaves some shift",
        "test_time_augmentation": "multi_crop" if multi_crop else "one",
        "input_sizes": [list(size) for size in record["input_sizes"]],
    }
    net, sizes = FlipAverage(net), [tuple(size) for size in record["input_sizes"]]
    return Provider(MultiCrop(net, sizes) if multi_crop else SinglePass(net, sizes, torch.exp), about, device)


def dinov2_small(
    weights: str | Path = BUNDLED_HEAD,
    backbone: str | Path | None = None,
    fast: bool = False,
    flip: bool = True,
    device: torch.device | str = "cpu",
) -> Provider:
    """Frozen DINOv2-S features and a head that `ssmde_lib.prior.train` trained; only the head is bundled.

    Args:
        weights: of the head.
        backbone: a local folder of facebook/dinov2-small; by default the package named in `networks.dinov2`. Without
            both the provider is `leres_small`, and a sentence says so.
        fast: one pass at 192 tokens, which small objects need more of; else 432.
        flip: average the log-depth of an image and its mirror image, at twice the time (not with `fast`).
    """
    if backbone is None and installed_file() is None:
        print(f"Prior dinov2_small needs the package {PACKAGE} ({INSTALL}): leres_small is used instead.")
        return leres_small(device=device)
    net, about = load_network(weights, backbone)
    about = {
        "provider": "dinov2_small",
        **about,
        "convention": f"depth up to scale, exp({RANGE} network output); the unknown field of view leaves some shift",
        "test_time_augmentation": "flip_average" if flip and not fast else "one",
        "tokens": FAST if fast else BEST,
    }
    return Provider(TokenGrid(FlipAverage(net) if flip and not fast else net, about["tokens"]), about, device)


class DisparityOf(nn.Module):
    """A transformers depth model as a plain network: images to one map."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Inverse depth b 1 h w, up to scale and shift."""
        return self.model(pixel_values=images).predicted_depth[:, None]


def depth_anything_v2(
    model: str | nn.Module = "depth-anything/Depth-Anything-V2-Small-hf",
    size: tuple[int, int] = (518, 518),
    device: torch.device | str = "cpu",
) -> Provider:
    """Depth Anything V2 (Yang et al. 2024) through transformers: a model name, a local folder or a model.

    `size` in multiples of 14.
    """
    name = model if isinstance(model, str) else type(model).__name__
    net: Any = model
    if isinstance(model, str):
        try:
            from transformers import AutoModelForDepthEstimation

            net = AutoModelForDepthEstimation.from_pretrained(name)
        except ImportError:
            raise UserError(
                "Provider 'depth_anything_v2' needs transformers: pip install 'ssmde[priors]', or choose 'leres_small'."
            ) from None
        except OSError:
            raise UserError(
                f"{name} could not be fetched from huggingface.co: give a local folder as `model`, "
                "or choose provider 'leres_small'."
            ) from None
    about = {
        "provider": "depth_anything_v2",
        "weights": name,
        "sha256": hash_state(net),
        "licence": "see the model card",
        "convention": "inverse depth q up to scale and shift, stored as 1 / (q / max(q) + 0.01) of each image",
        "input_sizes": [list(size)],
    }
    return Provider(SinglePass(DisparityOf(net), [size], invert), about, device)


def invert(disparity: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Relative depth between 1 / 1.01 and 100 from non-negative relative disparity."""
    disparity = disparity.clamp(min=0)
    return 1 / (disparity / disparity.amax((2, 3), keepdim=True).clamp(min=1e-6) + 0.01)


def hash_state(net: nn.Module) -> str:
    """SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    for tensor in net.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


PROVIDERS = {
    "leres": leres,
    "leres_small": leres_small,
    "dinov2_small": dinov2_small,
    "depth_anything_v2": depth_anything_v2,
}


def get_provider(name: str, **options) -> Provider:
    """The provider of that name, built with its own options (all take `device`); UserError for an unknown name."""
    if name not in PROVIDERS:
        near = difflib.get_close_matches(name, PROVIDERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(PROVIDERS)}."
        raise UserError(f"prior provider {name!r} is unknown: {hint}")
    return PROVIDERS[name](**options)
