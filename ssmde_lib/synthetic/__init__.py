"""The embedded procedural data set: a ray caster, two worlds (`street`, `room`), and the failure cases."""

from .clips import render_clip, write_world
from .engine import Frame, render
from .failure_cases import FAILURE_CASES
from .scene import Light, Material, Primitive, Scene, Shadow, Sky, place

__all__ = [
    "FAILURE_CASES",
    "Frame",
    "Light",
    "Material",
    "Primitive",
    "Scene",
    "Shadow",
    "Sky",
    "place",
    "render",
    "render_clip",
    "write_world",
]
