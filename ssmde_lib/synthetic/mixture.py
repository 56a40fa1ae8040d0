"""The broad mixture that `leres_small` learns from: random views of random procedural scenes, one a seed.

Nothing here knows the tutorial's `street` and `room`: what stands about is composed of random primitives (on wheels or
legs, upright, slabs, poles, tufts, piles), colours and patterns are random, and the camera's height, pitch, roll and
field of view vary far more than theirs. Wide pictures are mostly taken outdoors, narrower ones mostly indoors. What the
scenes share with any photograph is what a prior can learn: things rest on surfaces, what is further is higher up to the
horizon, smaller, hazier, and hidden by what is nearer. The renderer is the tutorial's own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssmde_lib.synthetic.engine import Frame, render
from ssmde_lib.synthetic.mixture_objects import (
    INDOOR,
    OUTDOOR,
    Paint,
    Rng,
    log_uniform,
    random_colour,
    random_object,
    random_paint,
    solid,
    tuft,
)
from ssmde_lib.synthetic.scene import Light, Material, Primitive, Scene, Sky, place
from ssmde_lib.synthetic.scene_builder import SceneBuilder


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
