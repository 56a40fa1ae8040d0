"""What makes depth from one's own video come out black or constant, found before the training instead of after it.

Every check returns one sentence that says what is wrong and the way out, or "" where nothing is.
"""

from collections.abc import Sequence as Series

import numpy as np
from jaxtyping import Float, UInt8

from ssmde_lib import opencv as cv2
from ssmde_lib.data.intrinsics import check_intrinsics, check_plausible
from ssmde_lib.data.prepare import MIN_MOTION, THUMBNAIL_WIDTH, motion, thumbnail

MIN_FRAMES = 20  # of a clip that is worth fine-tuning on; a choice
GOOD_MOTION = 1.0  # median flow between adjacent frames of a triplet, pixels of a 160 pixel wide image; a choice
MAX_STRIDE = 15  # half a second at 30 frames a second
MAX_GAIN = 1.1  # brightness factor between adjacent frames that a photometric loss tolerates; a choice
PAIRS = 12  # pairs of adjacent frames, spread over the clip
BANDS = 8  # horizontal bands of a picture whose brightness is followed one by one

Images = Series[UInt8[np.ndarray, "h w 3"]]


def check_clip(images: Images, K: Float[np.ndarray, "3 3"]) -> list[str]:
    """All that is wrong with the consecutive pictures of one camera and their intrinsics; empty where nothing is."""
    size = images[0].shape[:2]
    sentences = [check_count(len(images)), check_intrinsics(K, size) or check_plausible(K, size)]
    if len(images) > 1:
        sentences += [check_motion(images), check_exposure(images)]
    return [sentence for sentence in sentences if sentence]


def check_count(frames: int) -> str:
    """Too few frames to learn from."""
    if frames >= MIN_FRAMES:
        return ""
    return f"too few frames: {frames} pictures, {MIN_FRAMES} or more are needed; record longer or lower the stride."


def check_motion(images: Images) -> str:
    """A camera that stands still, or adjacent frames without parallax (30 to 60 frames per second)."""
    moved = median_motion(images, 1)
    if moved >= GOOD_MOTION:
        return ""
    stride = suggest_stride(images)
    if stride is None and moved < MIN_MOTION:
        return (
            f"the camera stands still: adjacent frames differ by {moved:.2f} pixels of {THUMBNAIL_WIDTH}, "
            "and frames further apart hardly by more; walk or drive while recording."
        )
    advice = (
        f"use every {ordinal(stride)} frame (stride {stride})"
        if stride
        else "move faster, or raise the stride as far as the clip allows"
    )
    return (
        f"adjacent frames are too alike: they differ by {moved:.2f} pixels of {THUMBNAIL_WIDTH}, "
        f"{GOOD_MOTION:g} is wanted; {advice}."
    )


def suggest_stride(images: Images) -> int | None:
    """The least stride at which the median motion reaches GOOD_MOTION; None where no stride up to MAX_STRIDE does."""
    strides = range(1, min(MAX_STRIDE, len(images) - 1) + 1)
    return next((stride for stride in strides if median_motion(images, stride) >= GOOD_MOTION), None)


def median_motion(images: Images, stride: int) -> float:
    """Median over pairs of frames `stride` apart of their median flow, pixels of a 160 pixel wide picture."""
    return float(
        np.median(
            [motion(thumbnail(images[i]), thumbnail(images[i + stride])) for i in pair_starts(len(images), stride)]
        )
    )


def check_exposure(images: Images) -> str:
    """Brightness that changes between adjacent frames, of the whole image or in bands that move through it."""
    gains = np.array([band_gains(thumbnail(images[i]), thumbnail(images[i + 1])) for i in pair_starts(len(images), 1)])
    whole = np.median(gains, 1)
    rolling = np.percentile(np.abs(gains - whole[:, None]).max(1), 75)
    if rolling > np.log(MAX_GAIN):
        return (
            f"bands of brightness move through the images, by {np.expm1(rolling):.0%} between adjacent frames: "
            "the shutter interferes with the lamps; set it to 1/50 or 1/60 s, or record by daylight."
        )
    drift = np.percentile(np.abs(whole), 75)
    if drift > np.log(MAX_GAIN):
        return (
            f"the exposure changes by {np.expm1(drift):.0%} between adjacent frames: "
            "lock exposure and white balance before recording."
        )
    return ""


def band_gains(before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, " bands"]:
    """Log factor of brightness of each horizontal band, the motion between the two pictures undone."""
    # Patches are compared without their mean, so that the flow itself hardly minds the gain.
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(before, after, None)
    y, x = np.mgrid[: before.shape[0], : before.shape[1]].astype(np.float32)
    moved = cv2.remap(after, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ratio = np.log((moved + 4.0) / (before + 4.0))  # dark pixels are mostly noise
    return np.array([np.median(band) for band in np.array_split(ratio, BANDS)])


def check_depth(depth: Float[np.ndarray, "h w"], max_depth: float) -> str:
    """A prediction that is constant, or stuck at the far end of the network's range (black in colour)."""
    if np.median(depth) > 0.9 * max_depth:
        return "the depth is stuck at the far end: the photometric loss found no parallax; check motion, stride and K."
    if np.std(np.log(depth)) < 0.05:
        return (
            "the depth is nearly constant: the network has learned nothing here; check motion, stride and K, "
            "or train longer."
        )
    return ""


def pair_starts(frames: int, stride: int) -> list[int]:
    """First frames of the pairs that are looked at, spread over the clip."""
    return sorted(set(np.linspace(0, frames - 1 - stride, PAIRS).astype(int).tolist()))


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
