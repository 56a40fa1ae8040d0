"""Errors of a depth map against the truth, in float64: plain functions of arrays, no files, no networks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ssmde_lib import opencv as cv2
from ssmde_lib.errors import UserError

ERRORS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10")  # smaller is better
ACCURACIES = ("d1", "d2", "d3")  # share of pixels within 1.25, 1.25^2, 1.25^3; larger is better
METRICS = ERRORS + ACCURACIES
ALIGNMENTS = ("none", "median", "least_squares", "least_squares_inverse")

Array = np.ndarray


def select(pred: Array, gt: Array, mask: Bool[Array, "*s"] | None) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The masked pixels of both maps as float64 vectors; no pixel at all is a UserError."""
    mask = np.ones(gt.shape, bool) if mask is None else mask
    if not mask.any():
        raise UserError("there is no valid pixel to compare: check the ground truth, its range and its crop.")
    return pred[mask].astype(np.float64), gt[mask].astype(np.float64)


def depth_errors(
    pred: Float[Array, "*s"], gt: Float[Array, "*s"], mask: Bool[Array, "*s"] | None = None
) -> dict[str, float]:
    """The eight customary figures over the masked pixels (Eigen et al. 2014); both maps in metres and positive.

    `sq_rel` is Eigen's mean of (pred - gt)^2 / gt, in metres; the KITTI server divides by gt^2 instead.
    """
    pred, gt = select(pred, gt, mask)
    difference, log_ratio = pred - gt, np.log(pred / gt)
    ratio = np.exp(np.abs(log_ratio))
    return {
        "abs_rel": float(np.mean(np.abs(difference) / gt)),
        "sq_rel": float(np.mean(difference**2 / gt)),
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "rmse_log": float(np.sqrt(np.mean(log_ratio**2))),
        "log10": float(np.mean(np.abs(log_ratio)) / np.log(10)),
        **{f"d{k}": float(np.mean(ratio < 1.25**k)) for k in (1, 2, 3)},
    }


@dataclass(frozen=True)
class Alignment:
    """What makes a prediction comparable with metres: y = scale x + shift, of depth or of inverse depth."""

    scale: float = 1.0
    shift: float = 0.0
    inverse: bool = False

    def __call__(self, pred: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Aligned depth, float64; where the aligned inverse depth is not positive the depth is infinite."""
        pred = pred.astype(np.float64)
        if not self.inverse:
            return self.scale * pred + self.shift
        inverse_depth = self.scale / pred + self.shift
        return np.divide(1, inverse_depth, out=np.full_like(pred, np.inf), where=inverse_depth > 0)


def fit_alignment(
    pred: Float[Array, "*s"], gt: Float[Array, "*s"], mask: Bool[Array, "*s"] | None = None, kind: str = "median"
) -> Alignment:
    """Alignment of `pred` to `gt` over the masked pixels.

    "median": the ratio of the medians (Zhou et al. 2017). "least_squares": scale and shift of depth.
    "least_squares_inverse": scale and shift of inverse depth (Ranftl et al. 2020). "none": as it is.
    """
    if kind not in ALIGNMENTS:
        raise UserError(f"unknown alignment {kind!r}: choose one of {', '.join(ALIGNMENTS)}.")
    if kind == "none":
        return Alignment()
    pred, gt = select(pred, gt, mask)
    if kind == "median":
        return Alignment(scale=float(np.median(gt) / np.median(pred)))
    inverse = kind == "least_squares_inverse"
    return Alignment(*scale_and_shift(1 / pred, 1 / gt) if inverse else scale_and_shift(pred, gt), inverse)


def scale_and_shift(x: Float[Array, " n"], y: Float[Array, " n"]) -> tuple[float, float]:
    """Least-squares (scale, shift) of scale x + shift = y; scale 0 where x is constant."""
    centred = x - x.mean()
    variance = np.mean(centred**2)
    scale = np.mean(centred * (y - y.mean())) / variance if variance > 0 else 0.0
    return float(scale), float(y.mean() - scale * x.mean())


def align(
    pred: Float[Array, "*s"], gt: Float[Array, "*s"], mask: Bool[Array, "*s"] | None = None, kind: str = "median"
) -> Float[Array, "*s"]:
    """The whole prediction, aligned over the masked pixels, float64; see `fit_alignment` for the kinds.

    Clamp afterwards.
    """
    return fit_alignment(pred, gt, mask, kind)(pred)


def order_accuracy(
    pred: Float[Array, "*s"],
    gt: Float[Array, "*s"],
    mask: Bool[Array, "*s"] | None = None,
    *,
    first: Bool[Array, "*s"] | None = None,
    ratio: float = 1.15,
    pairs: int = 20_000,
    seed: int = 0,
) -> float:
    """Share of random pixel pairs, depth ratio above `ratio`, whose depth order is right.

    Ties are wrong (Chen et al. 2016).

    `first` restricts one end of each pair, to dynamic pixels for instance. NaN where no pair is confident.
    """
    mask = np.ones(gt.shape, bool) if mask is None else mask
    a_end, b_end = np.flatnonzero(mask if first is None else mask & first), np.flatnonzero(mask)
    if not a_end.size:
        return float("nan")
    rng = np.random.default_rng(seed)
    a, b = rng.choice(a_end, pairs), rng.choice(b_end, pairs)
    pred, gt = pred.reshape(-1), gt.reshape(-1)
    confident = np.abs(np.log(gt[a] / gt[b])) > np.log(ratio)
    right = np.sign(pred[a] - pred[b]) == np.sign(gt[a] - gt[b])
    return float(right[confident].mean()) if confident.any() else float("nan")


def depth_edges(depth: Float[Array, "h w"], ratio: float = 1.15) -> Bool[Array, "h w"]:
    """One-pixel-wide edges where depth jumps by more than `ratio`.

    Canny's thinning on log depth, which makes them independent of scale.
    """
    log_depth = np.log(depth).astype(np.float32)
    units = 1000  # Canny takes 16-bit gradients; a Sobel kernel answers a step by four times its height
    dx, dy = (
        np.clip(units * cv2.Sobel(log_depth, cv2.CV_32F, *order), -32767, 32767).astype(np.int16)
        for order in ((1, 0), (0, 1))
    )
    high = 4 * units * np.log(ratio)
    return cv2.Canny(dx, dy, high / 2, high, L2gradient=True) > 0


def edge_errors(
    pred: Float[Array, "h w"], gt: Float[Array, "h w"], mask: Bool[Array, "h w"], limit: float = 10.0
) -> dict[str, float] | None:
    """Mean distance in pixels, at most `limit`, between predicted and true edges.

    From predicted to true edges: `edge_accuracy`; from true to predicted ones: `edge_completeness`.

    Depth boundary errors of Koch et al. 2018. Edges at the border of the mask are left out; None without true edges.
    """
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0) > 0
    true = depth_edges(np.where(mask, gt, gt[mask].max())) & inside
    if not true.any():
        return None
    found = depth_edges(pred) & inside
    return {
        "edge_accuracy": mean_distance(found, true, limit),
        "edge_completeness": mean_distance(true, found, limit),
    }


def mean_distance(points: Bool[Array, "h w"], targets: Bool[Array, "h w"], limit: float) -> float:
    """Mean distance of points to the nearest target, cut at `limit`; `limit` where either is empty."""
    if not (points.any() and targets.any()):
        return limit
    distance = cv2.distanceTransform((~targets).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.minimum(distance, limit)[points].mean())
