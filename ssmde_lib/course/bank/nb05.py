"""05 Dynamic objects: the apparent depth of what moves, and why a minimum over sources does not help."""

from ssmde_lib.course.exercise import Code, Prediction, Written


def my_depth(z, v, u):
    """Apparent depth of an object at depth z with speed u, camera speed v; infinite for u >= v."""
    return float("inf") if u >= v else z * v / (v - u)


def sum_of_speeds(z, v, u):
    return z * v / (v + u)


def behind_the_camera(z, v, u):
    return z * v / (v - u) if u != v else float("inf")


def my_speed(apparent, z, v):
    """Speed of an object at depth z that appears at depth `apparent` to a camera with speed v."""
    return v * (1 - z / apparent)


def inverted_ratio(apparent, z, v):
    return v * (1 - apparent / z)


def relative_speed(apparent, z, v):
    return v * z / apparent


EXERCISES = (
    Prediction(
        id="05.1",
        title="Nearly our own speed",
        kind="prediction",
        level=1,
        minutes=5,
        points=1,
        text="A car ahead drives at 90 % of our speed. "
        "How many times its true depth does view synthesis give it? Guess, then run the next cell.",
        hints=("How large is the motion in the image that is left, compared with that of a static object?",),
        use='reveal("05.1", 1 / (1 - 0.9))\nprint({u: round(1 / (1 - u), 2) for u in (-1, 0.5, 0.9)})',
        measured=10.0,
        explanation="d / z = v / (v − u): at u/v = −1 it is 1/2, at 1/2 it is 2, at 0.9 it is 10.",
        misconception="That the error grows in proportion to the speed: it has a pole at the camera's own speed.",
    ),
    Code(
        id="05.2",
        title="Apparent depth",
        kind="code",
        level=1,
        minutes=10,
        points=2,
        text="Write `my_depth(z, v, u)`, infinite when the object does not fall behind.",
        solution=my_depth,
        visible=[(10.0, 1.0, 0.0), (10.0, 2.0, -1.0), (8.0, 0.5, 0.5)],
        hidden=[(8.0, 0.5, 0.4), (8.0, 0.5, 0.6), (20.0, 2.0, -0.5), (5.0, 1.0, 0.99)],
        wrong={
            "An oncoming object has a negative u: it appears nearer, not farther.": sum_of_speeds,
            "An object faster than the camera would lie behind it: no network can answer that, "
            "so infinity is asked for.": behind_the_camera,
        },
        hints=("The formula stands in the first section.", "Two cases: u < v, and the rest."),
        misconception="That only oncoming objects are wrong.",
    ),
    Code(
        id="05.3",
        title="A speed from a hole",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Turn it round: an object whose true depth z you know appears at another depth. "
        "Write `my_speed(apparent, z, v)`; an infinite depth has to work too.",
        solution=my_speed,
        use="""if verdict:
    # path: optimised depth of the moving object, relative to its true depth
    speed_ratio = my_speed(float(path[-1, 0]), 1.0, 1.0)
    print(f"by its depth the moving object drives at {speed_ratio:.0%} of the camera's speed")""",
        visible=[(20.0, 10.0, 1.0), (5.0, 10.0, 1.0), (float("inf"), 10.0, 0.7)],
        hidden=[(10.0, 10.0, 1.3), (100.0, 10.0, 1.0), (9.0, 12.0, 0.8)],
        wrong={
            "The ratio is upside down: an infinite depth has to give the camera's own speed.": inverted_ratio,
            "This is the speed relative to the camera: v − u.": relative_speed,
        },
        hints=("Solve d = z v / (v − u) for u.", "1 − u/v = z/d"),
        misconception="That an infinite depth carries no information: with the true depth it tells the speed.",
    ),
    Written(
        id="05.4",
        title="Why the minimum does not help",
        kind="reading",
        level=2,
        minutes=15,
        points=3,
        text="The minimum over the source frames removes the error of pixels that one neighbour hides. "
        "Why does it not remove the error of a car ahead at our own speed? Answer in at most five sentences.",
        rubric=(
            (
                1,
                "Both neighbours give the same wrong explanation: "
                "the object has the same image position in all frames.",
            ),
            (1, "So infinite depth has a small error in both, and the minimum chooses among two errors that agree."),
            (1, "Contrast with occlusion: there only one of the neighbours is wrong."),
        ),
        answer="At our own speed the car stands still in the image, in the previous frame as in the next. "
        "Infinite depth rebuilds it well from both, so both errors are small and "
        "their minimum is too. At an occlusion one neighbour shows the pixel and the other does not, "
        "and the minimum picks the right one.",
        misconception="That two views always disagree about something wrong.",
    ),
)
