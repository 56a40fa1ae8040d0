"""Puts the mixture's random objects into a scene, around a camera that they may not hit."""

from dataclasses import replace

import numpy as np

from ssmde_lib.synthetic.mixture_objects import Paint, Rng, log_uniform, random_object
from ssmde_lib.synthetic.scene import Primitive, Shadow, place


def moved(parts: list[Primitive], T: np.ndarray) -> list[Primitive]:
    """The primitives, moved by T."""
    return [replace(part, pose=T @ part.pose) for part in parts]


def reach(parts: list[Primitive]) -> float:
    """Horizontal radius in metres of things at the origin."""

    def radius(part: Primitive) -> float:
        assert isinstance(part.pose, np.ndarray)  # nothing in the mixture moves
        return float(np.hypot(*part.pose[[0, 2], 3]) + np.hypot(part.size[0], part.size[2]))

    return max(radius(part) for part in parts)


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
