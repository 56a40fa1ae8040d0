"""08 The student: scale-free losses, their gradient, and what an interval decides."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written


def maps(seed, factor=1.0):
    rng = np.random.default_rng(seed)
    teacher = rng.uniform(2, 30, (5, 6))
    student = factor * teacher * np.exp(rng.normal(0, 0.3, teacher.shape))
    return student, teacher, rng.uniform(size=teacher.shape) < 0.6


def my_log_l1(student, teacher, mask):
    """Mean absolute log ratio over the mask, less the ratio's median over it; maps are h w."""
    g = np.log(student / teacher)[mask]
    return np.abs(g - np.median(g)).mean()


def median_of_all(student, teacher, mask):
    g = np.log(student / teacher)
    return np.abs(g - np.median(g))[mask].mean()


def scale_kept(student, teacher, mask):
    return np.abs(np.log(student / teacher)[mask]).mean()


def over_the_image(student, teacher, mask):
    g = np.log(student / teacher)
    return np.abs(g - np.median(g[mask])).mean()


def my_gradient(student, teacher, mask):
    """Gradient (h w) by log student of sqrt(var(g) + 1e-6), g = log(student / teacher) in the mask.

    0 outside of it.
    """
    g = np.log(student / teacher)
    centred = np.where(mask, g - g[mask].mean(), 0)
    return centred / (mask.sum() * np.sqrt(g[mask].var() + 1e-6))


def mean_ignored(student, teacher, mask):
    g = np.log(student / teacher)
    return np.where(mask, g, 0) / (mask.sum() * np.sqrt(g[mask].var() + 1e-6))


def without_the_root(student, teacher, mask):
    g = np.log(student / teacher)
    return np.where(mask, 2 * (g - g[mask].mean()), 0) / mask.sum()


def by_student(student, teacher, mask):
    return my_gradient(student, teacher, mask) / student


def my_verdicts(intervals):
    """By region "better", "worse" or "undecided"; intervals are of student less teacher."""
    return {
        region: "better" if high < 0 else "worse" if low > 0 else "undecided"
        for region, (low, high) in intervals.items()
    }


def by_the_middle(intervals):
    return {region: "better" if low + high < 0 else "worse" for region, (low, high) in intervals.items()}


def upside_down(intervals):
    return {
        region: "better" if low > 0 else "worse" if high < 0 else "undecided"
        for region, (low, high) in intervals.items()
    }


EXERCISES = (
    Code(
        id="08.1",
        title="Better, worse or undecided",
        kind="code",
        level=1,
        minutes=10,
        points=1,
        text="Write `my_verdicts(intervals)`. "
        "The intervals are 95 % bootstrap intervals of the mean paired difference of AbsRel, student less teacher, "
        "by region.",
        solution=my_verdicts,
        visible=[({"all": (-0.02, -0.01), "dynamic": (-0.03, 0.01), "static": (0.001, 0.004)},)],
        hidden=[({"all": (-0.002, 0.05)},), ({"dynamic": (0.02, 0.06), "static": (-0.04, -0.001)},)],
        wrong={
            "The middle of an interval decides nothing when the interval holds zero: "
            "that is *undecided*.": by_the_middle,
            "The difference is student less teacher, of an error: below zero the student is better.": upside_down,
        },
        hints=("Three cases: wholly below zero, wholly above, and the rest.",),
        misconception="That an interval which holds zero shows that two networks are equal.",
    ),
    Code(
        id="08.2",
        title="The median-aligned log-L1",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Write `my_log_l1(student, teacher, mask)`.",
        solution=my_log_l1,
        visible=[maps(0), maps(1, 2.0)],
        hidden=[maps(2, 0.1), maps(3, 40.0)],
        wrong={
            "The median has to be taken over the mask only: rejected pixels must have no say.": median_of_all,
            "The common scale is still in it: remove the median.": scale_kept,
            "The mean runs over the whole image: only the mask counts.": over_the_image,
        },
        hints=("Take the log ratio at the masked pixels first.",),
        misconception="That masking at the end is enough: the alignment has to be masked too.",
    ),
    Code(
        id="08.3",
        title="The gradient of the scale-invariant loss",
        kind="code",
        level=3,
        minutes=25,
        points=4,
        text="The loss silog is the standard deviation of g = log(student / teacher) over the mask (with 10⁻⁶ under "
        "the root). Write its gradient by log student, `my_gradient`. "
        "Before you do: what must its sum over the image be, for a loss that is blind to scale?",
        solution=my_gradient,
        use="""constant, rising = np.full((2, 2), 3.0), np.array([[1.0, 2], [3, 4]])
assert not verdict or abs(my_gradient(constant, rising, np.ones((2, 2), bool)).sum()) < 1e-9""",
        visible=[maps(0), maps(1, 2.0)],
        hidden=[maps(2, 0.1), (*maps(3)[:2], np.ones((5, 6), bool))],
        wrong={
            "The mean of g depends on the student too: without it the gradient does not sum to zero, "
            "and the loss would move the scale.": mean_ignored,
            "This is the gradient of the variance. The root's derivative is missing.": without_the_root,
            "This is the derivative by the student, not by its logarithm.": by_student,
        },
        hints=(
            "Chain rule: the root, then the variance.",
            "The variance's derivative by g at a pixel is 2 (g − mean) / n: the mean's own derivative cancels.",
        ),
        misconception="That the mean in the variance may be taken for a constant by luck: "
        "it cancels because the deviations sum to zero.",
    ),
    Written(
        id="08.4",
        title="The video beside the labels",
        kind="ablation",
        level=3,
        minutes=40,
        points=4,
        text="Train with `photometric` 1: the video supervises beside the labels. "
        "Does it add to them, or do its errors on moving objects return? Expectation first; at most ten lines.",
        rubric=(
            (1, "An expectation written before the run."),
            (1, "Errors by region of both runs, and the teacher's beside them."),
            (1, "One parameter differs, shown by compare_runs."),
            (1, "The dynamic error is explained by the motion of objects, not by the number of losses."),
        ),
        answer="The photometric loss compares adjacent frames, the labels many: it adds little on static pixels. "
        "On moving objects it pulls towards the depth of a static scene, so the dynamic error is expected to rise. "
        "See the variants student_min_depth and student_labels in docs/results.md.",
        misconception="That more supervision cannot hurt.",
    ),
)
