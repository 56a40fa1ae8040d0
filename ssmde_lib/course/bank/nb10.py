"""10 Your own video: the focal length, and what is wrong with a clip."""

import numpy as np

from ssmde_lib.course.exercise import Code, Written


def my_focal(width, fov):
    """Focal length in pixels of an image of `width` pixels and a view of `fov` degrees."""
    return width / 2 / np.tan(np.deg2rad(fov) / 2)


def whole_angle(width, fov):
    return width / 2 / np.tan(np.deg2rad(fov))


def whole_width(width, fov):
    return width / np.tan(np.deg2rad(fov) / 2)


def in_radians(width, fov):
    return width / 2 / np.tan(fov / 2)


def my_diagnosis(flow, gains):
    """Cause and stride of a clip.

    flow[s - 1] is the median motion, in pixels, between frames that are s apart; gains are log
    factors of brightness between neighbours. Returns ("static", 0) if no stride moves by 0.15
    pixels, ("exposure", 1) if the 75th percentile of |gains| is above log(1.1), ("stride", s) with
    the least s that moves by 1 pixel, if that is not 1, else ("good", 1).
    """
    if flow.max() < 0.15:
        return "static", 0
    if np.percentile(np.abs(gains), 75) > np.log(1.1):
        return "exposure", 1
    stride = int(np.argmax(flow >= 1)) + 1
    return ("good", 1) if stride == 1 else ("stride", stride)


def broken_diagnosis(flow, gains):
    """Cause and stride of a clip.

    flow[s - 1] is the median motion, in pixels, between frames that are s apart; gains are log
    factors of brightness between neighbours. Returns ("static", 0) if no stride moves by 0.15
    pixels, ("exposure", 1) if the 75th percentile of |gains| is above log(1.1), ("stride", s) with
    the least s that moves by 1 pixel, if that is not 1, else ("good", 1).
    """
    if flow[0] < 0.15:
        return "static", 0
    if np.percentile(gains, 75) > np.log(1.1):
        return "exposure", 1
    stride = int(np.argmax(flow)) + 1
    return ("good", 1) if flow[0] >= 1 else ("stride", stride)


def neighbours_only(flow, gains):
    return ("static", 0) if flow[0] < 0.15 else my_diagnosis(flow, gains)


def signed_gains(flow, gains):
    return my_diagnosis(flow, np.maximum(gains, 0))


def largest_motion(flow, gains):
    cause, stride = my_diagnosis(flow, gains)
    return (cause, int(np.argmax(flow)) + 1) if cause == "stride" else (cause, stride)


STEADY = np.array([0.01, -0.02, 0.0, 0.015])

EXERCISES = (
    Code(
        id="10.1",
        title="Write the focal length",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="Write `my_focal(width, fov)`; the field of view is horizontal and in degrees.",
        solution=my_focal,
        visible=[(640, 90.0), (1920, 65.0)],
        hidden=[(320, 120.0), (1000, 30.0)],
        wrong={
            "Half of the width is seen under *half* of the angle.": whole_angle,
            "Half of the *width* is seen under half of the angle.": whole_width,
            "np.tan wants radians.": in_radians,
        },
        hints=("Draw the triangle from the camera's centre to half of the image.",),
        misconception="That a larger field of view means a larger focal length.",
    ),
    Code(
        id="10.2",
        title="What is wrong with the clip?",
        kind="bug hunt",
        level=2,
        minutes=20,
        points=3,
        text="A clip can stand still, breathe in brightness, or have frames too alike. "
        "`my_diagnosis(flow, gains)` should tell which, and which stride mends it. "
        "The version below has three faults. Repair it.",
        solution=my_diagnosis,
        broken=broken_diagnosis,
        visible=[(np.array([0.05, 0.1, 0.2, 1.1]), STEADY), (np.array([1.5, 3.0, 4.4]), STEADY)],
        hidden=[
            (np.array([0.01, 0.02, 0.02]), STEADY),
            (np.array([0.3, 0.6, 0.9, 1.2, 1.4]), STEADY),
            (np.array([2.0, 4.0]), np.array([0.2, -0.2, 0.25, -0.18])),
            (np.array([2.0, 4.0]), np.array([-0.2, -0.15, -0.25, -0.18])),
        ],
        wrong={
            "A slow clip is no static one: look at frames further apart before you call it static.": neighbours_only,
            "A clip that gets darker changes its exposure too: take the absolute value.": signed_gains,
            "The *least* stride that moves enough is asked for: larger ones lose the track.": largest_motion,
        },
        hints=(
            "Which strides does `static` have to look at?",
            "np.argmax of a boolean array is the place of its first True.",
        ),
        misconception="That a larger stride is always better.",
    ),
    Written(
        id="10.3",
        title="Only turning",
        kind="reading",
        level=2,
        minutes=30,
        points=3,
        text="Film half a minute while walking, point `video` at it, give `fov`, and run this notebook. "
        "Then film again while only turning on the spot. What happens, and which check is missing? At most ten lines.",
        rubric=(
            (1, "Turning moves the image, so the motion check passes."),
            (1, "Rotation carries no parallax: depth has no say in the loss, so it is learned from nothing."),
            (1, "A check that would find it, such as a homography that explains all the motion."),
        ),
        answer="Turning moves all pixels, so the clip passes the motion check. A rotation moves every depth alike; "
        "the loss does not depend on depth, and the depth stays what it was or drifts. "
        "A check is to fit a homography between neighbours: if it explains the motion everywhere, "
        "there is no parallax.",
        misconception="That motion in the image is what counts; parallax is.",
    ),
)
