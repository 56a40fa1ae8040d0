"""07 Multi-view labels and the mask filter: the mask, its threshold, a sub-pixel minimum, the limits of the filter."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written


def stack(seed, shape=(3, 6, 8)):
    """Errors of several views, inf where a view does not see the pixel."""
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=shape) < 0.3, np.inf, rng.exponential(0.15, shape))


def my_mask(errors, tau):
    """Pixels (h w) whose smallest error over the views (n h w) is below tau.

    A pixel that no view sees has inf everywhere.
    """
    return errors.min(0) < tau


def all_views_agree(errors, tau):
    return errors.max(0) < tau


def mean_below(errors, tau):
    return errors.mean(0) < tau


def mask_of_rejected(errors, tau):
    return errors.min(0) >= tau


def my_threshold(errors, coverage):
    """The threshold (largest error kept) that keeps the share `coverage` of all pixels.

    Inf marks pixels that no view sees.
    """
    ordered = np.sort(errors.ravel())
    return ordered[int(np.ceil(coverage * errors.size)) - 1]


def of_seen_pixels(errors, coverage):
    ordered = np.sort(errors[np.isfinite(errors)])
    return ordered[int(np.ceil(coverage * ordered.size)) - 1]


def of_rejected_share(errors, coverage):
    return my_threshold(errors, 1 - coverage)


def my_minimum(costs):
    """Position of the minimum of a cost curve, in parts of a step, by a parabola through three.

    nan if it is flat or at an end.
    """
    i = int(np.argmin(costs))
    if i in (0, len(costs) - 1):
        return float("nan")
    left, middle, right = costs[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return i + 0.5 * (left - right) / bend if bend > 1e-9 else float("nan")


def whole_step(costs):
    return float(np.argmin(costs))


def wrong_way(costs):
    return 2 * np.argmin(costs) - my_minimum(costs)


def end_is_accepted(costs):
    i = int(np.argmin(costs))
    return float(i) if i in (0, len(costs) - 1) else my_minimum(costs)


def curve(place, n=9):
    """A cost curve with its minimum at `place`."""
    return (np.arange(n) - place) ** 2 * 0.1 + 0.3


def my_lie(z, v):
    """Two depths (first, second) of a point at depth z, over 50 % wrong, that pass the round trip.

    The camera moves forward by v.
    """
    return 3 * z, 3 * z - v


def truth_is_no_lie(z, v):
    return z, z - v


def same_depth_twice(z, v):
    return 3 * z, 3 * z


def camera_moves_back(z, v):
    return 3 * z, 3 * z + v


EXERCISES = (
    Code(
        id="07.1",
        title="Write the mask",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="Write `my_mask(errors, tau)` for errors of several views, n h w, "
        "`inf` where a view does not see the pixel.",
        solution=my_mask,
        visible=[(np.array([[[0.1, 0.3, 0.5]], [[0.25, 0.5, 0.6]], [[0.0, 0.01, 0.4]]]), 0.2), (stack(1), 0.2)],
        hidden=[(np.full((2, 3, 3), np.inf), 0.1), (stack(2, (2, 5, 5)), 0.1)],
        wrong={
            "This asks all views to agree: a pixel that one neighbour hides is then always lost.": all_views_agree,
            "One view that does not see the pixel makes the mean infinite: take the smallest error.": mean_below,
            "These are the rejected pixels.": mask_of_rejected,
        },
        hints=("Which reduction over the views forgives a hidden pixel?",),
        misconception="That more views should make the mask stricter.",
    ),
    Code(
        id="07.2",
        title="A threshold for a coverage",
        kind="code",
        level=2,
        minutes=15,
        points=2,
        text="Write `my_threshold(errors, coverage)`: "
        "the largest error that may be kept so that the share `coverage` of *all* pixels is kept. "
        "Pixels that no view sees have error inf. "
        "Use it afterwards on another clip: does the coverage hold there, and what is the precision?",
        solution=my_threshold,
        use="""if verdict:
    tau = my_threshold(best[0, 0].numpy(), 0.8)
    kept = filter_mask(errors, valids, tau).float().mean()
    print(f"the library's filter keeps {kept:.0%} of frame {i} below {tau:.3f}")""",
        visible=[(stack(3).min(0), 0.5), (np.array([[0.1, 0.4], [0.2, np.inf]]), 0.75)],
        hidden=[(stack(4, (2, 20, 20)).min(0), 0.8), (np.array([0.3, 0.1, 0.2, 0.4]), 0.25)],
        wrong={
            "Of all pixels, not of the seen ones: what no view sees counts as rejected.": of_seen_pixels,
            "This keeps the share 1 − coverage.": of_rejected_share,
        },
        hints=(
            "Sort the errors, and count.",
            "How many pixels are kept at a coverage c of n pixels? The last of those sets the threshold.",
        ),
        misconception="That a threshold chosen on one clip gives the same coverage on another.",
    ),
    Code(
        id="07.3",
        title="The minimum between two steps",
        kind="code",
        level=2,
        minutes=15,
        points=3,
        text="Multi-view labels compare a pixel with its neighbours at a row of candidate depths. "
        "The best candidate is only as fine as the row. Write `my_minimum(costs)`: "
        "the position of the parabola's minimum through the best cost and its two neighbours; "
        "nan where the curve is flat or its minimum lies at an end.",
        solution=my_minimum,
        visible=[(curve(4.3),), (np.ones(7),), (curve(-1.0),)],
        hidden=[(curve(2.8),), (curve(6.49, 12),), (curve(20.0),), (np.array([1.0, 0.5, 0.4, 0.5, 1.0]),)],
        wrong={
            "A minimum at an end is none: the true one may lie outside of the row.": end_is_accepted,
            "This is the best candidate itself, to a whole step.": whole_step,
            "The offset has the wrong sign: the minimum lies towards the lower neighbour.": wrong_way,
        },
        hints=(
            "A parabola through three points at −1, 0, 1.",
            "Offset: (left − right) / (2 (left − 2 middle + right)).",
        ),
        misconception="That a flat curve has a minimum in its middle: it has no answer, "
        "and a label without an answer must be left out.",
    ),
    Code(
        id="07.4",
        title="A lie that passes the filter",
        kind="code",
        level=3,
        minutes=20,
        points=3,
        text="The round trip tests whether two depths agree, not whether they are right. Write `my_lie(z, v)`: "
        "two depths of a point at true depth z, in two frames between which the camera "
        "moves forward by v, that are wrong by more than 50 % and pass the check |second + v − first| / first < 0.01.",
        solution=my_lie,
        measure="round_trip",
        visible=[(10.0, 1.0), (5.0, 0.2)],
        hidden=[(30.0, 2.0), (4.0, 1.0)],
        wrong={
            "These depths are right: they pass, but they are no lie.": truth_is_no_lie,
            "The camera has moved: the second depth has to be smaller by v.": same_depth_twice,
            "The camera moves forward: points come nearer, so v is taken off.": camera_moves_back,
        },
        hints=("Which second depth belongs to a static point that lies at the first depth?",),
        misconception="That consistency proves depth. A car at our own speed gives a consistent infinite depth.",
    ),
    Written(
        id="07.5",
        title="A mask instead of a label",
        kind="ablation",
        level=3,
        minutes=40,
        points=4,
        text="Run this notebook with `kind` plain and notebook 08 after it, each into a run of its own. "
        "What does the student lose, and where? Expectation first; at most ten lines.",
        rubric=(
            (1, "An expectation written before the runs."),
            (1, "Coverage on dynamic pixels of both kinds, and the student's errors by region."),
            (1, "One parameter differs, shown by compare_runs."),
            (1, "The conclusion keeps to what one seed can tell."),
        ),
        answer="The plain filter keeps the teacher's own depth on fewer pixels: the student hardly improves on "
        "static ones, and has no labels on many dynamic ones. Whether its dynamic error rises is measured, not "
        "certain: see the students in docs/results.md.",
        misconception="That a higher precision of the labels must give a better student.",
    ),
)
