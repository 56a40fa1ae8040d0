"""06 The teacher: the forgetting factor and the ranking loss."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written


def my_rho(weight, progress):
    """The rho for which rho^(100 progress) is `weight`."""
    return weight ** (1 / (100 * progress))


def percent_forgotten(weight, progress):
    return weight ** (1 / progress)


def linear_rho(weight, progress):
    return 1 - (1 - weight) / (100 * progress)


def my_factor(progress):
    """Forgetting factor: 1 until progress 0.25, then a decay by 0.97 per hundredth of the rest."""
    rest = max(0.0, (progress - 0.25) / 0.75)
    return 0.97 ** (100 * rest)


def without_plateau(progress):
    return 0.97 ** (100 * progress)


def rest_not_stretched(progress):
    return 0.97 ** (100 * max(0.0, progress - 0.25))


def grows_at_first(progress):
    return 0.97 ** (100 * (progress - 0.25) / 0.75)


def my_ranking(a, b, order):
    """Two arrays: the loss log(1 + exp(-10 order (a - b))) / 10 and its derivative by a."""
    gap = 10 * order * (a - b)
    return np.logaddexp(0, -gap) / 10, -order / (1 + np.exp(np.clip(gap, -500, 500)))


def without_order(a, b, order):
    return my_ranking(a, b, np.ones_like(order))


def wrong_sign(a, b, order):
    value, slope = my_ranking(a, b, order)
    return value, -slope


def undivided(a, b, order):
    value, slope = my_ranking(a, b, order)
    return 10 * value, 10 * slope


def overflows(a, b, order):
    gap = 10 * order * (a - b)
    return np.log(1 + np.exp(-gap)) / 10, -order / (1 + np.exp(gap))


EXERCISES = (
    Code(
        id="06.1",
        title="How fast to forget",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="You want the prior's weight to be 0.5 after a fifth of the training. "
        "Which `rho` does that? Write `my_rho(weight, progress)`.",
        solution=my_rho,
        visible=[(0.5, 0.2), (0.05, 1.0)],
        hidden=[(0.9, 0.5), (0.01, 0.3)],
        wrong={
            "rho is per *hundredth* of the training: the exponent is 100 times the progress.": percent_forgotten,
            "The decay is exponential: equal steps multiply, they do not subtract.": linear_rho,
        },
        hints=("Take the logarithm of both sides.", "The n-th root of the weight, with n = 100 progress."),
        misconception="That rho is per step: then a long training would forget more.",
    ),
    Code(
        id="06.2",
        title="A plateau first",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Write `my_factor(progress)`: 1 until a quarter of the training, "
        "then a decay by 0.97 per hundredth of the *rest*. The figure below draws it beside the library's, "
        "once it is right.",
        solution=my_factor,
        use="""figure, axis = plt.subplots(figsize=(8, 2.4), layout="constrained")
axis.plot(progress, [forgetting_factor(p, "exponential", 0.97) for p in progress], color="#0072B2",
          label="exponential")
if verdict:
    axis.plot(progress, [my_factor(p) for p in progress], color="#D55E00",
              label="yours, with a plateau")
axis.set(xlabel="progress of the training", ylabel="weight of the prior")
axis.legend(frameon=False)
caption = "The library's schedule, and yours when it is right."
show(figure, alt="weight of the prior over the training", caption=caption)""",
        visible=[(0.0,), (0.25,), (0.6,)],
        hidden=[(0.1,), (0.26,), (0.625,), (1.0,)],
        wrong={
            "There is no plateau: the decay begins at once.": without_plateau,
            "The rest has to be stretched to its own hundredths: "
            "at the end the factor is 0.97^100.": rest_not_stretched,
            "Before the plateau ends this is larger than 1.": grows_at_first,
        },
        hints=(
            "Map progress from [0.25, 1] to [0, 1] first.",
            "What does the map give below 0.25, and what should it?",
        ),
        misconception="That a plateau only shifts the curve: the rest is shorter, so it decays faster.",
    ),
    Code(
        id="06.3",
        title="The ranking loss and its gradient",
        kind="code",
        level=2,
        minutes=20,
        points=3,
        text="Write `my_ranking(a, b, order)`: for log-depths a and b and the prior's order (+1: a is farther, −1: "
        "b is) the loss of every pair, and its derivative by a. Large gaps must not overflow.",
        solution=my_ranking,
        visible=[
            (np.array([0.0, 1.0]), np.array([0.0, 0.9]), np.array([1.0, -1.0])),
            (np.array([2.0]), np.array([1.5]), np.array([1.0])),
        ],
        hidden=[
            (np.array([-90.0, 90.0]), np.array([0.0, 0.0]), np.array([1.0, 1.0])),
            (np.array([0.3, -0.2, 0.1]), np.zeros(3), np.array([1.0, -1.0, -1.0])),
        ],
        wrong={
            "The order is not used: every a is taken for the farther one.": without_order,
            "The gradient's sign: where the order is violated and +1, a larger `a` lowers the loss.": wrong_sign,
            "The loss is divided by 10, so that its slope is at most 1.": undivided,
            "exp overflows for a large gap: use np.logaddexp.": overflows,
        },
        hints=("The derivative of log(1 + e^x) is 1 / (1 + e^(−x)).", "np.logaddexp(0, x) is log(1 + e^x), for any x."),
        misconception="That the loss vanishes once the order is right: it vanishes once the gap is large.",
    ),
    Written(
        id="06.4",
        title="Constant, decaying, off",
        kind="ablation",
        level=3,
        minutes=40,
        points=4,
        text="Train with `forgetting` constant, then off. Which has the lower error on static, "
        "which on dynamic pixels, and why is it not the same one? Write your expectation first; at most ten lines.",
        rubric=(
            (1, "An expectation for both regions, written before the runs."),
            (1, "One parameter differs; figures of static and dynamic pixels of both runs."),
            (1, "The reason on static pixels: a constant prior pulls towards its own bias."),
            (1, "The reason on dynamic pixels: the photometric term is wrong there, and the prior is what opposes it."),
        ),
        answer="Constant is expected to be better on dynamic pixels, where only the prior opposes infinite depth, "
        "and off or decaying on static ones, where the prior's bias no longer pulls. "
        "docs/method.md has the figures with three seeds and intervals.",
        misconception="That the better prior weight is one number for the whole image.",
    ),
)
