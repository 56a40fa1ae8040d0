"""The world `street`: a car drives through a town, as in KITTI.

There are parked cars, walkers, oncoming cars and a car ahead.
"""

from dataclasses import dataclass

import numpy as np

from . import objects, texture
from .objects import at
from .scene import Light, Material, Primitive, Scene, Shot, Sky, place

LANE, MARGIN = 3.3, 105.0  # width of a lane; how far ahead of the last camera the street is built, metres


@dataclass(frozen=True)
class Bend:
    """The centre line of a street of constant curvature (1/metres).

    s is the arc length along it, x the lateral offset to the right.
    """

    curvature: float

    def pose(self, s, x=0.0, y=0.0, yaw=0.0, **angles):
        """`T_world_object` of something at (s, x) that looks along the street, turned by `yaw`."""
        k, turn = self.curvature, self.curvature * s
        return place(
            (1 - np.cos(turn)) / k + x * np.cos(turn), y, np.sin(turn) / k - x * np.sin(turn), yaw=turn + yaw, **angles
        )

    def coordinates(self, x, z):
        """(s, lateral offset) of ground points of the world."""
        k = np.float32(self.curvature)
        return np.arctan2(k * z, 1 - k * x) / k, (1 - np.hypot(k * z, 1 - k * x)) / k


def street(
    rng,
    frames: int,
    height: int,
    width: int,
    lead: bool | None = None,
    oncoming: int | None = None,
    walkers: int | None = None,
    motion: str = "drive",
    poles: bool = False,
) -> Shot:
    """Builds one street; the defaults draw the dynamic objects at random, `motion` is drive, static or rotate.

    `lead`: a car ahead at about the camera's own speed; `oncoming`, `walkers`: how many; `poles`: thin posts along both
    kerbs.
    """
    bend = Bend(rng.choice([-1, 1]) * rng.uniform(1 / 2000, 1 / 160))
    focal = width * rng.uniform(0.55, 0.66)
    K = np.array(
        [
            [focal, 0, (width - 1) / 2 + width * rng.uniform(-0.01, 0.01)],
            [0, focal, (height - 1) / 2 + height * rng.uniform(-0.04, 0.04)],
            [0, 0, 1],
        ]
    )
    camera, station = _drive(rng, bend, motion)
    if lead is None:
        lead = motion == "drive" and rng.random() < 0.75  # beside a parked camera it would not move
    parking, pavement = rng.choice([0.0, 2.2, 2.2]), rng.uniform(2.2, 4.0)
    kerb = LANE + parking + 0.3
    end = station(frames) + MARGIN
    items, count = _static(rng, bend, kerb, parking, pavement, end, poles)
    items += _movers(rng, bend, station, camera, kerb, frames, count, lead, oncoming, walkers)
    ground = Primitive(
        "box",
        (400, 0.5, 400),
        place(y=0.5),
        Material(paint=_road(rng, bend, kerb, pavement), noise=0.25, noise_scale=1.3),
    )
    lights, ambient, sky = _weather(rng)
    items = [ground, *items]
    return Shot(Scene.of(items, lights, ambient, sky), K, camera)


def _drive(rng, bend, motion):
    """The camera's pose and its station s on the street as functions of time in frames."""
    speed, wave, phase = rng.uniform(0.35, 0.95), rng.uniform(0.0, 0.25), rng.uniform(0, 2 * np.pi, 8)
    if motion != "drive":
        speed = 0.0
    tall, lane, pitch = rng.uniform(1.45, 1.75), LANE / 2 + rng.uniform(-0.2, 0.2), rng.uniform(-0.025, 0.0)
    shake = rng.uniform(0.5, 1.5, 4) * (0.0 if motion == "static" else 1.0)
    sway = rng.uniform(0.35, 0.6) if motion == "rotate" else 0.0

    def station(t):
        return speed * (t + wave * 10 * (np.sin(0.1 * t + phase[0]) - np.sin(phase[0])))

    def camera(t):
        level = shake * (
            np.sin(np.array([0.9, 1.3, 0.7, 0.35]) * t + phase[1:5])
            + 0.5 * np.sin(np.array([2.1, 2.9, 1.7, 0.8]) * t + phase[4:8])
        )
        return bend.pose(
            station(t),
            lane + (0.08 * level[3] if speed else 0),
            -tall + (0.008 * level[2] if speed else 0),
            yaw=0.005 * level[3] + sway * np.sin(0.13 * t),
            pitch=pitch + 0.003 * level[0],
            roll=0.003 * level[1],
        )

    return camera, station


def _road(rng, bend, kerb, pavement):
    """Paint of the ground: asphalt with markings, kerb, paved pavements, grass beyond; zebra crossings now and then."""
    asphalt = rng.uniform(0.26, 0.42) * np.array([1, 1, 1.03])
    slab, grass = (
        np.array(objects.pick(rng, [(0.6, 0.58, 0.55), (0.52, 0.50, 0.50), (0.62, 0.55, 0.48)])),
        np.array([0.32, 0.38, 0.2]),
    )
    line, dash = np.array([0.88, 0.88, 0.84]), rng.choice([0.4, 0.5, 1.0])
    zebra, size = rng.uniform(12, 60), rng.uniform(0.5, 1.0)

    def between(x, width, low, high):
        width = width + 1e-3
        return np.clip((x - low) / width + 0.5, 0, 1) - np.clip((x - high) / width + 0.5, 0, 1)

    def paint(u, v, du, dv):
        s, x = bend.coordinates(u, v)

        def lay(color, cover, over):
            return color + cover * (np.asarray(over, np.float32)[:, None] - color)

        joints = texture.pulse(x / size, du / size, 0.06) + texture.pulse(s / size, dv / size, 0.06)
        index = texture.tints(texture.cell_random(np.rint(x / size), np.rint(s / size), np.int32(3)))[0] * np.clip(
            1.5 - dv / size, 0, 1
        )
        paving = np.asarray(slab, np.float32)[:, None] * (1 - 0.3 * np.minimum(joints, 1) + 0.12 * index)
        tracks = 0.04 * np.cos(x * (4 * np.pi / LANE)) * between(x, du, -LANE, LANE)
        patch = 0.10 * texture.fractal_noise(s / 7, x / 2.5, dv / 7, 2)
        color = np.asarray(asphalt, np.float32)[:, None] * (1 + tracks + patch)
        on_zebra = between(s, dv, zebra, zebra + 3.5)
        color = lay(color, (1 - on_zebra) * between(x, du, -0.08, 0.08) * texture.pulse(s / 8, dv / 8, dash), line)
        for side in (-1, 1):
            color = lay(color, (1 - on_zebra) * between(side * x, du, LANE + 0.05, LANE + 0.19), line)
        color = lay(color, on_zebra * between(x, du, -LANE, LANE) * texture.pulse(x / 1.1, du / 1.1, 0.5), line)
        walk = between(np.abs(x), du, kerb, kerb + pavement)
        color = color + walk * (paving - color)
        color = lay(color, between(np.abs(x), du, kerb, kerb + 0.22), 0.8 * slab + 0.15)
        return lay(color, np.clip(np.abs(x) - kerb - pavement, 0, 1), grass)

    return paint


def _static(rng, bend, kerb, parking, pavement, end, poles):
    """All static objects along both sides, and the number of instances used."""
    items, count = [], 0

    def add(things, s, x, yaw=0.0):
        nonlocal count
        count += 1
        items.extend(at(bend.pose(s, x, yaw=yaw), things, instance=count))

    town, shade = rng.uniform(0.55, 1.0), rng.uniform(0.2, 0.8)
    for side in (-1, 1):
        front, s = kerb + pavement, -12.0
        while s < end:
            length = rng.uniform(7, 15)
            set_back, turn = rng.choice([0, 0, rng.uniform(0, 3)]), side * np.pi / 2
            if rng.random() < town:
                add(objects.building(rng, length), s + length / 2, side * (front + set_back), turn)
            else:
                add(objects.hedge(rng, length), s + length / 2, side * front, turn)
                for _ in range(2):
                    add(objects.tree(rng), s + rng.uniform(0, length), side * (front + rng.uniform(2.5, 7)))
            s += length + rng.choice([0, 0, rng.uniform(1, 4)])
        s = -8 + rng.uniform(0, 6)
        while s < end - 20:
            kind = rng.choice(["tree", "lamp", "sign", "none"], p=[0.5 * shade, 0.3, 0.2, 0.5 * (1 - shade)])
            if kind == "tree":
                add(objects.tree(rng), s, side * (kerb + 0.9))
            elif kind == "lamp":
                add(objects.street_lamp(rng), s, side * (kerb + 0.5), np.pi if side > 0 else 0)
            elif kind == "sign":
                add(objects.sign(rng), s, side * (kerb + 0.5), 0 if side > 0 else np.pi)
            s += rng.uniform(4, 11)
        s = -8 + rng.uniform(0, 5)
        while parking and s < end - 25:
            if rng.random() < 0.6:
                add(objects.car(rng), s, side * (LANE + parking / 2 + 0.3), 0 if side > 0 else np.pi)
            s += rng.uniform(5.2, 7)
        for s in np.arange(2.0, end - 25, 4) if poles else ():
            add(objects.post(rng), s, side * (kerb - parking + 0.1))
    for x in np.arange(-48, 48, 12):  # what closes the view
        add(objects.building(rng, 12), end + rng.uniform(0, 6), x)
    return items, count


def _movers(rng, bend, station, camera, kerb, frames, count, lead, oncoming, walkers):
    """A car ahead, oncoming cars, walkers that cross and walkers on the pavements.

    None ever touches another or the camera.
    """
    times = np.arange(-2, frames + 3)
    paths = [np.array([camera(t)[[0, 2], 3] for t in times])]
    items = []

    def add(things, pose, clearance):
        nonlocal count
        path = np.array([pose(t)[[0, 2], 3] for t in times])
        if any((np.linalg.norm(path - other, axis=1) < clearance).any() for other in paths):
            return False
        count += 1
        paths.append(path)
        items.extend(at(pose, things, instance=count, mover=True))
        return True

    if lead:
        gap, drift, phase = rng.uniform(7.5, 14), rng.uniform(0, 1.2), rng.uniform(0, 6)
        add(objects.car(rng), lambda t: bend.pose(station(t) + gap + drift * np.sin(0.07 * t + phase), LANE / 2), 4.0)
    ahead = rng.uniform(15, 40)
    for _ in range(rng.integers(2, 6) if oncoming is None else oncoming):
        speed, start = rng.uniform(0.5, 0.9), ahead
        add(
            objects.car(rng),
            lambda t, speed=speed, start=start: bend.pose(start - speed * t, -LANE / 2, yaw=np.pi),
            2.6,
        )
        ahead += rng.uniform(14, 40)
    wanted = rng.integers(3, 8) if walkers is None else walkers
    for attempt in range(8 * wanted):
        if wanted == 0:
            break
        pace, when, side = rng.uniform(1.0, 2.2), rng.uniform(0, frames), rng.choice([-1, 1])
        where, step = station(when) + rng.uniform(5, 20), pace / objects.FPS
        if attempt % 3:  # crosses; at time `when` it is at `lateral`
            lateral = rng.uniform(-3.5, 4.5)

            def pose(t, w=where, x=lateral, v=side * step, t0=when):
                return bend.pose(w, x + v * (t - t0), yaw=np.copysign(np.pi / 2, v))
        else:
            lateral = side * (kerb + rng.uniform(1.2, 2.0))
            way = rng.choice([-1, 1])

            def pose(t, w=where, x=lateral, v=way * step, t0=when):
                return bend.pose(w + v * (t - t0), x, yaw=0 if v > 0 else np.pi)

        wanted -= add(objects.walker(rng, pace), pose, 1.7)
    return items


def _weather(rng):
    """Lights, ambient light and sky: sunny, overcast or a low warm sun, with some haze."""
    kind = rng.choice(["sunny", "overcast", "evening"], p=[0.5, 0.3, 0.2])
    azimuth, elevation = (
        rng.uniform(0, 2 * np.pi),
        {"sunny": rng.uniform(0.6, 1.2), "overcast": 1.2, "evening": rng.uniform(0.2, 0.45)}[kind],
    )
    towards = (np.cos(elevation) * np.sin(azimuth), -np.sin(elevation), np.cos(elevation) * np.cos(azimuth))
    bright = rng.uniform(0.85, 1.1)
    sun, above, below, zenith, horizon, clouds = {
        "sunny": (
            (0.72, 0.69, 0.60),
            (0.52, 0.56, 0.64),
            (0.36, 0.35, 0.34),
            (0.25, 0.48, 0.85),
            (0.78, 0.86, 0.94),
            rng.uniform(0.2, 0.6),
        ),
        "overcast": (
            (0.15, 0.15, 0.15),
            (0.85, 0.87, 0.9),
            (0.5, 0.5, 0.5),
            (0.68, 0.72, 0.76),
            (0.85, 0.87, 0.88),
            0.7,
        ),
        "evening": (
            (0.75, 0.52, 0.32),
            (0.42, 0.44, 0.55),
            (0.34, 0.30, 0.28),
            (0.35, 0.45, 0.7),
            (0.95, 0.78, 0.58),
            rng.uniform(0.2, 0.6),
        ),
    }[kind]

    def scaled(c):
        return tuple(bright * v for v in c)

    return (
        [Light(towards, scaled(sun))],
        (scaled(above), scaled(below)),
        Sky(zenith, horizon, clouds, rng.uniform(120, 500)),
    )
