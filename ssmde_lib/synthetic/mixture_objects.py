"""Random objects of the mixture: palettes, patterns, and things composed of random primitives.

All stand on a ground at y = 0, centred at the origin.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ssmde_lib.synthetic.scene import Material, Primitive, place

Rng = np.random.Generator
SOLIDS = ("box", "cylinder", "ellipsoid")
Paint = Callable[[float], Material]  # a random material for a thing of about this size in metres


# ---- colours and patterns


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_colour(rng: Rng) -> np.ndarray:
    """Mostly dull, sometimes vivid; a third of all are greys, to white and black."""
    value, vividness = rng.uniform(0.06, 1), rng.choice([0.1, 0.4, 0.9]) * rng.random()
    tint = rng.random(3)
    return np.clip(value * (1 - vividness + vividness * tint / tint.max()), 0.02, 1)


def random_paint(rng: Rng) -> Paint:
    """A scene's own palette and taste: some are plain all over, some busy."""
    palette = [random_colour(rng) for _ in range(rng.integers(3, 10))]
    busy, rough = rng.random() ** 4, rng.uniform(0, 0.5)

    def colour() -> tuple:
        base = palette[rng.integers(len(palette))] if rng.random() < 0.8 else random_colour(rng)
        return tuple(np.clip(base * rng.uniform(0.7, 1.3) + rng.normal(0, 0.03, 3), 0.02, 1))

    def paint(size: float) -> Material:
        plain = rng.random() > busy
        wide, high = (log_uniform(rng, 0.04, 1.5) * size if rng.random() < 0.85 else np.inf for _ in range(2))
        return Material(
            color=colour(), color_b=None if plain or rng.random() < 0.5 else colour(), gap_color=colour(),
            cell=(np.inf, np.inf) if plain else (wide, high),
            gap=(0.0, 0.0) if plain else tuple(rng.choice([0.0, rng.uniform(0.02, 0.8)], 2)),
            offset=rng.choice([0.0, 0.5, rng.random()]), checker=bool(rng.random() < 0.2),
            hue=0.0 if plain else rng.choice([0.0, rng.uniform(0, 0.3)]), sides_only=bool(rng.random() < 0.3),
            noise=rough * rng.random(), noise_scale=log_uniform(rng, 0.03, 2) * size,
            emission=0.0 if rng.random() < 0.97 else rng.uniform(0.3, 1),
        )  # fmt: skip

    return paint


# ---- things that stand on a ground at y = 0, centred at the origin, made of random primitives


def solid(
    rng: Rng, paint: Paint, half: Sequence[float] | np.ndarray, pose: np.ndarray, shapes: tuple = SOLIDS
) -> Primitive:
    """One random primitive of these half extents, sometimes tapered; y = 0 of `pose` is its centre."""
    shape = str(rng.choice(shapes))
    taper = (1.0, 1.0)
    if shape != "ellipsoid" and rng.random() < 0.35:
        taper = tuple(np.repeat(rng.uniform(0, 1.2), 2)) if shape == "cylinder" else tuple(rng.uniform(0.2, 1.1, 2))
    x, y, z = (float(h) for h in half)
    if shape == "cylinder":
        z = x
    return Primitive(shape, (x, y, z), pose, paint(2 * max(x, y, z)), taper=taper)


def on_wheels(rng: Rng, paint: Paint) -> list[Primitive]:
    """One to three bodies over two to six wheels, balls or blocks."""
    length, wide, clearance = log_uniform(rng, 1.2, 9), log_uniform(rng, 0.7, 2.6), log_uniform(rng, 0.1, 0.6)
    tall = log_uniform(rng, 0.4, 1.3) * np.sqrt(wide)
    parts, top, half_length, half_wide = [], -clearance * rng.uniform(0.5, 1), length / 2, wide / 2
    for _ in range(rng.integers(1, 4)):
        pose = place(y=top - tall / 2, z=rng.uniform(-0.2, 0.2) * length)
        parts.append(solid(rng, paint, (half_wide, tall / 2, half_length), pose, ("box", "box", "box", "ellipsoid")))
        top, tall = top - tall, tall * rng.uniform(0.5, 1.1)
        half_length, half_wide = half_length * rng.uniform(0.45, 1), half_wide * rng.uniform(0.7, 1)
    tyre = paint(clearance)
    thick, axles = rng.uniform(0.1, 0.4) * clearance, rng.integers(1, 4)
    shape = str(rng.choice(["cylinder", "cylinder", "ellipsoid", "box"]))
    for z in np.linspace(-0.35, 0.35, axles) * length if axles > 1 else [0.0]:
        for side in (-1, 1):
            pose = place(side * wide * 0.47, -clearance / 2, z) @ place(roll=np.pi / 2)
            parts.append(Primitive(shape, (clearance / 2, thick, clearance / 2), pose, tyre))
    return parts


def upright(rng: Rng, paint: Paint) -> list[Primitive]:
    """A column of two to five primitives, on one to four legs or none."""
    height, wide = log_uniform(rng, 0.9, 2.6), log_uniform(rng, 0.2, 0.8)
    legs = height * rng.choice([0.0, rng.uniform(0.2, 0.55)])
    parts, top = [], -legs
    shares = rng.dirichlet(np.full(rng.integers(1, 5), 3.0)) * (height - legs)
    for share in shares:
        half = (wide * rng.uniform(0.4, 1.1), share / 2, wide * rng.uniform(0.3, 1.0))
        parts.append(solid(rng, paint, half, place(rng.normal(0, 0.05) * wide, top - share / 2)))
        top -= share
    if legs:
        material, thick = paint(legs), wide * rng.uniform(0.1, 0.4)
        for k in range(count := rng.integers(1, 5)):
            angle = 2 * np.pi * (k / count) + 0.5
            pose = place(0.5 * wide * np.cos(angle), -legs / 2, 0.5 * wide * np.sin(angle), 0, rng.normal(0, 0.15))
            parts.append(Primitive("cylinder", (thick, legs / 2 + 0.02, thick), pose, material))
    return parts


def slabs(rng: Rng, paint: Paint) -> list[Primitive]:
    """Horizontal boards at several heights between posts or cheeks, loaded with small solids."""
    wide, deep, height = log_uniform(rng, 0.3, 2.2), log_uniform(rng, 0.25, 1.1), log_uniform(rng, 0.3, 2.2)
    board, post, thick = paint(wide), paint(height), rng.uniform(0.015, 0.06)
    parts = []
    for level in np.linspace(1, 0, rng.integers(1, 6), endpoint=False) * height:
        parts.append(Primitive("box", (wide / 2, thick, deep / 2), place(y=-level), board))
        for _ in range(rng.integers(0, 5)):
            half = np.minimum(np.exp(rng.normal(-2.3, 0.5, 3)), (wide / 2, 0.5, deep / 2))
            x, z = rng.uniform(-1, 1, 2) * (wide / 2 - half[0], deep / 2 - half[2])
            parts.append(solid(rng, paint, half, place(x, -level - thick - half[1], z, rng.uniform(-0.5, 0.5))))
    if rng.random() < 0.5:
        for x, z in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            pose = place(x * (wide / 2 - thick), -height / 2, z * (deep / 2 - thick))
            parts.append(Primitive(str(rng.choice(["box", "cylinder"])), (thick, height / 2, thick), pose, post))
    else:
        parts += [
            Primitive("box", (thick, height / 2, deep / 2), place(side * wide / 2, -height / 2), post)
            for side in (-1, 1)
        ]
        if rng.random() < 0.5:
            parts.append(Primitive("box", (wide / 2, height / 2, thick), place(0, -height / 2, deep / 2), post))
    return parts


def pole(rng: Rng, paint: Paint) -> list[Primitive]:
    """Thin and tall, with something on top or an arm."""
    height, radius = log_uniform(rng, 0.8, 9), log_uniform(rng, 0.02, 0.18)
    parts = [
        Primitive(
            str(rng.choice(["cylinder", "box"])), (radius, height / 2, radius), place(y=-height / 2), paint(height)
        )
    ]
    if rng.random() < 0.6:
        half = np.exp(rng.normal(-1.5, 0.6, 3))
        parts.append(
            solid(rng, paint, half, place(rng.normal(0, 0.3), -height, rng.normal(0, 0.1), rng.uniform(-3, 3)))
        )
    if rng.random() < 0.3:
        arm = height * rng.uniform(0.1, 0.4)
        parts.append(
            Primitive(
                "box", (arm, radius * 0.7, radius * 0.7), place(arm, -height * rng.uniform(0.6, 1)), paint(height)
            )
        )
    return parts


def tuft(rng: Rng, paint: Paint) -> list[Primitive]:
    """A stem, or none, under one to five rounded or conical lumps."""
    height, wide = log_uniform(rng, 0.3, 8), rng.uniform(0.25, 0.8)
    stem = height * rng.choice([0.0, rng.uniform(0.1, 0.6)])
    leaf = paint(height * 0.3)
    parts = (
        [Primitive("cylinder", (0.05 * height, stem / 2, 0.05 * height), place(y=-stem / 2), paint(height))]
        if stem
        else []
    )
    for _ in range(rng.integers(1, 6)):
        half = height * wide * rng.uniform(0.3, 0.6, 3)
        y = min(-stem - half[1] * rng.uniform(0.3, 1.0), -half[1] * 0.8)
        pose = place(rng.normal(0, 0.2) * height * wide, y, rng.normal(0, 0.2) * height * wide, rng.uniform(-3, 3))
        parts.append(replace(solid(rng, paint, half, pose, ("ellipsoid", "ellipsoid", "cylinder")), material=leaf))
    return parts


def pile(rng: Rng, paint: Paint) -> list[Primitive]:
    """One to four solids on top of each other, or a lone ball."""
    size, parts, top = log_uniform(rng, 0.15, 1.5), [], 0.0
    for _ in range(rng.integers(1, 5)):
        half = size * rng.uniform(0.25, 0.7, 3)
        pose = place(rng.normal(0, 0.1) * size, top - half[1], rng.normal(0, 0.1) * size, rng.uniform(-3, 3))
        parts.append(solid(rng, paint, half, pose))
        top -= 2 * half[1]
        size *= rng.uniform(0.6, 1)
    return parts


OBJECTS = (on_wheels, upright, slabs, pole, tuft, pile)
OUTDOOR, INDOOR = (0.4, 0.22, 0.04, 0.12, 0.12, 0.1), (0.06, 0.42, 0.28, 0.06, 0.06, 0.12)


def random_object(rng: Rng, paint: Paint, weights: tuple[float, ...]) -> list[Primitive]:
    """One of OBJECTS, drawn by its weight."""
    return OBJECTS[rng.choice(len(OBJECTS), p=weights)](rng, paint)
