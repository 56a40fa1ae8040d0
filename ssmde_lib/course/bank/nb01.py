"""01 Data: depth pictures, parallax, intrinsics under resize and flip, spoiled clips."""

import numpy as np

from ssmde_lib.course.exercise import Code, Quiz

K = np.array([[100.0, 0, 95.5], [0, 90.0, 31.5], [0, 0, 1]])
IMAGE = np.arange(24.0).reshape(2, 4, 3)


def my_depth(stored, units):
    """Metres of a depth PNG's whole numbers, `units` to a metre; nan where the number is 0."""
    return np.where(stored > 0, stored / units, np.nan)


def zero_is_known(stored, units):
    return stored / units


def whole_metres(stored, units):
    return np.where(stored > 0, stored // units, np.nan)


def my_parallax(f, t, depth):
    """Pixels by which a point at `depth` moves when the camera moves sideways by `t` metres."""
    return abs(f * t / depth)


def signed_parallax(f, t, depth):
    return f * t / depth


def parallax_of_inverse(f, t, depth):
    return abs(f * t * depth)


def my_resize(K, s):
    """Intrinsics (3 3) of the image resized by `s`; the top-left pixel's centre is (0, 0)."""
    A = np.array([[s, 0, (s - 1) / 2], [0, s, (s - 1) / 2], [0, 0, 1]])
    return A @ K


def scaled_centre(K, s):
    return np.diag([s, s, 1.0]) @ K


def unscaled_centre(K, s):
    changed = K.copy()
    changed[[0, 1], [0, 1]] *= s
    return changed


def my_flip(image, K):
    """The image (h w 3) mirrored left to right, and the intrinsics that belong to it."""
    flipped = K.copy()
    flipped[0, 2] = image.shape[1] - 1 - K[0, 2]
    return image[:, ::-1], flipped


def forgotten_K(image, K):
    return image[:, ::-1], K


def off_by_one(image, K):
    flipped = K.copy()
    flipped[0, 2] = image.shape[1] - K[0, 2]
    return image[:, ::-1], flipped


def flipped_upside_down(image, K):
    return image[::-1], my_flip(image, K)[1]


SPOILED = """from ssmde_lib.course import spoiled_clips

for name, pair in spoiled_clips(seed).items():  # two frames: a and b, with depth of a, K and T_b_a
    warp = synthesize(as_batch(pair.b), tensor(pair.depth)[None, None], tensor(pair.K)[None],
                      tensor(pair.T_b_a)[None])
    judged = warp.valid[0, 0].numpy() & (pair.depth < 100)
    rebuilt, a, b = warp.image[0].permute(1, 2, 0).numpy(), pair.a / 255, pair.b / 255
    warped, unwarped = (255 * difference(image, a)[judged].mean() for image in (rebuilt, b))
    print(
        f"{name}: grey values off, warped {warped:5.1f}, not warped {unwarped:5.1f}, "
        f"median depth {np.median(pair.depth):6.1f}, cx {pair.K[0, 2]:5.1f} of width {a.shape[1]}, "
        f"forward {pair.T_b_a[2, 3]:+.2f}"
    )"""

EXERCISES = (
    Code(
        id="01.1",
        title="Read the PNG",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="The array `stored` of a depth PNG holds whole numbers, `units` to a metre, 0 where nothing is known. "
        "Write `my_depth`.",
        solution=my_depth,
        visible=[(np.array([[0, 256], [2560, 1]], np.uint16), 256), (np.array([[5000, 0]], np.uint16), 5000)],
        hidden=[(np.array([[0, 0], [1, 65535]], np.uint16), 256), (np.array([3], np.uint16), 1000)],
        wrong={
            "0 stands for *not known*, not for a depth of 0 m.": zero_is_known,
            "Whole metres only: `//` throws the fraction away.": whole_metres,
        },
        hints=("np.where takes a condition and two values.", "np.where(stored > 0, ..., np.nan)"),
        misconception="Missing depth is read as 0 m and then averaged.",
    ),
    Code(
        id="01.2",
        title="Parallax",
        kind="code",
        level=1,
        minutes=5,
        points=1,
        text="A camera with focal length `f` moves sideways by `t` metres. By how many pixels, without sign, "
        "does a point at `depth` move? Write `my_parallax`.",
        solution=my_parallax,
        visible=[(100.0, 0.5, 10.0), (370.0, -0.1, 3.0)],
        hidden=[(700.0, 0.54, 80.0), (250.0, -1.0, 2.0)],
        wrong={
            "The absolute value is asked for: a camera may move to the left.": signed_parallax,
            "This grows with depth. Far points move less than near ones.": parallax_of_inverse,
        },
        hints=("Put R = I and t = (t, 0, 0) into the formula of the last section.",),
        misconception="That a camera's translation moves all pixels alike, as a rotation does.",
    ),
    Code(
        id="01.3",
        title="Intrinsics of a resized image",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="An image is resized by the factor `s`, so the position x moves to (x + 0.5) s − 0.5. "
        "Write `my_resize(K, s)`.",
        solution=my_resize,
        visible=[(K, 0.5), (K, 2.0)],
        hidden=[(K, 0.25), (K, 1.0), (K, 1.5)],
        wrong={
            "cx · s is the usual mistake: it forgets that pixel centres lie at whole numbers. "
            "The error is (s − 1) / 2 pixels.": scaled_centre,
            "The principal point moves too, not only the focal lengths.": unscaled_centre,
        },
        hints=(
            "Where does the position cx go?",
            "K maps a ray to a pixel, and resizing maps that pixel on: multiply by a 3 by 3 matrix from the left.",
        ),
        misconception="K is multiplied by s as a whole (Monodepth2 does so); "
        "at a quarter of the size this is wrong by 3/8 of a pixel.",
    ),
    Code(
        id="01.4",
        title="Mirror an image and its camera",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Flipping is the commonest augmentation. Write `my_flip(image, K)`, "
        "which returns the mirrored image and its intrinsics.",
        solution=my_flip,
        visible=[
            (IMAGE, np.array([[3.0, 0, 1.0], [0, 3, 0.5], [0, 0, 1]])),
            (IMAGE, np.array([[3.0, 0, 1.5], [0, 3, 0.5], [0, 0, 1]])),
        ],
        hidden=[
            (np.ones((4, 10, 3)), np.array([[9.0, 0, 2.25], [0, 9, 1], [0, 0, 1]])),
            (IMAGE, np.array([[3.0, 0, 3.0], [0, 3, 0], [0, 0, 1]])),
        ],
        wrong={
            "The principal point has to be mirrored with the image.": forgotten_K,
            "The rightmost pixel centre is at width − 1: cx becomes width − 1 − cx.": off_by_one,
            "This turns the image upside down: width is the second axis.": flipped_upside_down,
        },
        hints=("Column x of the image becomes which column?", "Column 0 becomes column w − 1. cx is a column."),
        misconception="With cx in the middle nothing seems wrong: "
        "the mistake shows only on cameras whose cx is off the centre.",
    ),
    Quiz(
        id="01.5",
        title="Five spoiled clips",
        kind="quiz",
        level=2,
        minutes=20,
        points=5,
        text="One thing may be wrong with each of the clips A to E. Name it: `K`, `unit` (of depth), "
        "`direction` (of the pose), `order` (of the frames), or `none`. "
        "The printed lines are the symptoms; undo a fault and see whether the warp gets better.",
        given=SPOILED,
        options={
            "K": "intrinsics of another size",
            "unit": "depth in another unit than the pose",
            "direction": "T_a_b where T_b_a is asked for",
            "order": "frame b is not the frame that the pose belongs to",
            "none": "all is right",
        },
        answer={"A": "unit", "B": "none", "C": "direction", "D": "order", "E": "K"},
        feedback={
            "A": "Look at the median depth: how far away is a street's middle?",
            "B": "Is its warp really worse than no warp?",
            "C": "The camera drives forward: what sign has the forward part of T_b_a then?",
            "D": "K, depth and the sign of the pose are plausible, and still the warp is worse than that of B.",
            "E": "Compare cx with half of the width.",
        },
        hints=(
            "Begin with the numbers: cx against half of the width, the median depth, the sign of the motion.",
            "A camera that drives forward sees points come nearer: z shrinks from a to b.",
        ),
        misconception="A fault is looked for in the images. Four of the five faults leave every image perfect.",
    ),
)
