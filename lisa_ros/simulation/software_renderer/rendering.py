# SPDX-License-Identifier: Apache-2.0
"""Images of placed objects with table, floor, walls, lamps and the shadow of the strongest lamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.arrangement import Light
from lisa_ros.simulation.randomization.surroundings import Surroundings
from lisa_ros.simulation.randomization.textures import SIZE, Texture
from lisa_ros.simulation.rendering import LAMP_M, LAMP_PIXELS, SHADOW_MARGIN_M, lamp_camera
from lisa_ros.simulation.scene import Camera
from lisa_ros.simulation.software_renderer.rasterizer import Fragments, rasterize
from lisa_ros.simulation.software_renderer.scene_geometry import GeometryCache, Placed, Triangles

Floats = NDArray[np.float64]
TABLE, FLOOR, WALL = -1, -2, -3
"""Surfaces that are no object, as `number` of a pixel."""
SHINE = 24.0
"""Exponent of highlights (Blinn, 1977)."""


@dataclass(frozen=True)
class _Surfaces:
    """What each pixel shows, (H, W, ...): position and normal in the table frame, colour, object's number, depth."""

    points: Floats
    normals: Floats
    colours: Floats
    numbers: NDArray[np.int64]
    depth_m: Floats


class SoftwareRenderer:
    """Renders randomized tables."""

    def __init__(self) -> None:
        """Nothing is cached yet."""
        self._geometry = GeometryCache()

    def render(
        self,
        placed: Sequence[Placed],
        surroundings: Surroundings,
        lights: Sequence[Light],
        camera: Camera,
        oversampling: int = 2,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        """An image with its truth.

        Args:
            placed: the objects, one or more.
            surroundings: table, floor and walls.
            lights: one or more; the first casts shadows.
            camera: with level or rolled rows, without distortion.
            oversampling: samples per pixel and side; their mean is the pixel's colour.

        Returns:
            RGB (H, W, 3), depth in metres along the optical axis (H, W), and the object's number (H, W; below 0: none).
        """
        fine = _oversampled(camera, oversampling)
        triangles = self._geometry.triangles(placed)
        seen = _surfaces(triangles, surroundings, fine)
        lit = _lit(triangles, seen, lights[0])
        rgb = _shaded(seen, lit, lights, fine.pose[:3, 3])
        size = (camera.width, camera.height)
        image = cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        every = slice(oversampling // 2, None, oversampling)
        return (
            np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8),
            seen.depth_m[every, every].astype(np.float32),
            seen.numbers[every, every].astype(np.int32),
        )


def _oversampled(camera: Camera, times: int) -> Camera:
    k = camera.k * times
    k[:2, 2] = camera.k[:2, 2] * times + (times - 1) / 2.0
    k[2, 2] = 1.0
    return Camera(camera.width * times, camera.height * times, k, camera.pose)


def _seen_by(camera: Camera, triangles: Triangles) -> Fragments:
    into = np.linalg.inv(camera.pose)
    corners = triangles.corners @ into[:3, :3].T + into[:3, 3]
    return rasterize(corners, camera.k, camera.width, camera.height)


def _surfaces(triangles: Triangles, around: Surroundings, camera: Camera) -> _Surfaces:
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays = np.stack(
        [(u - camera.k[0, 2]) / camera.k[0, 0], (v - camera.k[1, 2]) / camera.k[1, 1], np.ones(u.shape)], -1
    )
    rays = rays @ camera.pose[:3, :3].T
    seen = _background(rays, camera.pose[:3, 3], around)
    fragments = _seen_by(camera, triangles)
    nearer = (fragments.face >= 0) & (fragments.depth_m < seen.depth_m)
    face, weights = fragments.face[nearer], fragments.weights[nearer][:, :, None]
    part = triangles.part[face]
    seen.depth_m[nearer] = fragments.depth_m[nearer]
    seen.numbers[nearer] = triangles.numbers[part]
    seen.points[nearer] = (triangles.corners[face] * weights).sum(axis=1)
    seen.normals[nearer] = _unit((triangles.normals[face] * weights).sum(axis=1))
    local = (triangles.local[face] * weights).sum(axis=1)
    seen.colours[nearer] = _painted(triangles, part, local)
    return seen


def _painted(triangles: Triangles, part: NDArray[np.int64], local: Floats) -> Floats:
    """Colours of points of objects, marks included."""
    colours = triangles.colours[part]
    for number, marks in enumerate(triangles.marks):
        if marks is not None:
            own = part == number
            wave = np.sin(local[own] @ np.asarray(marks.direction) + marks.phase)
            colours[own] = np.where((wave > marks.limit)[:, None], np.asarray(marks.shade), colours[own])
    return colours


def _background(rays: Floats, eye: Floats, around: Surroundings) -> _Surfaces:
    """Table, floor and walls by intersection of each ray with their planes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        table_m = -eye[2] / rays[..., 2]
        floor_m = (around.floor_z_m - eye[2]) / rays[..., 2]
        walls = np.maximum(around.walls_m, np.abs(eye[:2]) + 0.5)
        sides_m = (np.copysign(walls, rays[..., :2]) - eye[:2]) / rays[..., :2]
    side = np.argmin(np.where(np.isnan(sides_m), np.inf, sides_m), axis=-1)
    wall_m = np.take_along_axis(sides_m, side[..., None], axis=-1)[..., 0]
    on_floor = (floor_m > 0) & (floor_m < wall_m)
    depth = np.where(on_floor, floor_m, wall_m)
    on_table = (table_m > 0) & _within(eye + rays * table_m[..., None], around)
    depth = np.where(on_table, table_m, depth)
    points = eye + rays * depth[..., None]
    numbers = np.where(on_table, TABLE, np.where(on_floor, FLOOR, WALL))
    normals = np.zeros_like(points)
    normals[..., 2] = 1.0
    facing = -np.sign(rays[..., :2]) * np.eye(2)[side]
    normals[numbers == WALL] = np.concatenate([facing, np.zeros((*side.shape, 1))], axis=-1)[numbers == WALL]
    return _Surfaces(points, normals, _textured(points, numbers, side, around), numbers.astype(np.int64), depth)


def _within(points: Floats, around: Surroundings) -> NDArray[np.bool_]:
    cos, sin = np.cos(around.turn), np.sin(around.turn)
    with np.errstate(invalid="ignore"):
        x = (points[..., 0] * cos + points[..., 1] * sin) / around.table_half_m[0]
        y = (points[..., 1] * cos - points[..., 0] * sin) / around.table_half_m[1]
        return np.asarray(x * x + y * y < 1.0 if around.is_round else np.maximum(np.abs(x), np.abs(y)) < 1.0)


def _textured(points: Floats, numbers: NDArray[np.int64], side: NDArray[np.int64], around: Surroundings) -> Floats:
    level = points[..., :2]
    upright = np.stack([np.where(side == 0, points[..., 1], points[..., 0]), points[..., 2]], axis=-1)
    colours = np.zeros_like(points)
    layers = ((TABLE, around.table, level), (FLOOR, around.floor, level), (WALL, around.wall, upright))
    for (number, texture, places), metres in zip(layers, around.metres, strict=True):
        here = numbers == number
        if here.any():
            colours[here] = _sampled(texture, places / metres)[here]
    return colours


def _sampled(texture: Texture, places: Floats) -> Floats:
    """Bilinear samples of a repeated texture at (H, W, 2) positions, 1 being its side."""
    with np.errstate(invalid="ignore"):
        pixels = np.nan_to_num(np.mod(places, 1.0)).astype(np.float32) * SIZE - 0.5
    u, v = np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    return np.asarray(cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), dtype=np.float64)


def _lit(triangles: Triangles, seen: _Surfaces, light: Light) -> Floats:
    """Share of the strongest lamp's light that reaches each pixel, `light.shade` to 1, (H, W)."""
    if light.shade >= 1.0:
        return np.ones(seen.depth_m.shape)
    lamp = lamp_camera(light)
    nearest = _seen_by(lamp, triangles).depth_m
    into = np.linalg.inv(lamp.pose)
    points = seen.points @ into[:3, :3].T + into[:3, 3]
    ahead = np.maximum(points[..., 2], 0.1)
    column, row = (np.rint(lamp.k[0, 0] * points[..., i] / ahead + lamp.k[0, 2]).astype(np.int64) for i in (0, 1))
    inside = (column >= 0) & (column < LAMP_PIXELS) & (row >= 0) & (row < LAMP_PIXELS)
    before = nearest[row.clip(0, LAMP_PIXELS - 1), column.clip(0, LAMP_PIXELS - 1)] + 2 * SHADOW_MARGIN_M
    dark = inside & (points[..., 2] > before) & (points[..., 2] < 2 * LAMP_M)
    soft = 2 * max(1, dark.shape[1] // 160) + 1
    return np.asarray(cv2.blur(np.where(dark, light.shade, 1.0), (soft, soft)))


def _shaded(seen: _Surfaces, lit: Floats, lights: Sequence[Light], eye: Floats) -> Floats:
    """Lambert's diffuse and Blinn's specular light of all lamps, (H, W, 3)."""
    view = _unit(eye - seen.points)
    facing = np.where((seen.normals * view).sum(-1) < 0, -1.0, 1.0)[..., None]
    normals = seen.normals * facing
    object_here = (seen.numbers >= 0).astype(np.float64)
    diffuse = lights[0].ambient * (0.8 + 0.2 * normals[..., 2:]) * np.ones(3)
    specular = np.zeros_like(diffuse)
    for number, light in enumerate(lights):
        direction, colour = np.asarray(light.direction), np.asarray(light.colour)
        reached = (lit if number == 0 else np.ones_like(lit))[..., None]
        strength = np.maximum(normals @ direction, 0.0)[..., None]
        diffuse = diffuse + light.diffuse * strength * colour * reached
        half = np.maximum((normals * _unit(view + direction)).sum(-1), 0.0) ** SHINE
        specular = specular + light.specular * (half * object_here)[..., None] * colour * reached
    return np.asarray(seen.colours * diffuse + specular)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
