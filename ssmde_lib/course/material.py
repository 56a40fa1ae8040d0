"""What exercises are made of besides arrays: functions to differentiate, measures of open answers, spoiled clips.

No solutions.
"""

from typing import NamedTuple

import numpy as np


def random_pose(seed: int) -> np.ndarray:
    """A rigid 4 by 4 motion: a rotation of up to some 30 degrees, a translation of up to some metres."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(0, 0.3, 3)
    S = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    T = np.eye(4)
    T[:3, :3] = np.linalg.solve(np.eye(3) - S / 2, np.eye(3) + S / 2)  # Cayley: a rotation, exactly
    T[:3, 3] = rng.normal(0, 2, 3)
    return T


# ---- losses of one depth: 04.2 differentiates them -------------------------------------------------------------------


def parabola(depth: float) -> float:
    """A loss with its minimum at a depth of 3."""
    return (depth - 3.0) ** 2


def parallax_loss(depth: float) -> float:
    """Squared difference of the parallax from that of a point at 8 m (f b = 40 pixel metres)."""
    return (40 / depth - 40 / 8) ** 2


def brightness_loss(depth: float) -> float:
    """Difference of brightness on a textured wall, which a parallax of 40 / depth pixels makes."""
    return float(np.abs(np.sin(40 / depth) - np.sin(5.0)))


FUNCTIONS = {function.__name__: function for function in (parabola, parallax_loss, brightness_loss)}


# ---- measures of answers that are not unique -------------------------------------------------------------------------


def round_trip(arguments: tuple, answer) -> dict[str, float | bool]:
    """07.4: by how many metres the depths of two frames miss the check, and whether they are wrong enough."""
    z, v = arguments
    first, second = np.asarray(answer, float)
    miss = second + v - first
    return {
        "miss of the round trip": 0.0 if abs(miss) / first < 0.01 else miss,
        "wrong by more than 50 %": bool(abs(first - z) / z > 0.5),
    }


MEASURES = {"round_trip": round_trip}


# ---- clips with a fault: 01.5 ----------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two frames of a clip, and what a data set says about them."""

    a: np.ndarray  # h w 3, 0 to 255
    b: np.ndarray
    depth: np.ndarray  # h w, of frame a, metres
    K: np.ndarray
    T_b_a: np.ndarray


def spoiled_clips(seed: int = 0, height: int = 64, width: int = 192) -> dict[str, Pair]:
    """Five pairs of frames by name, A to E; four of them have one fault each."""
    from ssmde_lib.synthetic import render_clip

    pairs = {}
    for place, name in enumerate("ABCDE"):
        frames = list(render_clip("street", (seed, 7, place), 4, height, width))
        a, b, later = frames[0], frames[1], frames[3]
        pairs[name] = Pair(a.rgb, b.rgb, np.minimum(a.depth, 200), a.K, np.linalg.inv(b.T_world_cam) @ a.T_world_cam)
        if name == "A":
            pairs[name] = pairs[name]._replace(depth=pairs[name].depth / 10)
        elif name == "C":
            pairs[name] = pairs[name]._replace(T_b_a=np.linalg.inv(pairs[name].T_b_a))
        elif name == "D":
            pairs[name] = pairs[name]._replace(b=later.rgb)
        elif name == "E":
            pairs[name] = pairs[name]._replace(K=np.diag([2.0, 2.0, 1.0]) @ a.K)
    return pairs
