"""02 Pseudo-depth: scale, scale and shift, and what survives them."""

import numpy as np

from ssmde_lib.course.exercise import Code, Quiz


def line(seed, scale, shift, noise=0.0, outliers=0.0):
    """Relative depth z and depth d = scale z + shift, with noise, and a share of pixels that are far off."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.1, 1, 200)
    d = scale * z + shift + noise * rng.normal(size=z.size)
    wrong = rng.permutation(z.size)[: int(outliers * z.size)]
    d[wrong] += rng.uniform(20, 60, wrong.size)
    return z, d


def my_scale(z, d):
    """The factor s that minimises the sum of (s z - d)^2."""
    return (z @ d) / (z @ z)


def mean_ratio(z, d):
    return np.mean(d / z)


def ratio_of_means(z, d):
    return d.mean() / z.mean()


def ratio_of_medians(z, d):
    return np.median(d) / np.median(z)


def my_fit(z, d):
    """The pair (s, t) that minimises the sum of (s z + t - d)^2, without calling a solver."""
    s = np.mean((z - z.mean()) * (d - d.mean())) / np.var(z)
    return s, d.mean() - s * z.mean()


def fit_without_centring(z, d):
    s = (z @ d) / (z @ z)
    return s, d.mean() - s * z.mean()


def fit_of_correlation(z, d):
    s = np.corrcoef(z, d)[0, 1]
    return s, d.mean() - s * z.mean()


def my_robust_fit(z, d):
    """The pair (s, t) of d = s z + t, although up to 10 % of the values d are far off."""
    A, weight = np.stack([z, np.ones_like(z)], 1), np.ones_like(z)
    for _ in range(50):
        s, t = np.linalg.lstsq(weight[:, None] * A, weight * d, rcond=None)[0]
        weight = 1 / np.sqrt(np.maximum(np.abs(s * z + t - d), 1e-3))  # |r| = r^2 / |r|: least absolute values
    return s, t


def plain_least_squares(z, d):
    return tuple(np.polyfit(z, d, 1))


def scale_alone(z, d):
    return np.median(d / z), 0.0


EXERCISES = (
    Code(
        id="02.1",
        title="Scale alone",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="Which `s` minimises the sum of (s zᵢ − dᵢ)², without a shift? Write `my_scale`.",
        solution=my_scale,
        visible=[line(0, 30, -2), line(1, 10, 1, 0.5)],
        hidden=[line(2, 5, 3, 0.1), line(3, 80, 0, 2.0)],
        wrong={
            "The mean of the ratios weighs near pixels most; it does not minimise the sum of squares.": mean_ratio,
            "The ratio of the means does not minimise the sum of squares.": ratio_of_means,
            "The ratio of the medians is the usual alignment, but not the least-squares one.": ratio_of_medians,
        },
        hints=("Set the derivative by s to zero.", "2 Σ z (s z − d) = 0"),
        misconception="That all scales (ratio of medians, of means, least squares) are the same number.",
    ),
    Code(
        id="02.2",
        title="Scale and shift",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Now with a shift, in closed form: write `my_fit(z, d)`, which returns the pair (s, t).",
        solution=my_fit,
        visible=[line(0, 30, -2), line(1, 10, 1, 1.0)],
        hidden=[line(2, 5, 30, 0.1), line(3, 80, -7, 2.0)],
        wrong={
            "The scale has to be fitted with both means taken off: "
            "this is the scale of a line through the origin.": fit_without_centring,
            "The correlation has no unit: it lacks the ratio of the standard deviations.": fit_of_correlation,
        },
        hints=("The line passes through the two means: that gives t.", "s is the covariance over the variance of z."),
        misconception="That the shift can be fitted after the scale.",
    ),
    Quiz(
        id="02.3",
        title="What survives?",
        kind="prediction",
        level=2,
        minutes=10,
        points=4,
        text="A prior's map is multiplied by an unknown scale, and perhaps shifted by an unknown constant. "
        "Predict for each quantity what leaves it unchanged: "
        '`"both"`, `"scale"` (scale alone), `"shift"` (shift alone) or `"neither"`. '
        "The cell after it measures all four on random maps.",
        use="""rng = np.random.default_rng(seed)
random_map = rng.uniform(1, 5, (8, 8))
quantities = {
    "order of two depths": lambda d: np.sign(d[0, 0] - d[0, 1]),
    "ratio of two depths": lambda d: d[0, 0] / d[0, 1],
    "ratio of two differences": lambda d: (d[0, 0] - d[0, 1]) / (d[1, 0] - d[1, 1]),
    "difference of two depths": lambda d: d[0, 0] - d[0, 1],
}
for name, of in quantities.items():
    scaled, shifted = (abs(of(changed) - of(random_map))
                       for changed in (3 * random_map, random_map + 2))
    print(f"{name:25} changes by {scaled:.3f} under a scale, {shifted:.3f} under a shift")""",
        options={
            "both": "unchanged by scale and shift",
            "scale": "unchanged by scale alone",
            "shift": "unchanged by shift alone",
            "neither": "changed by both",
        },
        answer={
            "order of two depths": "both",
            "ratio of two depths": "scale",
            "ratio of two differences": "both",
            "difference of two depths": "shift",
        },
        feedback={
            "order of two depths": "Adding a constant to both, or a positive factor: "
            "can a smaller number become the larger?",
            "ratio of two depths": "Try 2 and 4, and add 1 to both.",
            "ratio of two differences": "A shift cancels in each difference, a scale in their ratio.",
            "difference of two depths": "Try 2 and 4, times 3; then plus 1 on both.",
        },
        hints=("Put numbers in: 2 and 4, times 3, plus 1.",),
        misconception="That a loss on ratios of depth (log differences) forgives a shift. It forgives a scale only.",
    ),
    Code(
        id="02.4",
        title="A fit that outliers do not move",
        kind="code",
        level=3,
        minutes=25,
        points=4,
        text="One pixel in ten is far off (a mover, a reflection). Least squares follows it. "
        "Write `my_robust_fit`, right within 3 % on any seed.",
        solution=my_robust_fit,
        visible=[line(10, 30, 2, 0.05, 0.1), line(11, 10, 5, 0.05, 0.1)],
        hidden=[line(seed, 12 + 3 * (seed % 7), 2 + seed % 3, 0.05, 0.1) for seed in range(100, 110)],
        wrong={
            "This is plain least squares: squares make one far pixel count like many near ones.": plain_least_squares,
            "A shift is needed as well as a scale.": scale_alone,
        },
        rtol=0.03,
        atol=0.03,
        hints=(
            "Fit, look at the residuals, and trust pixels with large ones less. Then fit again.",
            "Weights 1 / |residual| in least squares minimise the sum of absolute values. "
            "A draw of many pairs of pixels (RANSAC) works too.",
        ),
        misconception="That leaving out the largest residuals once is enough: the first fit has already been pulled.",
    ),
)
