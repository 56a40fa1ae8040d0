"""The one evaluator: predictions and truth in, one record an image out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from ssmde_lib import opencv as cv2
from ssmde_lib.data.images import tell_once
from ssmde_lib.data.layout import Clip
from ssmde_lib.errors import UserError
from ssmde_lib.evaluation.protocols import Protocol
from ssmde_lib.evaluation.results import Results
from ssmde_lib.metrics import depth_errors, edge_errors, fit_alignment

Predict = Callable[[UInt8[np.ndarray, "b h w 3"]], Float[np.ndarray, "b h2 w2"]]


@dataclass
class Sample:
    """One image's prediction beside its truth; `movers` is 0 on static pixels, None where unknown."""

    clip: str
    frame: str
    pred: Float[np.ndarray, "_ _"]
    gt: Float[np.ndarray, "h w"]
    dynamic_mask: UInt8[np.ndarray, "_ _"] | None = None


def evaluate_clips(
    predict: Predict, clips: list[Clip], protocol: Protocol, *, batch: int = 8, progress: bool = False
) -> Results:
    """Run `predict` on all frames with a depth map.

    `predict` maps uint8 RGB images b h w 3 to depth b h w, up to the protocol's alignment.

    Where a clip names `targets` (a benchmark's list) only these count.
    """
    for clip in clips:
        tell_unmatched(clip)
    samples = predictions_of(predict, clips, protocol, batch)
    total = sum(len(clip) for clip in clips)
    return evaluate(tqdm(samples, total=total, disable=not progress, mininterval=5, ncols=90), protocol)


def tell_unmatched(clip: Clip) -> None:
    """Say on the terminal which depth maps of a clip belong to none of its frames."""
    stems = {clip.stem(i) for i in range(len(clip))}
    maps = [path for folder in ("gt_depth", "depth") for path in sorted((clip.path / folder).glob("*.png"))]
    others = [path for path in maps if path.stem not in stems]
    if others:
        tell_once(
            f"{clip.path}: {len(others)} of {len(maps)} depth maps are named like no frame ({others[0].name}; "
            f"the frames: {clip.frames[0]} to {clip.frames[-1]}): give them the frames' names."
        )


def predictions_of(predict: Predict, clips: list[Clip], protocol: Protocol, batch: int) -> Iterator[Sample]:
    """Predicted and true depth of every frame that has a depth map."""
    for clip in clips:
        name = "/".join(clip.path.resolve().parts[-3:])  # data set, split, clip: the same on every machine
        targets = clip.about.get("targets", range(len(clip)))
        for first in range(0, len(targets), batch):
            truths = {i: gt for i in targets[first : first + batch] if (gt := read_truth(clip, i)) is not None}
            if not truths:
                continue
            images = np.stack([clip.image(i) for i in truths])
            for pred, (i, gt) in zip(predict_averaged(predict, images, protocol), truths.items(), strict=True):
                yield Sample(name, clip.stem(i), pred, gt, clip.dynamic_mask(i))


def read_truth(clip: Clip, i: int) -> Float[np.ndarray, "h w"] | None:
    """True depth of frame i in metres, 0 where unknown; at full resolution where `gt_depth/` exists."""
    full = clip.read_depth("gt_depth", i)
    return clip.depth(i) if full is None else full


def predict_averaged(
    predict: Predict, images: UInt8[np.ndarray, "b h w 3"], protocol: Protocol
) -> Float[np.ndarray, "b h2 w2"]:
    """The prediction, or with `flip_average` its mean with the mirrored image's, mirrored back."""
    if not protocol.flip_average:
        return predict(images)
    mirrored = predict(np.ascontiguousarray(images[:, :, ::-1]))[..., ::-1]
    return (predict(images) + mirrored) / 2


def evaluate(samples: Iterable, protocol: Protocol) -> Results:
    """Evaluate predictions made elsewhere, too.

    An image that comes twice is a UserError, one without valid pixels is left out.
    """
    records, seen = [], set()
    for sample in samples:
        key = (sample.clip, sample.frame)
        if key in seen:
            raise UserError(f"frame {sample.frame} of {sample.clip} comes twice: evaluate every image once.")
        seen.add(key)
        record = evaluate_image(sample, protocol)
        if record:
            records.append(record)
    if not records:
        if not seen:
            raise UserError(
                "no frame has a depth map of its name: a clip keeps the depth of NAME.jpg as depth/NAME.png, "
                "16 bits, with depth_png_units_per_metre in clip.json (docs/data.md)."
            )
        raise UserError(
            f"the depth maps of all {len(seen)} images hold nothing between {protocol.min_depth:g} and "
            f"{protocol.max_depth:g} m, as protocol {protocol.name!r} wants it: check that they are not empty, "
            "and depth_png_units_per_metre in clip.json."
        )
    return Results(protocol, records)


def evaluate_image(sample: Sample, protocol: Protocol) -> dict | None:
    """One image's record: alignment, errors by region and by depth bin, edge errors; None where no pixel is valid.

    Order matters and is tested: resize, align over all valid pixels, then clamp. Regions share the one alignment.
    """
    valid = protocol.valid(sample.gt)
    if not valid.any():
        return None
    pred = resize_depth(sample.pred, sample.gt.shape, protocol.resize_inverse)
    if not (np.isfinite(pred).all() and (pred > 0).all()):
        raise UserError(
            f"the predicted depth of frame {sample.frame} of {sample.clip} is not finite and positive: "
            "check the network."
        )
    alignment = fit_alignment(pred, sample.gt, valid, protocol.alignment)
    # Sparse truth is the common case: everything but the edges needs the valid pixels alone.
    p = np.clip(alignment(pred[valid]), protocol.min_depth, protocol.max_depth)
    gt = sample.gt[valid].astype(np.float64)
    record = {
        "clip": sample.clip,
        "frame": sample.frame,
        "scale": alignment.scale,
        "shift": alignment.shift,
        "regions": {name: errors(p, gt, mask) for name, mask in regions(sample, valid).items() if mask.any()},
        "bins": depth_bins(p, gt, protocol.depth_bins),
    }
    if protocol.dense:
        aligned = np.clip(alignment(pred), protocol.min_depth, protocol.max_depth)
        record["edges"] = edge_errors(aligned, sample.gt, valid)
    return record


def resize_depth(
    depth: Float[np.ndarray, "_ _"], size: tuple[int, int], inverse: bool = False
) -> Float[np.ndarray, "h w"]:
    """Bilinear resize to (h, w), of depth or of inverse depth.

    Pixel centres as in docs/design.md, which are OpenCV's.
    """
    if depth.shape == size:
        return depth
    if inverse:
        return 1 / cv2.resize(1 / depth, size[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.resize(depth, size[::-1], interpolation=cv2.INTER_LINEAR)


def regions(sample: Sample, valid: np.ndarray) -> dict[str, np.ndarray]:
    """Masks over the valid pixels: all, and with a dynamic mask static and dynamic."""
    masks = {"all": np.ones(int(valid.sum()), bool)}
    if sample.dynamic_mask is not None:
        dynamic_mask = sample.dynamic_mask
        if dynamic_mask.shape != valid.shape:
            dynamic_mask = cv2.resize(dynamic_mask, valid.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        masks["static"] = dynamic_mask[valid] == 0
        masks["dynamic"] = ~masks["static"]
    return masks


def errors(pred: np.ndarray, gt: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Depth errors over the mask, and its number of pixels."""
    return depth_errors(pred, gt, mask) | {"pixels": int(mask.sum())}


def depth_bins(pred: np.ndarray, gt: np.ndarray, bounds: tuple[float, ...]) -> dict[str, float]:
    """AbsRel by the truth's depth bin; a bin without pixels is absent."""
    relative = np.abs(pred - gt) / gt
    bins = np.digitize(gt, bounds)
    return {
        f"{near:g}-{far:g} m": float(relative[bins == k].mean())
        for k, (near, far) in enumerate(pairwise(bounds), start=1)
        if (bins == k).any()
    }
