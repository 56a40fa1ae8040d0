"""What a real camera does to the picture: motion blur, exposure that drifts, noise.

Depth and all else stay those of mid-shutter.
"""

from dataclasses import dataclass, replace

import numpy as np

from .engine import Frame, render
from .scene import Shot

SHUTTER = 0.5  # open for this share of the time between frames


@dataclass(frozen=True)
class Sensor:
    """`noise`: standard deviation in [0, 1] of full scale; `exposure`: swing in stops over 24 frames.

    `motion_blur`: pictures averaged.
    """

    noise: float = 0.0
    exposure: float = 0.0
    motion_blur: int = 1


def render_with_sensor(shot: Shot, sensor: Sensor, height: int, width: int, t: int, seed) -> Frame:
    """Frame `t` of a take as the sensor sees it; `seed` is a sequence of integers for the noise."""
    frame = render(shot.scene, shot.K, shot.camera(t), height, width, t, shot.camera(t + 1))
    if sensor == Sensor():
        return frame
    instants = t + SHUTTER * ((np.arange(sensor.motion_blur) + 0.5) / sensor.motion_blur - 0.5)
    pictures = [
        frame.rgb if s == t else render(shot.scene, shot.K, shot.camera(s), height, width, s).rgb for s in instants
    ]
    picture = np.mean(pictures, axis=0) * 2 ** (sensor.exposure * np.sin(2 * np.pi * t / 24))
    picture += 255 * sensor.noise * np.random.default_rng([*seed, t]).standard_normal(picture.shape)
    return replace(frame, rgb=np.clip(picture + 0.5, 0, 255).astype(np.uint8))
