"""The broad mixture that `leres_small` learns from: random views of random procedural scenes, one a seed.

Nothing here knows the tutorial's `street` and `room`: what stands about is composed of random primitives (on wheels or
legs, upright, slabs, poles, tufts, piles), colours and patterns are random, and the camera's height, pitch, roll and
field of view vary far more than theirs. Wide pictures are mostly taken outdoors, narrower ones mostly indoors. What the
scenes share with any photograph is what a prior can learn: things rest on surfaces, what is further is higher up to the
horizon, smaller, hazier, and hidden by what is nearer. The renderer is the tutorial's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssmde_lib.synthetic.engine import Frame, render
from ssmde_lib.synthetic.scene import Light, Material, Primitive, Scene, Shadow, Sky, place

Rng = np.random.Generator
SOLIDS = ("box", "cylinder", "ellipsoid")
Paint = Callable[[float], Material]  # a random material for a thing of about this size in metres


@dataclass(frozen=True)
class View:
    """A scene and the camera that looks at it; `K` is for the image size that was asked for."""

    scene: Scene
    K: np.ndarray
    T_world_cam: np.ndarray


@dataclass(frozen=True)
class Mixture:
    """Families of scenes, and how often each is drawn for wide pictures (more than 2:1) and for narrower ones."""

    families: tuple[Callable, ...]
    wide: tuple[float, ...]
    narrow: tuple[float, ...]


def sample_view(seed: int, height: int, width: int, mixture: Mixture | None = None) -> View:
    """A random view of `mixture` (default: `ROOMY`), deterministic by seed; pixels are square up to a sixth."""
    rng = np.random.default_rng([2021, seed])
    mixture = mixture or ROOMY
    family = mixture.families[
        rng.choice(len(mixture.families), p=mixture.wide if width > 2 * height else mixture.narrow)
    ]
    field_of_view = np.deg2rad(rng.uniform(50, 100))
    fx = width / 2 / np.tan(field_of_view / 2)
    fy = fx * log_uniform(rng, 6 / 7, 7 / 6)
    centre = rng.normal(0.5, 0.02, 2) * (width, height) - 0.5
    K = np.array([[fx, 0, centre[0]], [0, fy, centre[1]], [0, 0, 1]])
    scene, T_world_cam = family(rng, random_paint(rng), field_of_view)
    return View(scene, K, T_world_cam)


def render_view(seed: int, height: int, width: int, mixture: Mixture | None = None) -> Frame:
    """The picture of `sample_view(seed, height, width, mixture)` with its depth (infinite: sky)."""
    view = sample_view(seed, height, width, mixture)
    return render(view.scene, view.K, view.T_world_cam, height, width)


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


def moved(parts: list[Primitive], T: np.ndarray) -> list[Primitive]:
    """The primitives, moved by T."""
    return [replace(part, pose=T @ part.pose) for part in parts]


def reach(parts: list[Primitive]) -> float:
    """Horizontal radius in metres of things at the origin."""
    return max(float(np.hypot(*part.pose[[0, 2], 3]) + np.hypot(part.size[0], part.size[2])) for part in parts)


class SceneBuilder:
    """Collects what stands in a scene, keeps the camera's surroundings free and lays contact shadows."""

    def __init__(self, rng: Rng, paint: Paint, T_world_cam: np.ndarray, clearance: float):
        self.rng, self.paint, self.clearance = rng, paint, clearance
        self.camera = T_world_cam[[0, 2], 3]
        self.heading = np.arctan2(T_world_cam[0, 2], T_world_cam[2, 2])
        self.primitives, self.shadows = [], []
        self.shadow = rng.choice([0.0, rng.uniform(0.2, 0.8)], p=[0.25, 0.75])

    def stand(self, parts: list[Primitive], x: float, z: float, yaw: float) -> None:
        """Put things on the ground at (x, z), unless they would swallow the camera."""
        radius = reach(parts)
        if np.hypot(x - self.camera[0], z - self.camera[1]) < radius + self.clearance:
            return
        self.primitives += moved(parts, place(x, 0, z, yaw))
        if self.shadow:
            size = (1.1 * radius + 0.05, 0.15 + 0.1 * radius, 1.1 * radius + 0.05)
            self.shadows.append(Shadow(size, place(x, 0, z), self.shadow))

    def scatter(
        self, count: int, near: float, far: float, half_view: float, weights: tuple, inside: tuple | None = None
    ) -> None:
        """Random things in the field of view, as many near as far (log-uniform distance).

        `inside`: half extents of a floor.
        """
        yaws = self.rng.choice([0, np.pi / 2, np.pi, self.rng.uniform(-np.pi, np.pi)], count) + self.rng.normal(0, 0.2)
        for yaw in yaws:
            distance = log_uniform(self.rng, near, far)
            angle = self.heading + self.rng.uniform(-1.1, 1.1) * half_view
            x, z = self.camera + distance * np.array([np.sin(angle), np.cos(angle)])
            parts = random_object(self.rng, self.paint, weights)
            if inside is None or (abs(x) < inside[0] - 0.2 and abs(z) < inside[1] - 0.2):
                self.stand(parts, x, z, yaw)

    def slab(self, half: tuple, pose: np.ndarray, size: float | None = None) -> None:
        """Add a box."""
        self.primitives.append(Primitive("box", tuple(half), pose, self.paint(size or max(half))))


# ---- the four families: scene and camera


def handheld(
    rng: Rng, height: float, pitch: float, roll: float, x: float = 0.0, z: float = 0.0, yaw: float = 0.0
) -> np.ndarray:
    """T_world_cam of a camera `height` metres above y = 0.

    Standard deviations of pitch (negative looks down) and roll.
    """
    return place(x, -height, z, yaw, rng.normal(0, pitch), rng.normal(0, roll))


def daylight(rng: Rng) -> dict:
    """Sun, ambient light and sky; overcast in a third of all scenes."""
    towards = np.array([rng.normal(), -rng.uniform(0.2, 2), rng.normal()])
    strength, warm = rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.3, 0.7]), rng.uniform(-0.15, 0.15)
    above = rng.uniform(0.5, 1.1)
    below = above * rng.uniform(0.3, 0.9)
    tint = np.array([1 + warm, 1, 1 - warm])
    horizon = np.clip(rng.uniform(0.35, 1) * np.array([1, 1, 1]) + rng.normal(0, 0.07, 3), 0, 1)
    zenith = np.clip(horizon * rng.uniform(0.4, 1.1) * np.array([rng.uniform(0.4, 1), rng.uniform(0.7, 1), 1]), 0, 1)
    return {
        "lights": [Light(tuple(towards / np.linalg.norm(towards)), tuple(strength * tint))],
        "ambient": (tuple(above / tint), tuple(np.full(3, below))),
        "sky": Sky(
            tuple(zenith),
            tuple(horizon),
            rng.choice([0.0, rng.random()]),
            log_uniform(rng, 25, 600) if rng.random() < 0.7 else np.inf,
        ),
    }


def ground(builder: SceneBuilder, extent: float = 400.0) -> None:
    """A plane with stripes, patches, kerbs and hills."""
    rng = builder.rng
    builder.slab((extent, 1, extent), place(y=1), log_uniform(rng, 0.3, 10))
    for _ in range(rng.integers(0, 3)):  # roads and paths, mostly along the view
        yaw, wide = (
            rng.choice([rng.normal(0, 0.15), rng.uniform(-1.6, 1.6)]) + builder.heading,
            log_uniform(rng, 0.5, 12),
        )
        T = place(*(builder.camera[0], 0, builder.camera[1]), yaw) @ place(rng.normal(0, 4))
        builder.slab((wide / 2, 0.02, extent), T, log_uniform(rng, 0.3, 4))
        for _ in range(rng.integers(0, 3)):  # lines along it
            builder.primitives.append(
                Primitive(
                    "box",
                    (log_uniform(rng, 0.03, 0.15), 0.03, 150),
                    T @ place(rng.uniform(-0.5, 0.5) * wide),
                    Material(
                        tuple(random_colour(rng)),
                        gap_color=tuple(random_colour(rng)),
                        cell=(np.inf, log_uniform(rng, 1, 12)),
                        gap=(0, rng.choice([0, 0.5])),
                    ),
                )
            )
        if rng.random() < 0.4:
            kerb = log_uniform(rng, 0.05, 0.4)
            for side in (-1, 1):
                builder.slab((log_uniform(rng, 0.05, 3), kerb, 150), T @ place(side * (wide / 2 + 1)), 1.0)
    for _ in range(rng.integers(0, 3)):  # patches
        angle, distance = builder.heading + rng.uniform(-0.8, 0.8), log_uniform(rng, 2, 40)
        x, z = builder.camera + distance * np.array([np.sin(angle), np.cos(angle)])
        builder.slab(
            (log_uniform(rng, 0.2, 5), 0.015, log_uniform(rng, 0.2, 5)), place(x, 0, z, rng.uniform(-3, 3)), 1.0
        )


def backdrop(builder: SceneBuilder) -> None:
    """Hills, blocks and tall tufts far away."""
    rng = builder.rng
    kind = rng.random()
    for _ in range(rng.integers(0, 25)):
        angle, distance = builder.heading + rng.uniform(-1, 1), log_uniform(rng, 25, 150)
        x, z = builder.camera + distance * np.array([np.sin(angle), np.cos(angle)])
        if kind < 0.35:
            half = distance * np.array([rng.uniform(0.1, 0.6), rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.3)])
            builder.primitives.append(
                Primitive("ellipsoid", tuple(half), place(x, 0, z, rng.uniform(-3, 3)), builder.paint(5))
            )
        elif kind < 0.75:
            half = np.exp(rng.normal([1.5, 1.5, 1.5], 0.6))
            builder.primitives.append(
                solid(rng, builder.paint, half, place(x, -half[1], z, rng.uniform(-3, 3)), ("box", "box", "cylinder"))
            )
        else:
            builder.stand(tuft(rng, builder.paint), x, z, 0.0)


def terrain(rng: Rng, paint: Paint, field_of_view: float) -> tuple[Scene, np.ndarray]:
    """Open ground with paths, things at all distances, something on the horizon."""
    camera = handheld(rng, log_uniform(rng, 1.0, 2.4), 0.04, 0.015, yaw=rng.uniform(-3, 3))
    builder = SceneBuilder(rng, paint, camera, clearance=2.0)
    ground(builder)
    backdrop(builder)
    builder.scatter(int(rng.integers(5, 30)), 4.0, 40.0, field_of_view / 2, OUTDOOR)
    return Scene(builder.primitives, shadows=builder.shadows, **daylight(rng)), camera


def corridor(rng: Rng, paint: Paint, field_of_view: float) -> tuple[Scene, np.ndarray]:
    """Ground between two broken rows of blocks, from alley to avenue, with things in between."""
    camera = handheld(rng, log_uniform(rng, 1.0, 2.4), 0.04, 0.015, yaw=rng.normal(0, 0.15))
    builder = SceneBuilder(rng, paint, camera, clearance=2.0)
    ground(builder)
    half_width, storey = log_uniform(rng, 3.0, 16.0), log_uniform(rng, 2.0, 14)
    for side in (-1, 1):
        z = rng.uniform(-10, -3)
        while z < 110:
            length, back = log_uniform(rng, 1.5, 22), rng.exponential(0.12) * half_width
            if rng.random() < 0.85:
                row(builder, side, half_width + back, z, length, storey * rng.uniform(0.3, 1.6))
            z += length + rng.choice([0.0, log_uniform(rng, 0.3, 10)])
    if rng.random() < 0.3:
        builder.slab((60, storey, 2), place(y=-storey, z=log_uniform(rng, 15, 90), yaw=rng.normal(0, 0.2)))
    backdrop(builder)
    builder.scatter(int(rng.integers(3, 18)), 3.5, 35.0, field_of_view / 2, OUTDOOR)
    for _ in range(rng.integers(0, 20)):  # things along the sides
        x = rng.choice([-1, 1]) * half_width * rng.uniform(0.55, 1)
        builder.stand(
            random_object(rng, paint, OUTDOOR),
            x,
            log_uniform(rng, 3, 60),
            rng.choice([0, np.pi]) + rng.normal(0, 0.1),
        )
    return Scene(builder.primitives, shadows=builder.shadows, **daylight(rng)), camera


def row(builder: SceneBuilder, side: int, x: float, z: float, length: float, height: float) -> None:
    """One block of a row: a box, perhaps with a roof, ledges and boards; its front is |x| = `x`."""
    rng = builder.rng
    deep = log_uniform(rng, 0.1, 8)
    centre = place(side * (x + deep), -height / 2, z + length / 2, rng.normal(0, 0.03))
    builder.slab((deep, height / 2, length / 2), centre, log_uniform(rng, 0.5, 6))
    if rng.random() < 0.35:
        roof = rng.uniform(0.1, 0.5) * height
        builder.primitives.append(
            Primitive(
                "box",
                (deep * 1.05, roof / 2, length / 2 * 1.02),
                centre @ place(y=-height / 2 - roof / 2),
                builder.paint(2),
                taper=tuple(rng.uniform(0, 1, 2)),
            )
        )
    for _ in range(rng.integers(0, 5)):
        half = (rng.uniform(0.02, 0.6), log_uniform(rng, 0.05, 1), min(log_uniform(rng, 0.1, 2), length / 2))
        y, along = rng.uniform(-0.45, 0.45) * height, rng.uniform(-1, 1) * (length / 2 - half[2])
        builder.slab(half, centre @ place(-side * deep, y, along))


def interior(rng: Rng, paint: Paint, field_of_view: float) -> tuple[Scene, np.ndarray]:
    """Four walls, floor and ceiling; boards on the walls, things along them and in the middle; lamps."""
    half_x, half_z, high = log_uniform(rng, 1.6, 4.5), log_uniform(rng, 1.6, 4.5), rng.uniform(2.2, 3.4)
    x, z = rng.uniform(-0.9, 0.9, 2) * (half_x - 0.4, half_z - 0.4)
    inwards = np.arctan2(-x, -z)  # look across the room more often than at the nearest wall
    camera = handheld(rng, rng.uniform(0.8, 1.8), 0.1, 0.03, x, z, inwards + rng.normal(0, 0.6))
    builder = SceneBuilder(rng, paint, camera, clearance=0.4)
    furnish_room(builder, half_x, half_z, high)
    builder.scatter(int(rng.integers(2, 14)), 0.8, 6.0, field_of_view / 2, INDOOR, (half_x, half_z))
    return light_room(builder, half_x, half_z, high), camera


def furnish_room(builder: SceneBuilder, half_x: float, half_z: float, high: float) -> None:
    """Walls with boards on them, floor, ceiling, objects against the walls; half extents and height in metres."""
    rng, paint = builder.rng, builder.paint
    wall = paint(log_uniform(rng, 0.3, 3))
    for side in (-1, 1):
        for half, pose, along in (
            ((0.1, high / 2, half_z), place(side * (half_x + 0.1), -high / 2), half_z),
            ((half_x, high / 2, 0.1), place(0, -high / 2, side * (half_z + 0.1)), half_x),
        ):
            builder.primitives.append(Primitive("box", half, pose, wall if rng.random() < 0.7 else paint(1.5)))
            for _ in range(rng.integers(0, 4)):  # pictures, doors, windows, skirtings, radiators
                size, place_along = (
                    (log_uniform(rng, 0.1, 1.0), log_uniform(rng, 0.1, 1.1)),
                    rng.uniform(-0.9, 0.9) * along,
                )
                y = rng.choice([-size[1], -rng.uniform(0.3, high - 0.2)])
                thick = rng.uniform(0.11, 0.3)
                flat = (thick, size[1], size[0]) if half[0] == 0.1 else (size[0], size[1], thick)
                at = place(pose[0, 3], y, place_along) if half[0] == 0.1 else place(place_along, y, pose[2, 3])
                builder.slab(flat, at)
    builder.slab((half_x + 1, 0.2, half_z + 1), place(y=0.2), log_uniform(rng, 0.2, 3))
    builder.slab((half_x + 1, 0.2, half_z + 1), place(y=-high - 0.2), log_uniform(rng, 0.5, 3))
    if rng.random() < 0.4:
        builder.slab(
            (log_uniform(rng, 0.4, 2), 0.01, log_uniform(rng, 0.4, 2)),
            place(rng.normal(), 0, rng.normal(), rng.uniform(-3, 3)),
            0.5,
        )
    for _ in range(rng.integers(0, 9)):  # against the walls
        if rng.random() < 0.5:
            at, yaw = (rng.choice([-1, 1]) * (half_x - 0.4), rng.uniform(-1, 1) * (half_z - 0.4)), np.pi / 2
        else:
            at, yaw = (rng.uniform(-1, 1) * (half_x - 0.4), rng.choice([-1, 1]) * (half_z - 0.4)), 0.0
        builder.stand(random_object(rng, paint, INDOOR), *at, yaw + rng.choice([0, np.pi]))


def light_room(builder: SceneBuilder, half_x: float, half_z: float, high: float) -> Scene:
    """The scene of all that stands in a room, with up to three lamps."""
    rng = builder.rng
    lamps = [
        Light(
            (rng.uniform(-1, 1) * half_x, -high * rng.uniform(0.6, 0.98), rng.uniform(-1, 1) * half_z),
            tuple(rng.uniform(0.1, 0.8) * rng.uniform(0.75, 1, 3)),
            True,
            log_uniform(rng, 1, 6),
        )
        for _ in range(rng.integers(0, 4))
    ]
    above = rng.uniform(0.5, 1.1)
    ambient = (tuple(above * rng.uniform(0.85, 1, 3)), tuple(np.full(3, above * rng.uniform(0.4, 1))))
    return Scene(builder.primitives, lamps, ambient, builder.shadows, Sky(clouds=0.0))


def clutter(rng: Rng, paint: Paint, field_of_view: float) -> tuple[Scene, np.ndarray]:
    """Solids of any size in any pose before a wall or the sky: cues are shape, shading and occlusion alone."""
    camera = place(yaw=rng.uniform(-3, 3), pitch=rng.normal(0, 0.3), roll=rng.normal(0, 0.3))
    primitives = []
    for _ in range(rng.integers(8, 50)):
        distance = log_uniform(rng, 1.2, 15)
        spread = distance * np.tan(field_of_view / 2)
        half = np.minimum(distance * np.exp(rng.normal(-2, 0.6, 3)), 0.4 * distance)
        pose = camera @ place(
            rng.uniform(-1, 1) * spread, rng.uniform(-1, 1) * spread, distance, *rng.uniform(-3, 3, 3)
        )
        primitives.append(solid(rng, paint, half, pose))
    if rng.random() < 0.7:
        primitives.append(
            Primitive(
                "box",
                (80, 80, 0.5),
                camera @ place(z=log_uniform(rng, 8, 30), yaw=rng.normal(0, 0.3), pitch=rng.normal(0, 0.3)),
                paint(3),
            )
        )
    return Scene(primitives, **daylight(rng)), camera


FAMILIES = (terrain, corridor, interior, clutter)
ROOMY = Mixture(FAMILIES, wide=(0.24, 0.48, 0.26, 0.02), narrow=(0.1, 0.2, 0.68, 0.02))  # what leres_small learns from
