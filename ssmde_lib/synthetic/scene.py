"""What a procedural scene is made of: primitives with materials and poses, light, sky, contact shadows.

The world frame has OpenCV axes (x right, y **down**, z forward), metres. A primitive is a unit shape, |x|, |y|, |z| <=
1, stretched by `size` (half extents) and placed by `pose`, the rigid 4x4 `T_world_object`, constant or a function of
time in frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

SHAPES = ("box", "ellipsoid", "cylinder")
Color = tuple[float, float, float]
Pose = np.ndarray | Callable[[float], np.ndarray]


@dataclass(frozen=True)
class Material:
    """Colour of a surface: a grid of cells with gaps, times band-limited noise.

    Cells make windows, bricks, books, planks and stripes.

    On every face the cells are stretched to a whole number; `cell` = (width, height) in metres, infinite: one cell a
    face. `gap` is the fraction of a cell that shows `gap_color`; odd rows are shifted by `offset` cells. The colour of
    a cell lies between `color` and `color_b`: at random, or alternating with `checker`; `hue` adds a random tint to
    each cell. With `sides_only` the faces across y show `gap_color` alone. `paint(u, v, width_u, width_v) -> 3 n`
    replaces the cells: u, v are metres on the surface from its centre, the widths are the metres that a pixel covers
    (to filter by).
    """

    color: Color = (0.5, 0.5, 0.5)
    color_b: Color | None = None
    gap_color: Color = (0.2, 0.2, 0.2)
    cell: tuple[float, float] = (np.inf, np.inf)
    gap: tuple[float, float] = (0.0, 0.0)
    offset: float = 0.0
    checker: bool = False
    hue: float = 0.0
    sides_only: bool = False
    noise: float = 0.15
    noise_scale: float = 1.0
    emission: float = 0.0
    paint: Callable | None = None


@dataclass(frozen=True)
class Primitive:
    """One solid: `shape` in SHAPES, half extents `size` in metres, pose, material, and whose it is.

    `taper` = (x, z): the size of the top (y = -1) relative to the bottom; box: prism, roof or pyramid; cylinder (axis
    y): cone. `instance` 0 is background; primitives of one object share one number. `mover` marks an object that moves.
    """

    shape: str
    size: tuple[float, float, float]
    pose: Pose
    material: Material = Material()
    instance: int = 0
    mover: bool = False
    taper: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Shadow:
    """An ellipsoid (half axes `size`) in which every surface is darkened, most at its centre: a contact shadow."""

    size: tuple[float, float, float]
    pose: Pose
    strength: float = 0.6


@dataclass(frozen=True)
class Light:
    """The sun (`vector`: unit vector towards it) or, with `lamp`, a bulb at `vector` of reach `reach` metres."""

    vector: Color
    color: Color = (0.7, 0.68, 0.62)
    lamp: bool = False
    reach: float = 3.0


@dataclass(frozen=True)
class Sky:
    """Colours at the zenith and the horizon, clouds in [0, 1], and the distance in metres at which haze hides 63 %."""

    zenith: Color = (0.35, 0.55, 0.9)
    horizon: Color = (0.8, 0.87, 0.95)
    clouds: float = 0.5
    haze: float = np.inf


@dataclass
class Scene:
    """Primitives, shadows, lights, ambient light from above and below, and the sky."""

    primitives: list[Primitive]
    lights: list[Light] = field(default_factory=lambda: [Light((0.4, -0.8, -0.45))])
    ambient: tuple[Color, Color] = ((0.5, 0.52, 0.56), (0.3, 0.29, 0.28))
    shadows: list[Shadow] = field(default_factory=list)
    sky: Sky = Sky()

    @classmethod
    def of(
        cls, items: Sequence[Primitive | Shadow], lights: list[Light], ambient: tuple[Color, Color], sky: Sky
    ) -> "Scene":
        """The scene of these primitives and shadows."""
        primitives = [item for item in items if isinstance(item, Primitive)]
        return cls(primitives, lights, ambient, [item for item in items if isinstance(item, Shadow)], sky)

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """One column per primitive for everything static, so that shading can gather by primitive number."""
        items, materials = self.primitives, [p.material for p in self.primitives]
        rng = np.random.default_rng(len(items))
        taper = np.array([p.taper for p in items])
        dynamic_mask = {k: n + 1 for n, k in enumerate(sorted({p.instance for p in items if p.mover}))}
        columns = {
            "shape": np.array([SHAPES.index(p.shape) for p in items], np.int8),
            "instance": np.array([p.instance for p in items], np.int32),
            "mover": np.array([dynamic_mask[p.instance] if p.mover else 0 for p in items], np.uint8),
            "size": np.array([p.size for p in items]).T,
            "taper_mean": (1 + taper.T) / 2,
            "taper_slope": (1 - taper.T) / 2,
            "color": np.array([m.color for m in materials]).T,
            "color_b": np.array([m.color if m.color_b is None else m.color_b for m in materials]).T,
            "gap_color": np.array([m.gap_color for m in materials]).T,
            "cell": np.array([m.cell for m in materials]).T,
            "gap": np.array([m.gap for m in materials]).T,
            "seed": rng.uniform(0, 256, (2, len(items))),
        }
        for name in ("offset", "hue", "noise", "noise_scale", "emission"):
            columns[name] = np.array([getattr(m, name) for m in materials])
        for name in ("checker", "sides_only"):
            columns[name] = np.array([getattr(m, name) for m in materials], bool)
        return {k: np.ascontiguousarray(v, np.float32 if v.dtype == float else v.dtype) for k, v in columns.items()}

    @cached_property
    def painted(self) -> list[int]:
        """Numbers of the primitives whose material has a `paint` of its own."""
        return [i for i, p in enumerate(self.primitives) if p.material.paint is not None]

    @cached_property
    def _still(self) -> dict[str, tuple[np.ndarray, list[int]]]:
        """The poses that never change, and the numbers of the things that move."""
        return {
            of: (
                np.array([np.eye(4) if callable(p.pose) else p.pose for p in items], np.float64).reshape(-1, 4, 4),
                [i for i, p in enumerate(items) if callable(p.pose)],
            )
            for of, items in (("primitives", self.primitives), ("shadows", self.shadows))
        }

    def poses(self, time: float, of: str = "primitives") -> np.ndarray:
        """`T_world_object` of all primitives (or shadows) at a time in frames: n 4 4, float64."""
        still, moving = self._still[of]
        poses, items = still.copy(), getattr(self, of)
        for i in moving:
            poses[i] = items[i].pose(time)
        return poses


@dataclass(frozen=True)
class Shot:
    """A scene to render: its content, the intrinsics for the size asked for, and the camera's pose at a time."""

    scene: Scene
    K: np.ndarray
    camera: Callable[[float], np.ndarray]


def place(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """Rigid 4x4: roll about z, then pitch about x, then yaw about y, then shift.

    Angles are in radians; yaw turns z towards x.
    """
    cy, sy, cx, sx, cz, sz = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    return np.array(
        [
            [cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx, x],
            [cx * sz, cx * cz, -sx, y],
            [-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx, z],
            [0, 0, 0, 1],
        ]
    )
