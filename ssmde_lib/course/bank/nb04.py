"""04 Pose and depth: the auto-mask, a slope by differences, a Gauss-Newton step, an ablation."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written
from ssmde_lib.course.material import FUNCTIONS


def errors(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (2, 2, 4, 5)), rng.uniform(0, 1, (2, 1, 4, 5))


def my_photometric(errors, unwarped):
    """Mean smallest error of the neighbours (b 2 h w), where below the unwarped one (b 1 h w)."""
    smallest = errors.min(1, keepdims=True)
    kept = smallest < unwarped
    return smallest[kept].mean()


def broken_photometric(errors, unwarped):
    """Mean smallest error of the neighbours (b 2 h w), where below the unwarped one (b 1 h w)."""
    smallest = errors.mean(1, keepdims=True)
    kept = smallest < unwarped
    return (smallest * kept).mean()


def over_all_pixels(errors, unwarped):
    smallest = errors.min(1, keepdims=True)
    return (smallest * (smallest < unwarped)).mean()


def mean_of_neighbours(errors, unwarped):
    smallest = errors.mean(1, keepdims=True)
    return smallest[smallest < unwarped].mean()


def mask_inverted(errors, unwarped):
    smallest = errors.min(1, keepdims=True)
    return smallest[smallest >= unwarped].mean()


def my_slope(loss, depth, step):
    """Derivative of loss(depth) by the logarithm of depth, by central differences of `step`."""
    return (loss(depth * np.exp(step)) - loss(depth * np.exp(-step))) / (2 * step)


def slope_by_depth(loss, depth, step):
    return (loss(depth + step) - loss(depth - step)) / (2 * step)


def forward_slope(loss, depth, step):
    return (loss(depth * np.exp(step)) - loss(depth)) / step


def slope_without_two(loss, depth, step):
    return (loss(depth * np.exp(step)) - loss(depth * np.exp(-step))) / step


def system(seed, n=60):
    """Jacobian (n 6), residuals (n) and weights (n) of a pose problem."""
    rng = np.random.default_rng(seed)
    J = rng.normal(size=(n, 6)) * [5, 5, 5, 1, 1, 0.3]
    return J, J @ rng.normal(0, 0.1, 6) + 0.01 * rng.normal(size=n), rng.uniform(0, 1, n)


def my_step(J, r, w):
    """The step x (6) that minimises the sum of w (r + J x)^2, from the normal equations."""
    H = J.T @ (w[:, None] * J)
    g = J.T @ (w * r)
    return -np.linalg.solve(H, g)


def uphill(J, r, w):
    return -my_step(J, r, w)


def unweighted(J, r, w):
    return my_step(J, r, np.ones_like(w))


def gradient_only(J, r, w):
    return -J.T @ (w * r)


EXERCISES = (
    Code(
        id="04.1",
        title="The auto-mask, repaired",
        kind="bug hunt",
        level=2,
        minutes=15,
        points=3,
        text="The loss takes the smaller error of both neighbours, and counts only pixels where that beats not warping "
        "at all. "
        "The function below has two faults. Neither shows in a picture, both change what is learned. Repair it.",
        solution=my_photometric,
        broken=broken_photometric,
        visible=[errors(0), errors(1)],
        hidden=[errors(2), errors(3), (np.full((1, 2, 2, 2), 0.3), np.array([[[[0.4, 0.4], [0.1, 0.1]]]]))],
        wrong={
            "The mean still runs over all pixels: masked pixels count as error 0, "
            "so a mask that rejects everything is the best one.": over_all_pixels,
            "The mean over the neighbours is not the minimum: "
            "a pixel hidden in one of them is still punished.": mean_of_neighbours,
            "These are the rejected pixels: the warped error has to be below the unwarped one.": mask_inverted,
        },
        hints=(
            "What does a hidden pixel cost, with the mean and with the minimum over the neighbours?",
            "By how many pixels is the sum divided?",
        ),
        misconception="That a masked mean and a mean of masked values are the same.",
    ),
    Code(
        id="04.2",
        title="A slope by log-depth",
        kind="code",
        level=2,
        minutes=15,
        points=3,
        text="Gradients by depth are large for what is near and vanish for what is far; by log-depth they are even. "
        "`my_slope(loss, depth, step)` takes a "
        "Python function `loss` and returns its derivative by log-depth, by central differences.",
        solution=my_slope,
        visible=[(FUNCTIONS["parabola"], 2.0, 0.01), (FUNCTIONS["parallax_loss"], 5.0, 0.01)],
        hidden=[
            (FUNCTIONS["parallax_loss"], 20.0, 0.01),
            (FUNCTIONS["brightness_loss"], 9.0, 0.01),
            (FUNCTIONS["parabola"], 7.0, 0.1),
        ],
        wrong={
            "This is the derivative by depth: the step has to be taken in log-depth, as a factor.": slope_by_depth,
            "This is a one-sided difference: "
            "its error falls with the step, that of the central one with its square.": forward_slope,
            "The two points are two steps apart.": slope_without_two,
        },
        hints=(
            "A step in log-depth multiplies depth by exp(step).",
            "(loss(deeper) − loss(nearer)) / (distance in log-depth)",
        ),
        misconception="That the derivative by log-depth needs another loss: it is depth times the derivative by depth.",
    ),
    Code(
        id="04.3",
        title="One Gauss-Newton step of a pose",
        kind="code",
        level=3,
        minutes=20,
        points=4,
        text="Linearised, the brightness differences are r + J x, with x the six numbers of a small motion. "
        "Write `my_step(J, r, w)`: the x that minimises the weighted sum of squares.",
        solution=my_step,
        visible=[system(0), system(1)],
        hidden=[system(2), system(3, 12), system(4, 500)],
        wrong={
            "This walks uphill: the step has to take the residuals away.": uphill,
            "The weights are not used: a mover would count like a wall.": unweighted,
            "This is one step of gradient descent. Gauss-Newton also divides by J^T W J.": gradient_only,
        },
        hints=("Set the derivative of the sum by x to zero.", "J^T W J x = −J^T W r. Solve it; never invert it."),
        misconception="That a learning rate is needed.",
    ),
    Written(
        id="04.4",
        title="Without geometry consistency",
        kind="ablation",
        level=3,
        minutes=30,
        points=4,
        text="First write down what you expect of the scale of depth from frame to frame when `geometry` is 0. "
        "Then run this notebook twice, into two runs that differ in that parameter only, "
        'compare them with `compare_runs("04_pose_and_depth", "run one", "run two")`, and report in at most ten lines: '
        "hypothesis, result with seeds, conclusion.",
        rubric=(
            (1, "A hypothesis that names a direction, written before the run."),
            (1, "Exactly one parameter differs, shown by compare_runs."),
            (
                1,
                "Figures of both runs, with their regions; "
                "a difference smaller than that between two seeds is called undecided.",
            ),
            (1, "A conclusion about the scale between frames, not only about AbsRel."),
        ),
        answer="Expected: without the term, nothing ties the scale of neighbouring frames, "
        "so the per-image scale factor spreads more; AbsRel with a scale an image "
        "hardly changes. A single seed does not decide a difference below that between two seeds.",
        misconception="That AbsRel with a scale for each image would show a scale that drifts: "
        "the alignment removes it.",
    ),
)
