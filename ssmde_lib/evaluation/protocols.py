"""Each benchmark's protocol as facts: which pixels count, how far, how a prediction becomes metres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ssmde_lib.errors import UserError
from ssmde_lib.metrics import ALIGNMENTS


@dataclass(frozen=True)
class Protocol:
    """How a benchmark compares a prediction with the truth.

    `crop` is (top, bottom, left, right) as fractions of the ground truth's size. `alignment` is one of
    `metrics.ALIGNMENTS`, fitted once an image over all its valid pixels. The prediction is resized bilinearly to the
    ground truth's size, as depth or (`resize_inverse`) as inverse depth; it is aligned first and clamped to the range
    afterwards. `dense` ground truth also gets edge errors. `depth_bins` are bounds in metres.
    """

    name: str
    min_depth: float  # metres; truth outside of the open interval does not count
    max_depth: float
    depth_bins: tuple[float, ...]
    crop: tuple[float, float, float, float] | None = None
    alignment: str = "median"
    flip_average: bool = False
    resize_inverse: bool = False
    dense: bool = False

    def __post_init__(self):
        if self.alignment not in ALIGNMENTS:
            raise UserError(f"unknown alignment {self.alignment!r}: choose one of {', '.join(ALIGNMENTS)}.")
        if not 0 < self.min_depth < self.max_depth:
            raise UserError(
                f"depth range {self.min_depth}–{self.max_depth} of protocol {self.name!r} must be positive and rising."
            )

    def valid(self, gt: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """Pixels that count: measured, in range, inside of the crop."""
        mask = (gt > self.min_depth) & (gt < self.max_depth)
        if self.crop:
            h, w = gt.shape
            # Published code truncates; the epsilon keeps whole rows whole.
            top, bottom, left, right = (int(f * n + 1e-6) for f, n in zip(self.crop, (h, h, w, w), strict=True))
            inside = np.zeros_like(mask)
            inside[top:bottom, left:right] = True
            mask &= inside
        return mask


GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)  # Garg et al. 2016
NYU_CROP = (45 / 480, 471 / 480, 41 / 640, 601 / 640)  # Eigen et al. 2014
OUTDOOR_BINS = (0.1, 10.0, 20.0, 40.0, 80.0)
INDOOR_BINS = (0.1, 1.0, 2.0, 4.0, 10.0)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("embedded", 0.1, 80.0, OUTDOOR_BINS, dense=True),
        Protocol("kitti", 0.1, 80.0, OUTDOOR_BINS, GARG_CROP),
        Protocol("nyu", 0.1, 10.0, INDOOR_BINS, NYU_CROP, dense=True),
        Protocol("ddad", 0.1, 200.0, (0.1, 20.0, 50.0, 100.0, 200.0)),
        Protocol("bonn", 0.1, 10.0, INDOOR_BINS, dense=True),
        Protocol("tum", 0.1, 10.0, INDOOR_BINS, dense=True),
    )
}


def get_protocol(name: str) -> Protocol:
    """A benchmark's protocol by name; `dataclasses.replace` changes single facts of it."""
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
