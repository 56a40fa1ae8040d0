"""Furniture, built like the objects of `objects`.

The origin is on the floor, the back against a wall at z = 0, the front towards -z.
"""

import numpy as np

from .objects import CLOTHES, LEAVES, METAL, at, ball, box, pick, rod
from .scene import Material, Primitive, Shadow, place

WOODS = [(0.55, 0.38, 0.22), (0.72, 0.55, 0.36), (0.35, 0.22, 0.14), (0.85, 0.82, 0.78)]


def wood(rng):
    """A random wood."""
    return Material(pick(rng, WOODS, 0.03), noise=0.25, noise_scale=0.4)


def table(rng):
    """Four legs, a top, and on it a monitor, books, a mug, a bowl or a box."""
    width, deep, tall = rng.uniform(1.1, 1.8), rng.uniform(0.6, 0.9), rng.uniform(0.70, 0.78)
    material = wood(rng)
    legs = [
        box(x * (width / 2 - 0.06), 0, -deep / 2 + z * (deep / 2 - 0.06), 0.06, tall, 0.06, material)
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    top = [box(0, -tall + 0.04, -deep / 2, width, 0.04, deep, material)]
    things = [f(rng) for f in rng.permutation([_monitor, _books, _mug, _fruit, _carton])[:3]]
    for x, thing in zip((-0.33, 0.0, 0.33), things, strict=True):
        top += at(place(x * width, -tall, -deep / 2, yaw=rng.uniform(-0.3, 0.3)), thing)
    return [*legs, *top, Shadow((width * 0.6, 0.5, deep * 0.7), place(0, 0, -deep / 2), 0.6)]


def _monitor(rng):
    dark = Material((0.08, 0.08, 0.09), noise=0.03)
    screen = Material(
        (0.25, 0.45, 0.7), (0.8, 0.85, 0.9), (0.2, 0.3, 0.5), (0.14, 0.04), (0.2, 0.4), hue=0.15, emission=0.7
    )
    return [
        box(0, 0, 0, 0.24, 0.02, 0.16, dark),
        box(0, 0, 0.02, 0.05, 0.2, 0.03, dark),
        box(0, -0.10, 0, 0.56, 0.34, 0.03, dark),
        box(0, -0.12, -0.015, 0.52, 0.30, 0.01, screen),
    ]


def _books(rng):
    return [
        box(
            rng.uniform(-0.02, 0.02),
            -0.05 * k,
            0,
            0.26,
            0.05,
            0.19,
            Material(pick(rng, CLOTHES, 0.1)),
            yaw=rng.uniform(-0.3, 0.3),
        )
        for k in range(rng.integers(2, 5))
    ]


def _mug(rng):
    return [
        rod(0, 0, 0, 0.045, 0.1, Material(pick(rng, CLOTHES, 0.1), noise=0.05)),
        rod(0.22, 0, 0.05, 0.04, 0.26, Material((0.2, 0.4, 0.25)), 0.5),
    ]


def _fruit(rng):
    fruits = [
        ball(
            0.07 * np.cos(a),
            -0.12,
            0.07 * np.sin(a),
            0.045,
            Material(pick(rng, [(0.9, 0.5, 0.1), (0.75, 0.12, 0.1), (0.5, 0.65, 0.15)])),
        )
        for a in (0.3, 2.2, 4.3)
    ]
    return [ball(0, -0.05, 0, (0.17, 0.06, 0.17), Material((0.85, 0.85, 0.82))), *fruits]


def _carton(rng):
    return [box(0, 0, 0, rng.uniform(0.2, 0.35), rng.uniform(0.12, 0.3), 0.22, Material((0.66, 0.5, 0.33)))]


def chair(rng):
    """Four legs, a seat and a back; it faces -z."""
    material, seat = wood(rng), Material(pick(rng, CLOTHES))
    legs = [box(0.19 * x, 0, -0.25 + 0.19 * z, 0.04, 0.45, 0.04, material) for x in (-1, 1) for z in (-1, 1)]
    back = [box(0.19 * x, -0.45, -0.05, 0.04, 0.5, 0.04, material) for x in (-1, 1)]
    return [
        *legs,
        *back,
        box(0, -0.42, -0.25, 0.44, 0.05, 0.44, seat),
        box(0, -0.65, -0.05, 0.42, 0.26, 0.03, seat),
        Shadow((0.36, 0.35, 0.36), place(0, 0, -0.25), 0.6),
    ]


def shelf(rng):
    """A bookcase: boards, sides, and rows of books of many colours."""
    width, levels, pitch = rng.uniform(0.8, 1.6), rng.integers(3, 6), 0.36
    material, tall = wood(rng), levels * pitch + 0.08
    parts = [box(0, 0, -0.02, width, tall, 0.02, material)]
    parts += [box(x * width / 2, 0, -0.16, 0.03, tall, 0.32, material) for x in (-1, 1)]
    parts += [box(0, -0.04 - k * pitch, -0.16, width, 0.03, 0.32, material) for k in range(levels + 1)]
    for k in range(levels):
        full = rng.uniform(0.4, 0.94) * width
        spines = Material(
            (0.45, 0.3, 0.25), (0.6, 0.55, 0.45), (0.1, 0.08, 0.07), (0.05, np.inf), (0.08, 0.0), hue=0.35, noise=0.1
        )
        parts.append(
            box((full - width) / 2 + 0.02, -0.07 - k * pitch, -0.14, full, rng.uniform(0.2, 0.28), 0.2, spines)
        )
    return [*parts, Shadow((width * 0.6, 0.4, 0.5), place(0, 0, -0.2), 0.5)]


def cupboard(rng):
    """A chest with doors and knobs."""
    width, tall, deep = rng.uniform(0.8, 1.5), rng.uniform(0.8, 2.0), rng.uniform(0.45, 0.6)
    color = pick(rng, WOODS)
    doors = Material(
        color,
        tuple(0.93 * c for c in color),
        tuple(0.45 * c for c in color),
        (0.45, 0.5 if tall < 1.2 else np.inf),
        (0.05, 0.03),
        noise=0.15,
    )
    knobs = [ball(x * 0.06, -tall / 2, -deep - 0.02, 0.025, METAL) for x in (-1, 1)]
    return [
        box(0, 0, -deep / 2, width, tall, deep, doors),
        *knobs,
        Shadow((width * 0.6, 0.4, deep), place(0, 0, -deep / 2), 0.6),
    ]


def sofa(rng):
    """Seat, back, arms and cushions."""
    width = rng.uniform(1.5, 2.1)
    color = pick(rng, [*CLOTHES, (0.6, 0.57, 0.52)])
    cloth, cushion = (
        Material(color, noise=0.12, noise_scale=0.3),
        Material(pick(rng, CLOTHES), cell=(0.06, np.inf), color_b=(0.9, 0.9, 0.85), checker=True),
    )
    arms = [box(x * width / 2, 0, -0.42, 0.18, 0.62, 0.84, cloth, (0.85, 0.97)) for x in (-1, 1)]
    seats = [box(x * width / 4, -0.26, -0.48, width / 2 - 0.12, 0.18, 0.66, cloth, (0.95, 0.95)) for x in (-1, 1)]
    return [
        box(0, -0.06, -0.42, width, 0.22, 0.8, cloth),
        box(0, -0.2, -0.11, width, 0.62, 0.2, cloth, (0.97, 0.6)),
        *arms,
        *seats,
        box(0.3 * width, -0.44, -0.3, 0.4, 0.36, 0.14, cushion, pitch=0.3),
        Shadow((width * 0.62, 0.35, 0.62), place(0, 0, -0.42), 0.7),
    ]


def floor_lamp(rng):
    """A foot, a stem and a glowing shade."""
    return [
        rod(0, 0, -0.3, 0.15, 0.03, METAL),
        rod(0, 0, -0.3, 0.015, 1.5, METAL),
        rod(0, -1.4, -0.3, 0.2, 0.28, Material((1.0, 0.93, 0.75), emission=1.0, noise=0.05), 0.6),
        Shadow((0.3, 0.2, 0.3), place(0, 0, -0.3)),
    ]


def plant(rng):
    """A pot with leaves."""
    leaf = Material(pick(rng, LEAVES[:3]), noise=0.6, noise_scale=0.12)
    tuft = [
        ball(
            rng.uniform(-0.15, 0.15),
            -rng.uniform(0.55, 1.0),
            -0.3 + rng.uniform(-0.15, 0.15),
            rng.uniform(0.12, 0.24, 3),
            leaf,
        )
        for _ in range(6)
    ]
    return [
        rod(0, 0, -0.3, 0.12, 0.34, Material((0.7, 0.4, 0.28)), 1.4),
        *tuft,
        Shadow((0.3, 0.3, 0.3), place(0, 0, -0.3)),
    ]


def picture(rng):
    """A framed picture, at eye height on the wall."""
    width, tall, y = rng.uniform(0.4, 1.0), rng.uniform(0.35, 0.7), -1.3
    paint = Material(
        pick(rng, CLOTHES, 0.1),
        pick(rng, CLOTHES, 0.1),
        cell=tuple(rng.uniform(0.05, 0.25, 2)),
        hue=0.25,
        noise=0.5,
        noise_scale=0.2,
    )
    return [
        box(0, y, -0.015, width, tall, 0.03, wood(rng)),
        box(0, y - 0.05, -0.02, width - 0.1, tall - 0.1, 0.03, paint),
    ]


def door(rng):
    """A door with its frame and handle."""
    color = pick(rng, WOODS)
    panels = Material(color, None, tuple(0.7 * c for c in color), (0.4, 0.95), (0.25, 0.2), noise=0.1)
    return [
        box(0, 0, -0.02, 1.02, 2.1, 0.04, Material((0.85, 0.84, 0.8), noise=0.05)),
        box(0, 0, -0.03, 0.86, 2.02, 0.05, panels),
        ball(0.34, -1.02, -0.08, (0.05, 0.02, 0.03), METAL),
    ]


def window(rng):
    """A window that lets in the day, with its frame and a sill."""
    white = Material((0.9, 0.9, 0.88), noise=0.04)
    pane = Material(
        (0.72, 0.85, 0.98), (0.85, 0.92, 1.0), (0.92, 0.92, 0.9), (0.6, 0.65), (0.08, 0.08), emission=1.0, noise=0.08
    )
    return [
        box(0, -0.9, -0.02, 1.4, 1.4, 0.05, white),
        box(0, -0.96, -0.03, 1.28, 1.28, 0.05, pane),
        box(0, -0.86, -0.1, 1.5, 0.04, 0.2, white),
    ]


def rug(rng, width, length):
    """A patterned rug, centred on the origin."""
    weave = Material(
        pick(rng, CLOTHES, 0.1),
        pick(rng, CLOTHES, 0.1),
        pick(rng, CLOTHES),
        (0.3, 0.3),
        (0.2, 0.2),
        checker=True,
        hue=0.08,
    )
    return [Primitive("box", (width / 2, 0.01, length / 2), place(), weave)]
