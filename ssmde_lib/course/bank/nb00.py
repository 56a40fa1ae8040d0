"""00 Start here: disparity, a first error, the direction of poses."""

import numpy as np

from ssmde_lib.course.exercise import Code, Prediction
from ssmde_lib.course.material import random_pose


def my_disparity(depth, min_depth, max_depth):
    """Disparity in [0, 1] of depth: 0 at max_depth, 1 at min_depth."""
    return (1 / depth - 1 / max_depth) / (1 / min_depth - 1 / max_depth)


def linear_in_depth(depth, min_depth, max_depth):
    return (max_depth - depth) / (max_depth - min_depth)


def without_the_far_end(depth, min_depth, max_depth):
    return min_depth / depth


def my_chain(T_world_a, T_world_b, T_c_b):
    """T_a_c, 4 by 4: takes points from the frame of camera c to that of camera a."""
    T_a_b = np.linalg.inv(T_world_a) @ T_world_b
    T_b_c = np.linalg.inv(T_c_b)
    return T_a_b @ T_b_c


def broken_chain(T_world_a, T_world_b, T_c_b):
    """T_a_c, 4 by 4: takes points from the frame of camera c to that of camera a."""
    T_a_b = np.linalg.inv(T_world_b) @ T_world_a
    return T_a_b @ T_c_b


def c_still_inverted(T_world_a, T_world_b, T_c_b):
    return np.linalg.inv(T_world_a) @ T_world_b @ T_c_b


def a_still_inverted(T_world_a, T_world_b, T_c_b):
    return np.linalg.inv(T_world_b) @ T_world_a @ np.linalg.inv(T_c_b)


def result_inverted(T_world_a, T_world_b, T_c_b):
    return np.linalg.inv(my_chain(T_world_a, T_world_b, T_c_b))


def poses(seed):
    return tuple(random_pose(seed + i) for i in range(3))


EXERCISES = (
    Prediction(
        id="00.1",
        title="The error of a constant",
        kind="prediction",
        level=1,
        minutes=5,
        points=1,
        text="Somebody answers *every pixel is at the same depth*. The answer is scaled by the ratio of medians, "
        "as above. "
        "What is its AbsRel on this street? Write your guess down before you run the next cell: "
        "0 is perfect, 1 is 100 % wrong.",
        hints=(
            "Half of the pixels are nearer than the median. By how much can those be wrong, "
            "relative to their true depth?",
        ),
        use='reveal("00.1", abs_rel(np.ones(known.sum()), target.depth[known]))',
        measured=0.53,
        explanation="Near pixels weigh most: a true depth of half the constant is an error of 100 %. "
        "Every later figure is to be read against this one.",
        misconception="A constant is often expected to be wrong by several hundred per cent, "
        "or an AbsRel of 0.5 is taken for a good result.",
    ),
    Code(
        id="00.2",
        title="Disparity from depth",
        kind="code",
        level=1,
        minutes=5,
        points=2,
        text="Invert the formula of disparity above: write `my_disparity`.",
        solution=my_disparity,
        visible=[(np.array([0.5, 1.0, 20.0]), 0.1, 100.0), (2.0, 1.0, 80.0)],
        hidden=[(np.array([[0.1, 100.0]]), 0.1, 100.0), (np.array([5.0, 80.0]), 1.0, 80.0), (3.0, 0.5, 10.0)],
        wrong={
            "This is linear in depth. Disparity is linear in *inverse* depth.": linear_in_depth,
            "At max_depth this is not 0: the inverse of max_depth has to be taken off first.": without_the_far_end,
        },
        hints=(
            "Solve the equation for sigma.",
            "What is sigma at max_depth, and what at min_depth? Both are known: 0 and 1.",
        ),
        misconception="Disparity is taken for a linear function of depth.",
    ),
    Code(
        id="00.3",
        title="A chain of poses, repaired",
        kind="bug hunt",
        level=2,
        minutes=15,
        points=3,
        text="The function below should return `T_a_c`, from the poses of the cameras a and b in the world and from "
        "`T_c_b`. Two poses are used backwards. Repair it.",
        solution=my_chain,
        broken=broken_chain,
        visible=[poses(0), poses(3)],
        hidden=[poses(10), poses(20), (np.eye(4), random_pose(5), random_pose(6))],
        wrong={
            "T_c_b is still used backwards: b has to stand left of c for the names to cancel.": c_still_inverted,
            "T_a_b is still backwards: what stands left takes points *to* its first name.": a_still_inverted,
            "This is T_c_a, the inverse of what is asked for.": result_inverted,
        },
        rtol=1e-6,
        hints=(
            "Write the names under each factor: neighbouring inner names have to be equal.",
            "T_a_c = T_a_b T_b_c. You have T_world_a, T_world_b and T_c_b: which of them have to be inverted?",
        ),
        misconception="That inverting somewhere is enough: "
        "a chain with two inversions too many looks plausible on nearly straight paths.",
    ),
)
