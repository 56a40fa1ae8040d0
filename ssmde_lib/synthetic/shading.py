"""Colour and normal of what each node of the picture's grid shows: patterns, lights, contact shadows, haze, sky.

All nodes are shaded together by gathering the primitives' tables.
"""

import numpy as np

from . import texture
from .scene import SHAPES
from .visibility import linear, rectangles, to_unit

_BAND = 1 << 15  # grid nodes shaded at once: the working set stays in the cache


def contact_shade(scene, T_cam_world, time, depth, x, y):
    """Factor in [0, 1] on the light of each node, from the scene's contact shadows."""
    shade = np.ones_like(depth)
    if not scene.shadows:
        return shade
    A, b = to_unit(T_cam_world @ scene.poses(time, "shadows"), [s.size for s in scene.shadows])
    bounds, _ = rectangles(A, b, x, y)
    for i in np.flatnonzero((bounds[:, 0] < bounds[:, 1]) & (bounds[:, 2] < bounds[:, 3])):
        top, bottom, left, right = bounds[i]
        area, z = np.s_[top:bottom, left:right], depth[top:bottom, left:right]
        r2 = sum((float(b[i, k]) + z * linear(A[i, k], x[left:right], y[top:bottom, None])) ** 2 for k in range(3))
        shade[area] *= 1 - scene.shadows[i].strength * np.clip(1.2 - 1.2 * r2, 0, 1)  # sky: r2 is infinite or nan
    return shade


def shade_nodes(scene, A, b, T_world_cam, T_world_object, depth, ids, shade, x, y, pixel):
    """Colour (rows columns 3, unclipped) and world normal of every node, band by band."""
    R = T_world_object[:, :3, :3]
    moving = {"A": A.reshape(-1, 9).T, "b": b.T, "R": R.reshape(-1, 9).T}
    for n, light in enumerate(scene.lights):
        towards = np.asarray(light.vector) - T_world_object[:, :3, 3] if light.lamp else np.asarray(light.vector)[None]
        moving[f"light{n}"] = np.einsum(
            "nji,nj->in", R, np.broadcast_to(towards, (len(R), 3))
        )  # in the objects' frames
    moving = {k: np.ascontiguousarray(v, np.float32) for k, v in moving.items()}
    colour, normal = np.zeros((*depth.shape, 3), np.float32), np.zeros((*depth.shape, 3), np.float32)
    R_world_cam, rows = T_world_cam[:3, :3].astype(np.float32), max(1, _BAND // len(x))
    for top in range(0, len(y), rows):
        band = np.s_[top : top + rows]
        grid_x, grid_y = (g.ravel() for g in np.broadcast_arrays(x[None], y[band, None]))
        flat, z = ids[band].ravel(), depth[band].ravel()
        out, out_normal = np.empty((3, len(flat)), np.float32), np.zeros((3, len(flat)), np.float32)
        sky = np.flatnonzero(flat < 0)
        out[:, sky] = _sky(
            scene.sky,
            [R_world_cam[k, 0] * grid_x[sky] + R_world_cam[k, 1] * grid_y[sky] + R_world_cam[k, 2] for k in range(3)],
        )
        for code in range(len(SHAPES)):
            node = np.flatnonzero((flat >= 0) & (scene.table["shape"][flat] == code))
            if len(node):
                rgb, n_world = _surface(
                    scene,
                    moving,
                    SHAPES[code],
                    flat[node],
                    grid_x[node],
                    grid_y[node],
                    z[node],
                    shade[band].ravel()[node],
                    pixel,
                )
                out[:, node], out_normal[:, node] = rgb, n_world
        if np.isfinite(scene.sky.haze):
            distance = z * np.sqrt(grid_x**2 + grid_y**2 + 1)
            clear = np.where(flat >= 0, np.exp(distance / -scene.sky.haze), 1)
            out = np.asarray(scene.sky.horizon, np.float32)[:, None] * (1 - clear) + out * clear
        colour[band], normal[band] = (a.T.reshape(-1, len(x), 3) for a in (out, out_normal))
    return colour, normal


def _surface(scene, moving, shape, i, x, y, z, shade, pixel):
    """Colour (3 n) and world normal (3 n) of nodes on primitives `i` of one shape, at depth z along rays (x, y, 1)."""
    table = scene.table
    A, size = moving["A"][:, i], table["size"][:, i]
    ray = [A[3 * k] * x + A[3 * k + 1] * y + A[3 * k + 2] for k in range(3)]  # unit frame
    q = [b + z * d for b, d in zip(moving["b"][:, i], ray, strict=False)]
    ray = [d * s for d, s in zip(ray, size, strict=False)]  # metres, object axes
    point = [a * s for a, s in zip(q, size, strict=False)]
    n, face = _unit_normal(shape, q, table["taper_mean"][:, i], table["taper_slope"][:, i])
    n = [a / s for a, s in zip(n, size, strict=False)]
    length = 1 / np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2)
    n = [a * length for a in n]

    (u, v), (du, dv), (extent_u, extent_v) = _surface_coordinates(shape, q, point, ray, size, face)
    facing = np.minimum(n[0] * ray[0] + n[1] * ray[1] + n[2] * ray[2], -1e-3)
    stretch = 1 / (facing * facing)  # a pixel's disc on the tilted surface, along u and v
    width = z * pixel
    width_u, width_v = width * np.sqrt(1 + du * du * stretch), width * np.sqrt(1 + dv * dv * stretch)
    albedo = _albedo(scene, i, u, v, width_u, width_v, extent_u, extent_v, face)

    R = moving["R"][:, i]
    n_world = np.stack([R[3 * k] * n[0] + R[3 * k + 1] * n[1] + R[3 * k + 2] * n[2] for k in range(3)])
    sky, ground = (np.asarray(c, np.float32)[:, None] for c in scene.ambient)
    light = ground + (0.5 - 0.5 * n_world[1]) * (sky - ground)  # y points down
    for number, lamp in enumerate(scene.lights):
        L = moving[f"light{number}"][:, i]
        strength = 1.0
        if lamp.lamp:
            L = L - np.stack(point)
            distance2 = L[0] ** 2 + L[1] ** 2 + L[2] ** 2
            strength = 1 / (np.sqrt(distance2) * (1 + distance2 / lamp.reach**2))
        lambert = np.maximum(n[0] * L[0] + n[1] * L[1] + n[2] * L[2], 0) * strength
        light = light + lambert * np.asarray(lamp.color, np.float32)[:, None]
    return albedo * np.maximum(light * shade, table["emission"][i]), n_world


def _unit_normal(shape, q, mean, slope):
    """Outward normal (up to length) in the unit frame, and the face: the axis it crosses (0, 1, 2), or 1 for caps."""
    if shape == "ellipsoid":
        return q, np.zeros(len(q[0]), np.int8)
    one = np.float32(1)
    if shape == "cylinder":
        radius = np.sqrt(q[0] ** 2 + q[2] ** 2)
        edge = mean[0] + slope[0] * q[1]
        cap = np.abs(q[1]) - 1 > radius - edge
        return [
            np.where(cap, 0, q[0]),
            np.where(cap, np.copysign(one, q[1]), -slope[0] * edge),
            np.where(cap, 0, q[2]),
        ], cap.astype(np.int8)
    outside = [np.abs(q[0]) - mean[0] - slope[0] * q[1], np.abs(q[1]) - 1, np.abs(q[2]) - mean[1] - slope[1] * q[1]]
    on_x = (outside[0] >= outside[1]) & (outside[0] >= outside[2])
    on_z = ~on_x & (outside[2] >= outside[1])
    on_y = ~(on_x | on_z)
    normal = [
        np.where(on_x, np.copysign(one, q[0]), 0),
        np.where(on_y, np.copysign(one, q[1]), np.where(on_x, -slope[0], -slope[1])),
        np.where(on_z, np.copysign(one, q[2]), 0),
    ]
    return normal, on_y.astype(np.int8) + 2 * on_z.astype(np.int8)


def _surface_coordinates(shape, q, point, ray, size, face):
    """Metres (u, v) along the surface from its centre, the ray's components along them, and the surface's extents."""
    if shape == "box":
        u, du, eu = (np.where(face == 0, a[2], a[0]) for a in (point, ray, size))
        v, dv, ev = (np.where(face == 1, a[2], a[1]) for a in (point, ray, size))
        return (u, v), (du, dv), (2 * eu, 2 * ev)
    radius = np.maximum(size[0], size[2])
    u = np.arctan2(q[2], q[0]) * radius
    cap = face == 1
    return (
        (np.where(cap, point[0], u), np.where(cap, point[2], point[1])),
        (ray[0] * 0, ray[1]),
        (2 * np.pi * radius, 2 * size[1]),
    )


def _albedo(scene, i, u, v, width_u, width_v, extent_u, extent_v, face):
    """Colour of the materials (3 n) at surface coordinates, filtered by the widths of a pixel."""
    table = scene.table
    cell, gap = table["cell"][:, i], table["gap"][:, i]
    pitch_u = extent_u / np.maximum(np.rint(extent_u / cell[0]), 1)
    pitch_v = extent_v / np.maximum(np.rint(extent_v / cell[1]), 1)
    cu, cv = (u + extent_u / 2) / pitch_u - 0.5, (v + extent_v / 2) / pitch_v - 0.5  # cell centres are integers
    iv = np.rint(cv)
    cu = cu + table["offset"][i] * (iv.astype(np.int32) & 1)
    iu = np.rint(cu)
    inside = texture.pulse(cu, width_u / pitch_u, 1 - gap[0]) * texture.pulse(cv, width_v / pitch_v, 1 - gap[1])
    inside[table["sides_only"][i] & (face == 1)] = 0
    tint = texture.tints(texture.cell_random(iu, iv, i))
    checker = table["checker"][i]
    mix = np.where(checker, (iu + iv).astype(np.int32) & 1, 0.5 + 0.5 * tint[0])
    blur = np.clip(
        1.5 * np.maximum(width_u / pitch_u, width_v / pitch_v) - 0.5, 0, 1
    )  # cells smaller than a pixel: their mean
    mix = mix + blur * (0.5 - mix)
    color, gap_color = table["color"][:, i], table["gap_color"][:, i]
    color = color + mix * (table["color_b"][:, i] - color) + (table["hue"][i] * (1 - blur)) * tint
    color = gap_color + inside * (color - gap_color)
    for k in scene.painted:
        own = np.flatnonzero(i == k)
        if len(own):
            color[:, own] = scene.primitives[k].material.paint(u[own], v[own], width_u[own], width_v[own])
    scale, seed = 1 / table["noise_scale"][i], table["seed"][:, i]
    noise = texture.fractal_noise(u * scale + seed[0], v * scale + seed[1], np.maximum(width_u, width_v) * scale)
    return color * (1 + table["noise"][i] * noise)


def _sky(sky, direction):
    """Colour of the sky (3 n) in world directions: a gradient, and clouds on a high plane."""
    up = np.maximum(-direction[1], 0.02) / np.sqrt(sum(d * d for d in direction))
    zenith, horizon = (np.asarray(c, np.float32)[:, None] for c in (sky.zenith, sky.horizon))
    colour = horizon + np.sqrt(up) * (zenith - horizon)
    if sky.clouds:
        u, v = direction[0] / np.maximum(-direction[1], 0.05), direction[2] / np.maximum(-direction[1], 0.05)
        cloud = np.clip(
            texture.fractal_noise(u * 0.6 + 3, v * 0.6 + 9, 0.02 / up) + sky.clouds - 0.5, 0, 1
        ) * np.minimum(4 * up, 1)
        colour = colour + cloud * (0.95 - colour)
    return colour
