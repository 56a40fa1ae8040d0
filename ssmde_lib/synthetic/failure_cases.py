"""The catalogue of failure cases of self-supervised depth; each name is an option of `render_clip`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """The world that shows it, the options of its builder and sensor, and the failure."""

    world: str
    options: dict
    lesson: str


_EMPTY_STREET = {"lead": False, "oncoming": 0, "walkers": 0}
FAILURE_CASES = {
    "mover_at_camera_speed": Difficulty(
        "street",
        _EMPTY_STREET | {"lead": True},
        "It does not move in the image, as if it were at infinity: an infinite-depth hole.",
    ),
    "crossing_walker": Difficulty(
        "street", _EMPTY_STREET | {"walkers": 4}, "Lateral motion acts like parallax: depth is too small or too large."
    ),
    "thin_pole": Difficulty(
        "street",
        _EMPTY_STREET | {"poles": True},
        "Thinner than the resolution of the network: merged with the background.",
    ),
    "textureless_wall": Difficulty(
        "room", {"plain": True, "walkers": 0}, "The photometric error of a uniform wall is the same for every depth."
    ),
    "static_camera": Difficulty(
        "street", {"motion": "static"}, "No parallax of the scene constrains depth; only dynamic objects move."
    ),
    "pure_rotation": Difficulty(
        "room", {"motion": "rotate", "walkers": 0}, "The image moves by the same amount for every depth."
    ),
    "exposure_change": Difficulty(
        "street",
        _EMPTY_STREET | {"exposure": 0.8},
        "The same point changes its grey value: the true depth has a large error.",
    ),
}
