"""A small ray caster: exact depth, normals, flow and masks of a procedural scene, and anti-aliased colour. Numpy only.

    scene = Scene([Primitive("box", (1, 1, 1), place(z=6), Material(color=(0.8, 0.2, 0.1)), instance=1)])
    frame = render(scene, K, T_world_cam, height=64, width=192, time=0.0, T_world_cam_next=None)

Everything a scene is made of (`Scene, Primitive, Material, Light, Sky, Shadow, place`) stands in `world.scene`:
primitives are boxes, ellipsoids and cylinders (with `taper`: roofs, pyramids, cones), each with a pose that may be a
function of time in frames; the ground and walls are flat boxes. A camera inside a box does not see that box.

Visibility first, shading after: each primitive is intersected only inside the rectangle it projects to, on a grid of
half-pixel steps whose every second node is a pixel centre; then all nodes are shaded together by gathering the
primitives' tables. Colour is the [1 2 1]/4 tent filter of the grid; depth, normals and masks are its pixel centres,
exact.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from .scene import Scene
from .shading import contact_shade, shade_nodes
from .visibility import NEAR, to_unit, visibility


@dataclass
class Frame:
    """One picture and everything true about it; h w is the image size, the camera has OpenCV axes."""

    rgb: UInt8[np.ndarray, "h w 3"]
    depth: Float[np.ndarray, "h w"]  # z in metres, infinite in the sky
    normal: Float[np.ndarray, "h w 3"]  # unit, towards the camera, in its frame; 0 in the sky
    flow: (
        Float[np.ndarray, "h w 2"] | None
    )  # pixels from time to time + 1; infinite where the point passes behind the camera
    instance: Int[np.ndarray, "h w"]  # 0 background
    dynamic_mask: UInt8[np.ndarray, "h w"]  # 0 static, k > 0 the k-th moving instance
    T_world_cam: Float[np.ndarray, "4 4"]
    K: Float[np.ndarray, "3 3"]
    time: float = 0.0


def render(scene: Scene, K, T_world_cam, height: int, width: int, time: float = 0.0, T_world_cam_next=None) -> Frame:
    """What the camera (K 3 3 without skew, `T_world_cam` 4 4) sees of the scene at a time.

    Flow needs the next frame's camera.

    Objects move from `time` to `time + 1` for the flow. Colour is deterministic; no state is kept except the scene's
    tables.
    """
    K, T_world_cam = np.asarray(K, np.float64), np.asarray(T_world_cam, np.float64)
    x = (((np.arange(2 * width + 1) - 1) / 2 - K[0, 2]) / K[0, 0]).astype(np.float32)
    y = (((np.arange(2 * height + 1) - 1) / 2 - K[1, 2]) / K[1, 1]).astype(np.float32)
    T_cam_world = np.linalg.inv(T_world_cam)
    T_world_object = scene.poses(time)
    with np.errstate(all="ignore"):
        A, b = to_unit(T_cam_world @ T_world_object, [p.size for p in scene.primitives])
        depth, ids = visibility(scene, A, b, x, y)
        shade = contact_shade(scene, T_cam_world, time, depth, x, y)
        colour, normal = shade_nodes(scene, A, b, T_world_cam, T_world_object, depth, ids, shade, x, y, 1 / K[0, 0])
        centre = np.s_[1::2, 1::2]
        depth, ids, normal = depth[centre].copy(), ids[centre], normal[centre]
        flow = (
            None
            if T_world_cam_next is None
            else _flow(
                scene,
                K,
                T_world_cam,
                T_world_object,
                np.asarray(T_world_cam_next, np.float64),
                time,
                depth,
                ids,
                x[1::2],
                y[1::2],
            )
        )
    normal = normal @ T_world_cam[:3, :3].astype(np.float32)  # world to camera: R_cam_world n
    seen = ids >= 0
    return Frame(
        _tent(colour),
        depth,
        normal,
        flow,
        np.where(seen, scene.table["instance"][ids], 0),
        np.where(seen, scene.table["mover"][ids], 0).astype(np.uint8),
        T_world_cam,
        K,
        time,
    )


def _flow(scene, K, T_world_cam, T_world_object, T_world_cam_next, time, depth, ids, x, y):
    """Pixels from now to the next frame, of each pixel centre's point carried along by its object.

    The sky only turns.
    """
    T_next_world = np.linalg.inv(T_world_cam_next)
    motion = scene.poses(time + 1) @ np.linalg.inv(T_world_object)  # of the objects, in the world
    motion = np.concatenate([motion, np.eye(4)[None]])  # the last one, -1: the sky
    T = (T_next_world @ motion @ T_world_cam)[:, :3].reshape(-1, 12).T.astype(np.float32)
    T[3::4, -1] = 0
    T, z = T[:, ids], np.where(ids >= 0, depth, 1)
    moved = [(T[4 * k] * x + T[4 * k + 1] * y[:, None] + T[4 * k + 2]) * z + T[4 * k + 3] for k in range(3)]
    flow = np.stack([K[0, 0] * (moved[0] / moved[2] - x), K[1, 1] * (moved[1] / moved[2] - y[:, None])], -1).astype(
        np.float32
    )
    flow[moved[2] < NEAR] = np.inf
    return flow


def _tent(colour) -> UInt8[np.ndarray, "h w 3"]:
    rows = colour[:-2:2] + 2 * colour[1::2] + colour[2::2]
    tent = rows[:, :-2:2] + 2 * rows[:, 1::2] + rows[:, 2::2]
    return (np.clip(tent * (255 / 16), 0, 255) + 0.5).astype(np.uint8)
