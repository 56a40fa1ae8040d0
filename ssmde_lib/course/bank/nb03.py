"""03 View synthesis: rays, the valid pixels, bilinear sampling, a warp with two bugs."""

import numpy as np

from ssmde_lib.course.exercise import Code, Quiz
from ssmde_lib.course.material import random_pose

K = np.array([[5.0, 0, 2.5], [0, 6, 1.5], [0, 0, 1]])


def depth_map(seed, shape=(4, 6)):
    return np.random.default_rng(seed).uniform(1, 9, shape)


def small_motion(seed, size=0.1):
    T = random_pose(seed)
    T[:3, 3] *= size
    return T


def my_backproject(depth, K):
    """Points (h w 3) of a depth map (h w) in the camera's frame."""
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    return rays * depth[..., None]


def swapped_axes(depth, K):
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    return np.stack([y, x, np.ones_like(x)], -1) @ np.linalg.inv(K).T * depth[..., None]


def half_pixel_off(depth, K):
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    return np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T * depth[..., None]


def euclidean_distance(depth, K):
    points = my_backproject(depth, K)
    return points / np.linalg.norm(points, axis=-1, keepdims=True) * depth[..., None]


def my_valid(points, K, size):
    """Which points (n 3, source's frame) lie before the camera and in the image of `size` h, w."""
    z = points[:, 2]
    pixels = points @ K.T
    x, y = (pixels[:, :2] / np.where(z > 0, z, 1)[:, None]).T
    return (z > 0) & (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)


def valid_behind(points, K, size):
    pixels = points @ K.T
    x, y = (pixels[:, :2] / pixels[:, 2:]).T
    return (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)


def valid_in_front(points, K, size):
    return points[:, 2] > 0


def valid_of_swapped_size(points, K, size):
    return my_valid(points, K, size[::-1])


def points(seed):
    """Points before, behind and beside a camera."""
    rng = np.random.default_rng(seed)
    return rng.uniform([-6, -4, -5], [6, 4, 8], (40, 3))


def my_sample(image, x, y):
    """The value of an image (h w) at the position (x, y), bilinear; the position is inside."""
    x0, y0 = int(min(x, image.shape[1] - 2)), int(min(y, image.shape[0] - 2))
    u, v = x - x0, y - y0
    top = (1 - u) * image[y0, x0] + u * image[y0, x0 + 1]
    bottom = (1 - u) * image[y0 + 1, x0] + u * image[y0 + 1, x0 + 1]
    return (1 - v) * top + v * bottom


def nearest_pixel(image, x, y):
    return image[round(y), round(x)]


def sample_of_swapped_axes(image, x, y):
    return my_sample(image.T, x, y)


def weights_swapped(image, x, y):
    x0, y0 = int(min(x, image.shape[1] - 2)), int(min(y, image.shape[0] - 2))
    u, v = 1 - (x - x0), 1 - (y - y0)
    top = (1 - u) * image[y0, x0] + u * image[y0, x0 + 1]
    return (1 - v) * top + v * ((1 - u) * image[y0 + 1, x0] + u * image[y0 + 1, x0 + 1])


def my_warp(source, points, K, T_src_tgt):
    """The target (h w) rebuilt from the source (h w), nearest pixel, border pixels repeated.

    Points (h w 3) are those of the target's pixels.
    """
    h, w = source.shape
    moved = points @ T_src_tgt[:3, :3].T + T_src_tgt[:3, 3]
    projected = moved @ K.T
    u = projected[..., 0] / projected[..., 2]
    v = projected[..., 1] / projected[..., 2]
    columns = np.clip(np.rint(u), 0, w - 1).astype(int)
    rows = np.clip(np.rint(v), 0, h - 1).astype(int)
    return source[rows, columns]


def broken_warp(source, points, K, T_src_tgt):
    """The target (h w) rebuilt from the source (h w), nearest pixel, border pixels repeated.

    Points (h w 3) are those of the target's pixels.
    """
    h, w = source.shape
    moved = points @ T_src_tgt[:3, :3] + T_src_tgt[:3, 3]
    projected = moved @ K.T
    u = projected[..., 0] / points[..., 2]
    v = projected[..., 1] / points[..., 2]
    columns = np.clip(np.rint(u), 0, w - 1).astype(int)
    rows = np.clip(np.rint(v), 0, h - 1).astype(int)
    return source[rows, columns]


def rotation_still_transposed(source, points, K, T_src_tgt):
    T = T_src_tgt.copy()
    T[:3, :3] = T[:3, :3].T
    return my_warp(source, points, K, T)


def divided_by_old_depth(source, points, K, T_src_tgt):
    moved = points @ T_src_tgt[:3, :3].T + T_src_tgt[:3, 3]
    pixels = moved @ K.T / points[..., 2:]
    rays = np.concatenate([pixels[..., :2], np.ones_like(pixels[..., 2:])], -1) @ np.linalg.inv(K).T
    return my_warp(source, rays, K, np.eye(4))


def warp_case(seed, still=False):
    shape = (12, 18)
    K = np.array([[15.0, 0, 8.5], [0, 15, 5.5], [0, 0, 1]])
    points = my_backproject(depth_map(seed + 1, shape) + 4, K)
    return np.random.default_rng(seed).uniform(0, 1, shape), points, K, np.eye(4) if still else small_motion(seed)


EXERCISES = (
    Code(
        id="03.1",
        title="Back-project",
        kind="code",
        level=1,
        minutes=10,
        points=2,
        text="Write `my_backproject(depth, K)` in NumPy: `depth` is h by w, the answer h by w by 3.",
        solution=my_backproject,
        visible=[(depth_map(0), K), (np.ones((2, 3)), np.eye(3))],
        hidden=[(depth_map(1, (3, 5)), K), (depth_map(2, (6, 4)), np.array([[7.0, 0, 1], [0, 8, 2], [0, 0, 1]]))],
        wrong={
            "x runs along the width and y along the height: they are swapped here.": swapped_axes,
            "Pixel centres are at whole numbers in this tutorial: no half is added.": half_pixel_off,
            "Depth is z, not the distance along the ray: the rays have z = 1, not length 1.": euclidean_distance,
        },
        hints=("np.mgrid gives y first.", "The ray of a pixel is K⁻¹ (x, y, 1); the point is depth times the ray."),
        misconception="Depth is taken for the distance from the camera.",
    ),
    Code(
        id="03.2",
        title="Which pixels are valid",
        kind="code",
        level=1,
        minutes=10,
        points=2,
        text="A point behind the camera projects too, to a pixel that shows something else. "
        "Write `my_valid(points, K, size)`.",
        solution=my_valid,
        visible=[(points(0), K, (4, 6)), (np.array([[0.0, 0, 1], [0, 0, -1], [50, 0, 1]]), K, (4, 6))],
        hidden=[(points(seed), K, (4, 6)) for seed in (1, 2, 3)],
        wrong={
            "Points behind the camera project inside too: z has to be positive.": valid_behind,
            "Points beside the image are in front of the camera too: the pixel has to be tested.": valid_in_front,
            "`size` is (height, width): x is compared with the width.": valid_of_swapped_size,
        },
        hints=(
            "Three conditions: in front, x inside, y inside.",
            "Inside is 0 ≤ x ≤ w − 1: the centres of the outermost pixels.",
        ),
        misconception="That a projection inside of the image is enough.",
    ),
    Quiz(
        id="03.3",
        title="What the photometric error cannot see",
        kind="quiz",
        level=2,
        minutes=5,
        points=1,
        text="Which change of the predictions leaves the photometric error as it is, on every static scene?",
        options={
            "a": "all depths times 2",
            "b": "all depths times 2 and the translation times 2",
            "c": "the rotation doubled, and the translation halved",
            "d": "all depths plus 1 m",
        },
        answer="b",
        feedback={
            "a": "All pixels would move half as far: look at the curve `depth` above.",
            "c": "A rotation moves all depths alike, a translation does not: one cannot make up for the other.",
            "d": "Near points would move far less, distant ones as before.",
        },
        hints=("In π(K (R D K⁻¹p + t)), which common factor cancels?",),
        misconception="That more frames or a longer training would fix the scale.",
    ),
    Code(
        id="03.4",
        title="Bilinear by hand",
        kind="code",
        level=2,
        minutes=10,
        points=2,
        text="Write `my_sample(image, x, y)` for an h by w array and a position inside of it.",
        solution=my_sample,
        visible=[(depth_map(0), 1.25, 2.5), (depth_map(0), 4.0, 0.75)],
        hidden=[(depth_map(3), 0.0, 0.0), (depth_map(3), 5.0, 3.0), (depth_map(4, (5, 5)), 2.9, 1.1)],
        wrong={
            "This is the nearest pixel: its slope is zero, so nothing can be learned from it.": nearest_pixel,
            "image[y, x]: the row comes first.": sample_of_swapped_axes,
            "The nearer pixel has to get the larger weight.": weights_swapped,
        },
        hints=(
            "Mix the two columns first, then the two rows.",
            "The last column has no right neighbour: begin at most one before it.",
        ),
        misconception="That sampling is only a matter of image quality: "
        "bilinear weights are where the gradient comes from.",
    ),
    Code(
        id="03.5",
        title="A warp with two bugs",
        kind="bug hunt",
        level=3,
        minutes=25,
        points=4,
        text="A few lines rebuild a target from its source; `points` is what 03.1 gives for the target's depth. "
        "Two things are wrong. With the identity as motion nothing shows. Repair `my_warp`.",
        solution=my_warp,
        broken=broken_warp,
        visible=[warp_case(0), warp_case(1, still=True)],
        hidden=[warp_case(seed) for seed in (2, 3, 4)],
        wrong={
            "The rotation is still transposed: rows times a matrix need its transpose.": rotation_still_transposed,
            "The pixel is still divided by the depth before the motion.": divided_by_old_depth,
        },
        hints=(
            "Why does the identity not show the bugs? Which two things does it leave alone?",
            "By which depth is a point divided when it is projected: where it was, or where it is?",
        ),
        misconception="That a warp which passes the identity test is right.",
    ),
)
