"""09 Benchmark: accuracies, an evaluator with three traps, a bootstrap by clips."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written


def truth(seed, shape=(6, 8)):
    return np.random.default_rng(seed).uniform(1, 50, shape)


def prediction(seed, spread=0.4):
    gt = truth(seed)
    return gt * np.random.default_rng(seed + 1).uniform(1 - spread, 1 + spread, gt.shape), gt


def my_delta(pred, gt):
    """Share of pixels whose ratio to the truth, and its inverse, is below 1.25; maps aligned."""
    return np.mean(np.maximum(pred / gt, gt / pred) < 1.25)


def one_sided(pred, gt):
    return np.mean(pred / gt < 1.25)


def relative_error_instead(pred, gt):
    return np.mean(np.abs(pred - gt) / gt < 0.25)


def share_of_wrong(pred, gt):
    return 1 - my_delta(pred, gt)


def my_evaluate(pred, gt, nearest, farthest):
    """AbsRel of a prediction (h w) up to scale over the pixels whose truth is within the range.

    The prediction is median-aligned over those pixels, then clipped to the range.
    """
    mask = (gt >= nearest) & (gt <= farthest)
    pred, gt = pred[mask], gt[mask]
    aligned = pred * np.median(gt) / np.median(pred)
    clipped = np.clip(aligned, nearest, farthest)
    return np.mean(np.abs(clipped - gt) / gt)


def broken_evaluate(pred, gt, nearest, farthest):
    """AbsRel of a prediction (h w) up to scale over the pixels whose truth is within the range.

    The prediction is median-aligned over those pixels, then clipped to the range.
    """
    mask = (gt >= nearest) & (gt <= farthest)
    scale = np.median(gt) / np.median(pred)
    clipped = np.clip(pred, nearest, farthest)
    aligned = clipped * scale
    return np.mean(np.abs(aligned - gt)[mask] / aligned[mask])


def aligned_over_all(pred, gt, nearest, farthest):
    mask = (gt >= nearest) & (gt <= farthest)
    clipped = np.clip(pred * np.median(gt) / np.median(pred), nearest, farthest)
    return np.mean(np.abs(clipped - gt)[mask] / gt[mask])


def clipped_first(pred, gt, nearest, farthest):
    mask = (gt >= nearest) & (gt <= farthest)
    pred, gt = np.clip(pred[mask], nearest, farthest), gt[mask]
    return np.mean(np.abs(pred * np.median(gt) / np.median(pred) - gt) / gt)


def divided_by_prediction(pred, gt, nearest, farthest):
    mask = (gt >= nearest) & (gt <= farthest)
    pred, gt = pred[mask], gt[mask]
    clipped = np.clip(pred * np.median(gt) / np.median(pred), nearest, farthest)
    return np.mean(np.abs(clipped - gt) / clipped)


def evaluation_case(seed, scale):
    pred, gt = prediction(seed, 0.6)
    gt[0, :3] = 0  # not measured
    gt[1, :2] = 300  # beyond the range
    return scale * pred, gt, 1.0, 40.0


def my_interval(differences, clips, seed):
    """95 % bootstrap interval of the mean difference; whole clips are drawn, 4000 times.

    Both arrays are one entry a frame.
    """
    rng = np.random.default_rng(seed)
    names, place = np.unique(clips, return_inverse=True)
    sums, counts = np.bincount(place, differences), np.bincount(place)
    drawn = rng.integers(0, len(names), (4000, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return tuple(np.percentile(means, [2.5, 97.5]))


def frame_wise(differences, clips, seed):
    drawn = np.random.default_rng(seed).integers(0, len(differences), (4000, len(differences)))
    return tuple(np.percentile(differences[drawn].mean(1), [2.5, 97.5]))


def spread_of_frames(differences, clips, seed):
    return tuple(np.percentile(differences, [2.5, 97.5]))


def clip_case(seed, count=12, frames=20):
    """Differences that are alike within a clip and differ between clips."""
    rng = np.random.default_rng(seed)
    clips = np.repeat(np.arange(count), frames)
    return 0.05 + rng.normal(0, 0.02, count)[clips] + rng.normal(0, 0.004, clips.size), clips, seed


EXERCISES = (
    Code(
        id="09.1",
        title="Write δ1",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="Write `my_delta(pred, gt)`: the share of pixels within a factor 1.25 of the truth.",
        solution=my_delta,
        visible=[prediction(0), (truth(2) / 1.5, truth(2))],
        hidden=[(truth(3), truth(3)), prediction(4, 0.3), (truth(5) * 1.4, truth(5))],
        wrong={
            "A prediction that is too small is as wrong as one that is too large: "
            "take the larger of both ratios.": one_sided,
            "A factor of 1.25 is not a relative error of 25 %: "
            "half the truth is a factor of two.": relative_error_instead,
            "This is the share of wrong pixels.": share_of_wrong,
        },
        hints=("np.maximum of the ratio and its inverse.",),
        misconception="That δ1 and AbsRel < 0.25 say the same.",
    ),
    Code(
        id="09.2",
        title="An evaluator with three traps",
        kind="bug hunt",
        level=2,
        minutes=20,
        points=4,
        text="The evaluator below runs, and its figures look good. Three things are wrong with it, "
        "and each has been published. Repair `my_evaluate`.",
        solution=my_evaluate,
        broken=broken_evaluate,
        visible=[evaluation_case(0, 1.0), evaluation_case(1, 0.1)],
        hidden=[evaluation_case(seed, scale) for seed, scale in ((2, 5.0), (3, 0.02), (4, 1.0))],
        wrong={
            "The medians still run over pixels without truth: align over the mask.": aligned_over_all,
            "The clip comes before the alignment: a prediction in another unit is destroyed by it.": clipped_first,
            "The error is still relative to the prediction: "
            "a prediction that is too large then looks better.": divided_by_prediction,
        },
        hints=(
            "Over which pixels is each median?",
            "In which unit is the prediction when it is clipped?",
            "Relative to what is the error?",
        ),
        misconception="That such details change the third digit: on sparse truth they change the first.",
    ),
    Code(
        id="09.3",
        title="A bootstrap by clips",
        kind="code",
        level=3,
        minutes=25,
        points=4,
        text="Frames of one clip are no independent samples. Write `my_interval(differences, clips, seed)`: "
        "draw whole clips, 4000 times, weigh every frame alike, and return the 2.5th and 97.5th percentile. "
        "Any generator does: the answer is compared within 8 %.",
        solution=my_interval,
        visible=[clip_case(0), clip_case(1)],
        hidden=[clip_case(2, 8, 30), clip_case(3, 20, 10)],
        wrong={
            "Frames are drawn, not clips: "
            "the interval is far too narrow, for neighbouring frames repeat each other.": frame_wise,
            "This is the spread of single frames, not of the mean.": spread_of_frames,
        },
        rtol=0.08,
        atol=1e-3,
        hints=(
            "Sum and count of the differences of every clip, first.",
            "A draw with replacement of as many clips as there are; sum of sums over sum of counts.",
        ),
        misconception="That more frames per clip make a comparison certain: more clips do.",
    ),
    Written(
        id="09.4",
        title="Another protocol",
        kind="reading",
        level=2,
        minutes=15,
        points=3,
        text="Set `protocol_name` to nyu (up to 10 m). Why do all figures change, "
        "although the predictions are the same? At most five sentences.",
        rubric=(
            (1, "Other pixels count: far ones are left out."),
            (1, "The alignment changes with them, so the prediction's scale does too."),
            (1, "A figure is comparable only under one protocol."),
        ),
        answer="The range decides which pixels count; beyond 10 m none do. The median over the rest is another one, "
        "so the same prediction is scaled otherwise. Figures of two protocols cannot be compared.",
        misconception="That a protocol is a formality.",
    ),
)
