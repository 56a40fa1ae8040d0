"""The catalogue of failure cases of self-supervised depth; each name is an option of `render_clip`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """The world that shows it, the options of its builder and sensor, and what goes wrong."""

    world: str
    options: dict
    lesson: str


_EMPTY_STREET = {"lead": False, "oncoming": 0, "walkers": 0}
FAILURE_CASES = {
    "mover_at_camera_speed": Difficulty(
        "street",
        _EMPTY_STREET | {"lead": True},
        "It never changes in the picture, as if it were infinitely far: a hole.",
    ),
    "crossing_walker": Difficulty(
        "street", _EMPTY_STREET | {"walkers": 4}, "Sideways motion is mistaken for parallax: too near or too far."
    ),
    "thin_pole": Difficulty(
        "street", _EMPTY_STREET | {"poles": True}, "Thinner than the network's grid: smoothed into what is behind."
    ),
    "textureless_wall": Difficulty(
        "room", {"plain": True, "walkers": 0}, "Every depth explains a uniform wall: the photometric error is flat."
    ),
    "static_camera": Difficulty(
        "street", {"motion": "static"}, "Without parallax nothing constrains depth, and only the movers move."
    ),
    "pure_rotation": Difficulty(
        "room", {"motion": "rotate", "walkers": 0}, "The picture moves, but alike for every depth."
    ),
    "exposure_change": Difficulty(
        "street",
        _EMPTY_STREET | {"exposure": 0.8},
        "The same point changes its grey value: the right depth has a large error.",
    ),
}
