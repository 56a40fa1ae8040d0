"""Close, tilted and crowded indoor views for the mixture, as a head-worn or hand-held camera records them.

The depth range of such pictures is small. A network trained on level views across rooms alone exaggerates it.
"""

import numpy as np

from ssmde_lib.synthetic.mixture import FAMILIES, Mixture, furnish_room, light_room
from ssmde_lib.synthetic.mixture_objects import INDOOR, Paint, Rng, log_uniform, solid
from ssmde_lib.synthetic.scene import Primitive, Scene, place
from ssmde_lib.synthetic.scene_builder import SceneBuilder, moved


def close_up(rng: Rng, paint: Paint, field_of_view: float) -> tuple[Scene, np.ndarray]:
    """A small crowded room, camera mostly pointing down; in two views of three a loaded desk stands before it."""
    half_x, half_z, high = log_uniform(rng, 1.2, 3.5), log_uniform(rng, 1.2, 3.5), rng.uniform(2.2, 3.2)
    x, z = rng.uniform(-0.85, 0.85, 2) * (half_x - 0.3, half_z - 0.3)
    yaw = np.arctan2(-x, -z) + rng.normal(0, 0.9)  # into the room more often than at the nearest wall
    camera = place(x, -rng.uniform(0.9, 1.9), z, yaw, rng.normal(-0.4, 0.25), rng.normal(0, 0.1))
    builder = SceneBuilder(rng, paint, camera, clearance=0.4)
    furnish_room(builder, half_x, half_z, high)
    if rng.random() < 2 / 3:
        desk(builder, -camera[1, 3])
    builder.scatter(int(rng.integers(5, 25)), 0.8, 4.0, field_of_view / 2, INDOOR, (half_x, half_z))
    return light_room(builder, half_x, half_z, high), camera


def desk(builder: SceneBuilder, eye: float) -> None:
    """A board on legs before a camera at height `eye` (metres), loaded with 5 to 30 solids, the thin ones upright."""
    rng, paint = builder.rng, builder.paint
    wide, deep = log_uniform(rng, 0.8, 2.4), log_uniform(rng, 0.5, 1.2)
    top = min(rng.uniform(0.4, 1.0), eye - 0.3)
    ahead = deep / 2 + rng.uniform(-0.1, 0.9)
    x, z = builder.camera + ahead * np.array([np.sin(builder.heading), np.cos(builder.heading)])
    parts, thick = [], rng.uniform(0.01, 0.05)
    parts.append(Primitive("box", (wide / 2, thick, deep / 2), place(y=thick - top), paint(wide)))
    leg = paint(top)
    for side in (-1, 1):
        for depth in (-1, 1):
            parts.append(
                Primitive(
                    "box",
                    (0.03, top / 2, 0.03),
                    place(side * (wide / 2 - 0.05), -top / 2, depth * (deep / 2 - 0.05)),
                    leg,
                )
            )
    for _ in range(rng.integers(5, 30)):
        half = np.minimum(np.exp(rng.normal(-2.7, 0.6, 3)), 0.3)
        if rng.random() < 0.25:
            half[2] = rng.uniform(0.004, 0.03)
        across, along = rng.uniform(-0.95, 0.95) * wide / 2, rng.uniform(-0.95, 0.95) * deep / 2
        if np.hypot(across, along + ahead) > 0.35 + half[[0, 2]].max():  # else it may swallow the camera
            parts.append(solid(rng, paint, tuple(half), place(across, -top - half[1], along, rng.uniform(-3, 3))))
    builder.primitives += moved(parts, place(x, 0, z, builder.heading + rng.normal(0, 0.3)))


CLOSE = Mixture((*FAMILIES, close_up), wide=(0.24, 0.46, 0.2, 0.02, 0.08), narrow=(0.08, 0.16, 0.36, 0.02, 0.38))
