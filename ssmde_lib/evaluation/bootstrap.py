"""The one bootstrap: intervals over whole clips, since neighbouring frames are no independent samples."""

import numpy as np
from jaxtyping import Float
from scipy import stats


def bootstrap_interval(
    sums: Float[np.ndarray, " clips"],
    counts: Float[np.ndarray, " clips"],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> list[float] | None:
    """Percentile interval of the mean over images, when whole clips are drawn with replacement.

    Args:
        sums: what each clip's images sum up to: an error, or the difference of two errors of the same images.
        counts: how many images of each clip that are; clips without any are left out.

    Returns:
        [low, high]; None with fewer than two clips.
    """
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(sums) < 2:
        return None
    interval = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=draws,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return [float(interval.low), float(interval.high)]
