"""The embedded procedural data set: a ray caster, two worlds (`street`, `room`), and what breaks self-supervision in them."""
from .clips import render_clip, write_world
from .difficulties import DIFFICULTIES
from .engine import Frame, render
from .scene import Light, Material, Primitive, Scene, Shadow, Sky, place

__all__ = ["DIFFICULTIES", "Frame", "Light", "Material", "Primitive", "Scene", "Shadow", "Sky", "place", "render", "render_clip", "write_world"]
