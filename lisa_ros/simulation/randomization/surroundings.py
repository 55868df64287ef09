# SPDX-License-Identifier: Apache-2.0
"""What stands around the objects of a randomized view: table, floor, walls, lamps and the camera."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lisa_ros.simulation.arrangement import RGB, Light, Vector, pose_towards
from lisa_ros.simulation.randomization.ranges import Interval, Ranges
from lisa_ros.simulation.randomization.textures import Texture, draw_texture
from lisa_ros.simulation.scene import Camera

OBJECT_M = 0.12
"""Length of the object that `Ranges.object_share` is about."""
CAMERA_DISTANCE_M = (0.35, 4.0)


@dataclass(frozen=True)
class Surroundings:
    """Table, floor and walls of one arrangement.

    Attributes:
        table_half_m: half the table's sides along x and y, metres.
        is_round: whether the table is an ellipse.
        turn: of the table about z, radians.
        floor_z_m: height of the floor, below the table top.
        walls_m: distance of the walls from the scene's middle, in x and y.
        table, floor, wall: textures, and how many metres each covers before it repeats.
        metres: of table, floor and wall.
    """

    table_half_m: tuple[float, float]
    is_round: bool
    turn: float
    floor_z_m: float
    walls_m: tuple[float, float]
    table: Texture
    floor: Texture
    wall: Texture
    metres: tuple[float, float, float]


def draw_surroundings(rng: Generator, ranges: Ranges) -> Surroundings:
    """Table, floor and walls."""
    half = (_uniform(rng, ranges.table_half_m), _uniform(rng, ranges.table_half_m))
    return Surroundings(
        table_half_m=half,
        is_round=bool(rng.random() < ranges.round_tables),
        turn=float(rng.uniform(-np.pi, np.pi)),
        floor_z_m=-float(rng.uniform(0.02, 0.9)),
        walls_m=(float(rng.uniform(1.2, 4.0)), float(rng.uniform(1.2, 4.0))),
        table=draw_texture(rng, ranges.textures),
        floor=draw_texture(rng, ranges.textures),
        wall=_with_window(draw_texture(rng, ranges.textures), rng),
        metres=(float(rng.uniform(0.4, 1.5)), float(rng.uniform(0.8, 3.0)), 4.0),
    )


def _with_window(wall: Texture, rng: Generator) -> Texture:
    """The wall, half of the time with a bright rectangle in it."""
    if rng.random() < 0.5:
        top, left = rng.integers(0, 128, 2)
        height, width = rng.integers(30, 120, 2)
        wall[top : top + height, left : left + width] = rng.uniform(0.85, 1.0, 3)
    return wall


def draw_camera(rng: Generator, ranges: Ranges, width: int, height: int) -> Camera:
    """A camera whose distance gives objects the size that the ranges ask for, as far as CAMERA_DISTANCE_M allows."""
    azimuth = np.pi + np.deg2rad(rng.uniform(-ranges.azimuth_deg, ranges.azimuth_deg))
    elevation = np.deg2rad(_uniform(rng, ranges.elevation_deg))
    focal = height / 2.0 / np.tan(np.deg2rad(_uniform(rng, ranges.field_of_view_deg)) / 2.0)
    share = np.exp(_uniform(rng, (np.log(ranges.object_share[0]), np.log(ranges.object_share[1]))))
    distance = np.clip(OBJECT_M * focal / (share * max(width, height)), *CAMERA_DISTANCE_M)
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    target = np.array([*rng.uniform(-ranges.aim_m, ranges.aim_m, 2), 0.02])
    pose = pose_towards(target + distance * away, -away)
    pose[:3, :3] = pose[:3, :3] @ _about_z(np.deg2rad(rng.uniform(-ranges.roll_deg, ranges.roll_deg)))
    k = np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
    return Camera(width, height, k, pose)


def draw_lights(rng: Generator, ranges: Ranges) -> list[Light]:
    """One lamp or more, the strongest first; only that one casts shadows."""
    count = int(rng.integers(ranges.lamps[0], ranges.lamps[1] + 1))
    ambient, brightness = _uniform(rng, ranges.ambient), _uniform(rng, ranges.brightness)
    diffuse = brightness - ambient
    shade = _uniform(rng, ranges.shade) if rng.random() < 0.75 else 1.0
    lights = []
    for number in range(count):
        strength = diffuse if number == 0 else diffuse * rng.uniform(0.15, 0.5)
        lights.append(
            Light(
                direction=_direction(rng),
                colour=_lamp_colour(_uniform(rng, ranges.warmth)),
                ambient=ambient if number == 0 else 0.0,
                diffuse=float(strength),
                specular=float(rng.uniform(0.0, 0.35)),
                shade=shade if number == 0 else 1.0,
            )
        )
    return lights


def jittered(colour: RGB, rng: Generator, jitter: tuple[float, float, float]) -> RGB:
    """An object's colour, slightly changed in hue (degrees), saturation and value (shares)."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    hue += rng.uniform(-jitter[0], jitter[0]) / 360.0
    if saturation > 0.1:
        saturation *= 1.0 - rng.uniform(0.0, jitter[1])
    value = min(1.0, value * (1.0 + rng.uniform(-jitter[2], 0.5 * jitter[2])))
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def _direction(rng: Generator) -> Vector:
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(28.0, 85.0))
    level = np.cos(elevation)
    return float(level * np.cos(azimuth)), float(level * np.sin(azimuth)), float(np.sin(elevation))


def _lamp_colour(warmth: float) -> RGB:
    return 1.0 + min(0.0, warmth), 1.0 - abs(warmth) / 2, 1.0 - max(0.0, warmth)


def _about_z(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])


def _uniform(rng: Generator, interval: Interval) -> float:
    return float(rng.uniform(*interval))
