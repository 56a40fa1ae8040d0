"""Recognisable objects, each a few primitives around an origin on the ground.

y is down, z is forward, in metres.

Every builder takes a random generator and returns a list of `Primitive` and `Shadow`; `at` puts such a list somewhere.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from .scene import Material, Primitive, Shadow, place

FPS = 10
GLASS, GLASS_B = (0.10, 0.13, 0.17), (0.25, 0.32, 0.40)
BLACK, METAL = Material((0.06, 0.06, 0.07)), Material((0.45, 0.47, 0.48), noise=0.1)


def at(pose, items, **identity):
    """The items carried by `pose` (4x4 or a function of time); `identity`: instance and mover of their primitives."""
    return [
        replace(item, pose=_compose(pose, item.pose), **(identity if isinstance(item, Primitive) else {}))
        for item in items
    ]


def _compose(outer, inner) -> Any:
    if not callable(outer) and not callable(inner):
        return outer @ inner

    def at(pose: Any, t: float) -> Any:
        return pose(t) if callable(pose) else pose

    return lambda t: at(outer, t) @ at(inner, t)


def pick(rng, choices, spread: float = 0.05):
    """One of the colours, slightly changed."""
    return tuple(np.clip(np.asarray(choices[rng.integers(len(choices))]) + rng.uniform(-spread, spread, 3), 0.02, 1))


def box(x, y, z, width, height, depth, material, taper=(1, 1), **angles):
    """A box by its full extents, whose *bottom* centre is at (x, y, z)."""
    return Primitive(
        "box", (width / 2, height / 2, depth / 2), place(x, y - height / 2, z, **angles), material, taper=taper
    )


def rod(x, y, z, radius, height, material, top: float = 1.0):
    """An upright cylinder, or a cone with a smaller `top`, standing at (x, y, z)."""
    return Primitive("cylinder", (radius, height / 2, radius), place(x, y - height / 2, z), material, taper=(top, top))


def ball(x, y, z, size, material):
    """An ellipsoid with its centre at (x, y, z)."""
    return Primitive("ellipsoid", tuple(np.broadcast_to(size, 3)), place(x, y, z), material)


PAINTS = [
    (0.75, 0.76, 0.78),
    (0.12, 0.12, 0.14),
    (0.55, 0.08, 0.07),
    (0.10, 0.20, 0.45),
    (0.85, 0.85, 0.83),
    (0.35, 0.37, 0.40),
    (0.15, 0.33, 0.25),
    (0.80, 0.55, 0.12),
    (0.35, 0.55, 0.70),
]


def car(rng):
    """Body, cabin with windows, wheels, lights, plate; a hatchback, a saloon or a van."""
    length, width, ride = rng.uniform(3.8, 4.7), rng.uniform(1.7, 1.9), 0.22
    kind = rng.choice(["hatchback", "saloon", "van"], p=[0.4, 0.4, 0.2])
    hood, cabin, cabin_z, slope = {
        "hatchback": (0.62, 0.60, -0.12, (0.80, 0.72)),
        "saloon": (0.60, 0.55, -0.04, (0.78, 0.62)),
        "van": (0.85, 0.80, -0.08, (0.88, 0.86)),
    }[kind]
    top = 0.75 if kind == "van" else 0.58
    color = pick(rng, PAINTS)
    paint = Material(color, noise=0.05)
    glazed = Material(GLASS, GLASS_B, color, cell=(1.05, np.inf), gap=(0.12, 0.28), sides_only=True, noise=0.05)
    half, nose = width / 2, length / 2
    parts = [
        box(0, -ride, 0, width, hood, length, paint, (0.94, 0.96)),
        box(0, -ride - hood, cabin_z * length / 2, width * 0.92, top, cabin * length, glazed, slope),
        box(0, -ride - 0.02, 0, width * 1.01, 0.16, length * 1.01, BLACK),  # bumpers and sills
        box(0, -ride - hood * 0.30, nose * 0.99, 0.5, 0.12, 0.04, Material((0.9, 0.9, 0.85))),  # plates
        box(0, -ride - hood * 0.40, -nose * 0.99, 0.5, 0.12, 0.06, Material((0.9, 0.85, 0.5))),
        box(0, -ride - hood * 0.55, nose * 0.965, width * 0.5, 0.14, 0.08, BLACK),
    ]
    for side in (-1, 1):
        lamp_x = side * (half - 0.24)
        parts.append(
            box(lamp_x, -ride - hood * 0.55, nose * 0.965, 0.34, 0.17, 0.10, Material((1.0, 0.98, 0.9), emission=0.9))
        )
        parts.append(
            box(lamp_x, -ride - hood * 0.58, -nose * 0.97, 0.26, 0.20, 0.10, Material((0.75, 0.05, 0.04), emission=0.8))
        )
        for z in (-0.31, 0.32):
            wheel = place(side * (half - 0.09), -0.31, z * length, roll=np.pi / 2)
            parts.append(Primitive("cylinder", (0.31, 0.11, 0.31), wheel, BLACK))
    for z in (-0.31, 0.32):
        parts.append(
            Primitive("cylinder", (0.18, half + 0.03, 0.18), place(0, -0.31, z * length, roll=np.pi / 2), METAL)
        )
    return [*parts, Shadow((half * 1.35, 0.75, nose * 1.25), place(0, 0, 0), 0.85)]


SKINS = [(0.85, 0.65, 0.52), (0.55, 0.38, 0.27), (0.36, 0.24, 0.17), (0.92, 0.74, 0.62)]
CLOTHES = [
    (0.7, 0.15, 0.15),
    (0.15, 0.3, 0.6),
    (0.85, 0.8, 0.7),
    (0.15, 0.15, 0.17),
    (0.2, 0.45, 0.3),
    (0.85, 0.65, 0.15),
    (0.5, 0.3, 0.5),
]
TROUSERS = [(0.15, 0.18, 0.3), (0.12, 0.12, 0.12), (0.4, 0.33, 0.25), (0.3, 0.32, 0.35)]


def walker(rng, speed: float = 1.4):
    """A person who walks forward (z) in place: head, hair, body, swinging legs and arms; `speed` in metres a second."""
    tall = rng.uniform(1.55, 1.9)
    hip, shoulder = 0.5 * tall, 0.82 * tall
    phase, step = rng.uniform(0, 2 * np.pi), 2 * np.pi * (0.45 + 0.35 * speed) / FPS
    reach = min(0.25 + 0.2 * speed, 0.7)
    skin, cloth, trouser = pick(rng, SKINS, 0.02), Material(pick(rng, CLOTHES)), Material(pick(rng, TROUSERS))
    hair = Material(
        pick(rng, [(0.1, 0.08, 0.06), (0.3, 0.2, 0.1), (0.55, 0.45, 0.3), (0.5, 0.5, 0.5)], 0.03), noise=0.3
    )

    def swing(side, x, y, amount):
        return lambda t: place(side * x, -y, pitch=side * amount * np.sin(step * t + phase))

    parts = [
        ball(0, 0.075 * tall - tall, 0.01, (0.085, 0.075 * tall, 0.10), Material(skin)),
        ball(0, 0.055 * tall - tall, -0.025, (0.095, 0.06 * tall, 0.10), hair),
        Primitive(
            "cylinder",
            (0.17, (shoulder - hip) / 2 + 0.04, 0.115),
            place(y=-(shoulder + hip) / 2),
            cloth,
            taper=(1.25, 1.25),
        ),
        ball(0, -shoulder, 0, (0.21, 0.07, 0.12), cloth),
    ]
    for side in (-1, 1):
        leg = [
            Primitive("cylinder", (0.065, hip / 2, 0.075), place(y=hip / 2), trouser, taper=(1.3, 1.3)),
            box(0, hip, 0.06, 0.09, 0.08, 0.26, BLACK),
        ]
        arm = [
            Primitive("cylinder", (0.042, 0.17 * tall, 0.05), place(y=0.17 * tall), cloth, taper=(1.3, 1.3)),
            ball(0, 0.36 * tall, 0, 0.05, Material(skin)),
        ]
        parts += at(swing(side, 0.095, hip, reach), leg) + at(swing(-side, -0.245, shoulder, reach * 0.8), arm)
    return [*parts, Shadow((0.5, 0.5, 0.55), place(), 0.7)]


LEAVES = [(0.22, 0.38, 0.12), (0.32, 0.45, 0.15), (0.15, 0.30, 0.14), (0.48, 0.42, 0.14), (0.5, 0.28, 0.1)]


def tree(rng):
    """A trunk under a few leafy balls, or a conifer of stacked cones."""
    tall = rng.uniform(4.5, 9)
    bark = Material((0.30, 0.23, 0.17), (0.22, 0.17, 0.13), cell=(0.12, np.inf), noise=0.4, noise_scale=0.3)
    leaf = Material(pick(rng, LEAVES, 0.04), noise=0.75, noise_scale=0.55)
    if rng.random() < 0.25:
        cones = [
            rod(0, -tall * (0.15 + 0.24 * k), 0, tall * (0.24 - 0.05 * k), tall * 0.38, leaf, 0.05) for k in range(3)
        ]
        return [rod(0, 0, 0, 0.16, tall * 0.3, bark), *cones, Shadow((1.2, 0.6, 1.2), place(), 0.6)]
    crown = []
    for _ in range(rng.integers(3, 6)):
        x, y, z = (rng.uniform(-1, 1, 3) * [0.17, 0.10, 0.17] + [0, -0.72, 0]) * tall
        crown.append(ball(x, y, z, tall * rng.uniform(0.15, 0.24, 3), leaf))
    return [rod(0, 0, 0, rng.uniform(0.1, 0.2), tall * 0.65, bark, 0.6), *crown, Shadow((1.5, 0.6, 1.5), place(), 0.6)]


def street_lamp(rng):
    """A pole with an arm over the road (towards +x) and a lantern."""
    tall = rng.uniform(5, 7.5)
    metal = Material(pick(rng, [(0.25, 0.27, 0.28), (0.55, 0.56, 0.57), (0.12, 0.22, 0.18)]))
    return [
        rod(0, 0, 0, 0.09, tall, metal, 0.6),
        rod(0, 0, 0, 0.15, 0.6, metal),
        box(0.6, -tall + 0.06, 0, 1.3, 0.07, 0.07, metal),
        box(1.2, -tall + 0.16, 0, 0.6, 0.14, 0.22, Material((0.95, 0.93, 0.85), emission=0.9), (0.7, 0.7)),
        Shadow((0.4, 0.4, 0.4), place()),
    ]


def sign(rng):
    """A traffic sign that faces -z: a disc with a ring, a triangle or a blue board on a thin pole."""
    tall = rng.uniform(2.2, 2.8)
    red, white = Material((0.75, 0.06, 0.06), noise=0.05), Material((0.93, 0.93, 0.9), noise=0.05)
    kind = rng.choice(["disc", "triangle", "board"])
    if kind == "disc":
        face = [
            Primitive("cylinder", (r, 0.02, r), place(0, -tall, -0.05 - d, pitch=np.pi / 2), m)
            for r, d, m in ((0.36, 0, red), (0.25, 0.02, white))
        ]
    elif kind == "triangle":
        face = [
            box(0, 0.35 - s - tall, -0.05 - d, 0.9 - 2.2 * s, 0.78 - 1.9 * s, 0.03, m, (0, 1))
            for s, d, m in ((0, 0, red), (0.1, 0.02, white))
        ]
    else:
        face = [
            box(
                0,
                -tall + 0.35,
                -0.05,
                0.7,
                0.7,
                0.03,
                Material((0.85, 0.9, 1), (0.85, 0.9, 1), (0.05, 0.2, 0.6), gap=(0.75, 0.3), noise=0.05),
            )
        ]
    back = [replace(part, pose=place(z=0.02) @ part.pose, material=METAL) for part in face[:1]]
    return [rod(0, 0, 0, 0.04, tall + 0.2, METAL), *face, *back, Shadow((0.3, 0.3, 0.3), place())]


def post(rng):
    """A thin pole, higher than a man."""
    return [
        rod(
            0,
            0,
            0,
            0.04,
            rng.uniform(2.2, 3.2),
            Material(pick(rng, [(0.9, 0.9, 0.88), (0.15, 0.15, 0.16), (0.8, 0.65, 0.1)])),
        )
    ]


WALLS = [
    (0.72, 0.64, 0.52),
    (0.62, 0.36, 0.27),
    (0.82, 0.78, 0.70),
    (0.55, 0.55, 0.56),
    (0.80, 0.66, 0.45),
    (0.66, 0.50, 0.45),
    (0.60, 0.68, 0.70),
]
ROOFS = [(0.45, 0.20, 0.14), (0.25, 0.25, 0.28), (0.36, 0.28, 0.22)]


def building(rng, width, depth=8.0):
    """A facade with rows of windows over a ground floor of shops or doors, a cornice and a roof.

    Its front faces -z at z = 0.
    """
    floors = rng.integers(1, 5)
    ground, upper = rng.uniform(3.2, 4.0), floors * rng.uniform(2.7, 3.3)
    wall = pick(rng, WALLS)
    pane = pick(rng, [GLASS, GLASS_B, (0.35, 0.38, 0.42)], 0.04)
    cell = (rng.uniform(1.8, 3.4), upper / floors)
    windows = Material(
        pane,
        GLASS_B,
        wall,
        cell,
        (rng.uniform(0.4, 0.65), rng.uniform(0.38, 0.55)),
        sides_only=True,
        noise=0.22,
        noise_scale=1.6,
    )
    shop = pick(rng, WALLS, 0.15)
    shops = Material(
        GLASS,
        pick(rng, CLOTHES),
        shop,
        (rng.uniform(2.2, 4.5), np.inf),
        (rng.uniform(0.15, 0.5), 0.3),
        hue=0.1,
        sides_only=True,
        noise_scale=0.7,
    )
    middle = depth / 2
    parts = [
        box(0, -ground, middle, width, upper, depth, windows),
        box(0, 0, middle, width, ground, depth + 0.1, shops),
        box(0, -ground + 0.15, middle, width, 0.3, depth + 0.5, Material(tuple(0.8 * c for c in wall))),
        box(0, -ground - upper, middle, width, 0.35, depth + 0.7, Material(tuple(0.9 * c for c in wall))),
    ]
    if rng.random() < 0.5:
        tiles = Material(pick(rng, ROOFS), pick(rng, ROOFS, 0.02), (0.15, 0.12, 0.1), (0.5, 0.4), (0.1, 0.15), 0.5)
        parts.append(box(0, -ground - upper - 0.3, middle, width, rng.uniform(1.8, 3.2), depth, tiles, (1, 0.05)))
    if rng.random() < 0.4:
        stripes = Material(pick(rng, CLOTHES), (0.9, 0.88, 0.82), cell=(0.5, np.inf), checker=True)
        parts.append(box(0, -ground + 0.7, -0.7, width * rng.uniform(0.3, 0.8), 0.5, 1.5, stripes, (1, 0.1)))
    return parts


def hedge(rng, width):
    """A clipped hedge or a brick wall of about a man's height, its front at z = 0."""
    tall = rng.uniform(0.9, 2.0)
    if rng.random() < 0.6:
        return [box(0, 0, 0.5, width, tall, 1.0, Material(pick(rng, LEAVES, 0.04), noise=0.7, noise_scale=0.5))]
    brick = Material((0.55, 0.30, 0.22), (0.65, 0.38, 0.28), (0.7, 0.68, 0.62), (0.5, 0.2), (0.1, 0.18), 0.5)
    return [box(0, 0, 0.2, width, tall, 0.4, brick), box(0, -tall, 0.2, width, 0.1, 0.5, Material((0.6, 0.58, 0.54)))]
