"""The world `room`: a hand-held camera turns about in a furnished room (NYU/BONN-like) while people walk through it."""

import numpy as np

from . import furniture, objects
from .objects import at
from .scene import Light, Material, Primitive, Scene, Shot, Sky, place


def room(
    rng, frames: int, height: int, width: int, walkers: int | None = None, motion: str = "handheld", plain: bool = False
) -> Shot:
    """Builds one room; `walkers`: how many people walk in it; `motion` is handheld, static or rotate.

    `plain`: bare, unpatterned walls.
    """
    half_x, half_z, tall = rng.uniform(2.2, 3.2), rng.uniform(2.6, 4.0), rng.uniform(2.4, 2.9)
    focal = rng.uniform(0.72, 0.9) * np.sqrt(width * height * 4 / 3)
    K = np.array(
        [
            [focal, 0, (width - 1) / 2 + width * rng.uniform(-0.01, 0.01)],
            [0, focal, (height - 1) / 2 + height * rng.uniform(-0.02, 0.02)],
            [0, 0, 1],
        ]
    )
    camera = _hand(rng, half_x, half_z, motion)
    items = _shell(rng, half_x, half_z, tall, plain)
    count = 0
    for pose, thing in _furnish(rng, half_x, half_z, plain):
        count += 1
        items += at(pose, thing, instance=count)
    items += _people(rng, half_x, half_z, camera, frames, count, rng.integers(1, 4) if walkers is None else walkers)
    warm, bright = rng.uniform(0, 1), rng.uniform(0.8, 1.05)
    color = bright * (np.array([1.0, 0.97, 0.92]) * (1 - warm) + np.array([1.0, 0.85, 0.66]) * warm)
    lights = [
        Light((rng.uniform(-1, 1), -tall + 0.35, z * half_z), tuple(0.58 * color), lamp=True, reach=4.0)
        for z in (-0.4, 0.45)
    ]
    ambient = (tuple(0.5 * color), tuple(0.42 * color))
    return Shot(Scene.of(items, lights, ambient, Sky(clouds=0)), K, camera)


def _hand(rng, half_x, half_z, motion):
    """The pose of a hand-held camera that wanders about the near end of the room and looks around."""
    where = np.array([rng.uniform(-0.3, 0.3) * half_x, -rng.uniform(1.4, 1.7), -rng.uniform(0.35, 0.6) * half_z])
    walk, turn = rng.uniform([0.35, 0.08, 0.35], [0.6, 0.15, 0.6]), rng.uniform([0.25, 0.06, 0.02], [0.6, 0.15, 0.06])
    pace, phase = (
        rng.uniform([0.08, 0.08, 0.08, 0.05, 0.05, 0.05], [0.16, 0.16, 0.16, 0.1, 0.15, 0.15]),
        rng.uniform(0, 2 * np.pi, 6),
    )
    yaw, pitch = rng.uniform(-0.3, 0.3), rng.uniform(-0.3, -0.12)
    if motion != "handheld":
        walk = 0 * walk
    if motion == "static":
        turn = 0 * turn

    def camera(t):
        wave = np.sin(pace * t + phase) + 0.06 * np.sin(9 * pace * t + 2 * phase)
        x, y, z = where + walk * wave[:3]
        return place(x, y, z, yaw + turn[0] * wave[3], pitch + turn[1] * wave[4], turn[2] * wave[5])

    return camera


def _shell(rng, half_x, half_z, tall, plain):
    """Floor, ceiling, four walls and skirting boards: a wall's texture is faint, or with `plain` absent."""
    wall = objects.pick(
        rng, [(0.85, 0.83, 0.78), (0.75, 0.80, 0.82), (0.83, 0.76, 0.66), (0.70, 0.76, 0.68), (0.86, 0.86, 0.86)], 0.03
    )
    paper = Material(
        wall,
        tuple(0.96 * c for c in wall),
        cell=(rng.uniform(0.2, 0.5), np.inf),
        checker=bool(rng.random() < 0.4),
        noise=0.05,
    )
    wood, dark = objects.pick(rng, furniture.WOODS), objects.pick(rng, furniture.WOODS, 0.02)
    floor = [
        Material(
            wood,
            tuple(0.8 * c for c in wood),
            tuple(0.4 * c for c in wood),
            (0.9, 0.13),
            (0.01, 0.06),
            0.5,
            noise=0.25,
            noise_scale=0.5,
        ),
        Material((0.75, 0.73, 0.7), (0.6, 0.58, 0.56), (0.4, 0.4, 0.4), (0.4, 0.4), (0.03, 0.03), checker=True),
        Material(objects.pick(rng, objects.CLOTHES), noise=0.35, noise_scale=0.15),
    ][rng.integers(3)]
    if plain:
        paper, floor = Material(wall, noise=0.0), Material(wood, noise=0.0)
    parts = [
        Primitive("box", (half_x + 1, 0.5, half_z + 1), place(y=0.5), floor),
        Primitive("box", (half_x + 1, 0.5, half_z + 1), place(y=-tall - 0.5), Material((0.9, 0.9, 0.88), noise=0.03)),
    ]
    for side in (-1, 1):
        parts += [
            Primitive("box", (0.5, tall / 2, half_z + 1), place(side * (half_x + 0.5), -tall / 2), paper),
            Primitive("box", (half_x + 1, tall / 2, 0.5), place(0, -tall / 2, side * (half_z + 0.5)), paper),
            objects.box(side * half_x, 0, 0, 0.04, 0.1, 2 * half_z, Material(dark)),
            objects.box(0, 0, side * half_z, 2 * half_x, 0.1, 0.04, Material(dark)),
        ]
    return parts


def _furnish(rng, half_x, half_z, plain):
    """Poses and things: furniture side by side along each wall, pictures and windows above the low pieces."""
    big = [furniture.table, furniture.shelf, furniture.cupboard, furniture.sofa]
    small = [furniture.floor_lamp, furniture.plant, furniture.chair]
    placed = []
    for yaw, along, away in (
        (0, half_x, half_z),
        (np.pi / 2, half_z, half_x),
        (-np.pi / 2, half_z, half_x),
        (np.pi, half_x, half_z),
    ):
        wall = place(yaw=yaw) @ place(z=away)  # its x runs along the wall, -z into the room
        x, queue = -along + 0.9, [f for _ in range(3) for f in rng.permutation(big)]
        while x < along - 0.9 and not (plain and yaw == 0):
            if rng.random() < 0.3:
                thing, step = rng.choice(small)(rng), 0.9
            elif rng.random() < 0.15:
                thing, step = furniture.door(rng), 1.3
            else:
                build = queue.pop()
                thing, step = build(rng), 2.0
                if build is furniture.table:
                    placed.append(
                        (
                            wall @ place(x, z=-1.0, yaw=np.pi + rng.uniform(-0.4, 0.4)) @ place(z=0.3),
                            furniture.chair(rng),
                        )
                    )
                if build in (furniture.table, furniture.sofa) and not plain:
                    placed.append(
                        (wall @ place(x), (furniture.window if rng.random() < 0.4 else furniture.picture)(rng))
                    )
            placed.append((wall @ place(x), thing))
            x += step + rng.uniform(0, 0.4)
    if not plain:
        placed.append(
            (
                place(rng.uniform(-0.5, 0.5), 0, rng.uniform(-0.3, 0.8), yaw=rng.uniform(-0.2, 0.2)),
                furniture.rug(rng, 1.6, 2.4),
            )
        )
    return placed


def _people(rng, half_x, half_z, camera, frames, count, wanted):
    """People who walk along ellipses in the middle of the room, clear of each other and of the camera."""
    times, items = np.arange(-1, frames + 2), []
    paths = [np.array([camera(t)[[0, 2], 3] for t in times])]
    for _ in range(40 * wanted):
        if wanted == 0:
            break
        pace, phase, turn = rng.uniform(0.7, 1.3), rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        a, b = rng.uniform(0.5, 0.9) * (half_x - 1.4), rng.uniform(0.3, 0.7) * (half_z - 1.4)
        middle = rng.uniform(-0.1, 0.45) * half_z
        rate = turn * pace / objects.FPS / np.hypot(a, b) * np.sqrt(2)

        def pose(t, a=a, b=b, middle=middle, rate=rate, phase=phase):
            angle = rate * t + phase
            yaw = np.arctan2(-a * np.sin(angle) * np.sign(rate), b * np.cos(angle) * np.sign(rate))
            return place(
                a * np.cos(angle), 0, np.clip(middle, b - half_z + 1.4, half_z - 1.4 - b) + b * np.sin(angle), yaw
            )

        path = np.array([pose(t)[[0, 2], 3] for t in times])
        if any(
            (np.linalg.norm(path - other, axis=1) < limit).any()
            for other, limit in zip(paths, [1.1] + [0.7] * 9, strict=False)
        ):
            continue
        wanted, count = wanted - 1, count + 1
        paths.append(path)
        items += at(pose, objects.walker(rng, pace), instance=count, mover=True)
    return items
