# SPDX-License-Identifier: Apache-2.0
"""Random choices: objects with their colours and positions, camera and light. Needs no simulator."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lisa_ros.simulation.scene import COLOURS, KINDS, Camera

RGB = tuple[float, float, float]
Vector = tuple[float, float, float]

MOST_OBJECTS = 8
FEWEST_OBJECTS = 3
MOST_OF_A_KIND = 3
HALF_AREA_M = (0.20, 0.27)
"""Half the length (x) and half the width (y) of the part of the table where objects are put."""

TABLE_TINTS: tuple[RGB, ...] = (
    (0.62, 0.5, 0.38),
    (0.5, 0.4, 0.31),
    (0.74, 0.65, 0.53),
    (0.6, 0.6, 0.6),
    (0.45, 0.46, 0.48),
    (0.55, 0.6, 0.66),
    (0.62, 0.64, 0.58),
    (0.68, 0.6, 0.6),
)
"""Wood, stone and cloth: dull and neither very light nor very dark, so that no object's colour is taken for them."""


@dataclass(frozen=True)
class Placement:
    """Where an object is let go: (x, y) metres, how far above the table, turned by yaw, tilted, lying on its side."""

    x: float
    y: float
    raised: float
    yaw: float
    tilt: float
    lying: bool


@dataclass(frozen=True)
class Light:
    """The lamp: its direction from the table, its colour and strengths, and how dark its shadows are.

    `shade` is what a shadow leaves of the light, 1 for no shadows.
    """

    direction: Vector
    colour: RGB
    ambient: float
    diffuse: float
    specular: float
    shade: float


def choose_kinds(rng: Generator, fewest: int = FEWEST_OBJECTS, most: int = MOST_OBJECTS) -> list[str]:
    """Some kinds; sometimes one that is chosen already, so that its name alone is ambiguous."""
    kinds: list[str] = []
    for _ in range(int(rng.integers(fewest, most + 1))):
        again = [kind for kind in kinds if kinds.count(kind) < MOST_OF_A_KIND]
        fresh = [kind for kind in KINDS if kind not in kinds]
        kinds.append(str(rng.choice(again if again and rng.random() < 0.3 else fresh)))
    return kinds


def choose_colours(rng: Generator, kinds: Sequence[str], avoid: Collection[tuple[str, str]] = ()) -> list[str]:
    """A colour for each object: often one that another has too, and nearly always another one on the same kind.

    Args:
        rng: source of randomness.
        kinds: of the objects.
        avoid: (kind, colour) pairs that never come up.
    """
    colours: list[str] = []
    for kind in kinds:
        taken = {colour for other, colour in zip(kinds, colours, strict=False) if other == kind}
        allowed = [colour for colour in COLOURS if (kind, colour) not in avoid]
        shared = [colour for colour in colours if colour not in taken and colour in allowed]
        free = [colour for colour in allowed if colour not in taken]
        twin = rng.random() < 0.05
        pool = allowed if twin or not free else shared if shared and rng.random() < 0.35 else free
        colours.append(str(rng.choice(pool)))
    return colours


def choose_place(
    rng: Generator,
    reach_m: float,
    taken: Sequence[tuple[float, float, float]],
    half_area_m: tuple[float, float] = HALF_AREA_M,
) -> tuple[float, float, float]:
    """A free position for an object.

    Args:
        rng: source of randomness.
        reach_m: the radius that the object takes.
        taken: (x, y, reach) of those already placed.
        half_area_m: half the sides of the area where objects are put, in x and y.

    Returns:
        (x, y, raised): raised is above 0 where no free position was found, so that the object falls onto the others.
    """
    for _ in range(12):
        x, y = (float(rng.uniform(-half, half)) for half in half_area_m)
        # A little overlap is allowed: reaches are circles around objects that are mostly not round.
        if all(np.hypot(x - a, y - b) > 0.92 * (reach_m + other) for a, b, other in taken):
            return x, y, 0.0
    return x, y, 0.14


def choose_placement(
    rng: Generator,
    reach_m: float,
    may_lie: bool,
    taken: Sequence[tuple[float, float, float]],
    half_area_m: tuple[float, float] = HALF_AREA_M,
) -> Placement:
    """A position and an attitude for an object; arguments as of `choose_place`."""
    x, y, raised = choose_place(rng, reach_m, taken, half_area_m)
    return Placement(
        x=x,
        y=y,
        raised=raised + float(rng.uniform(0.005, 0.02)),
        yaw=float(rng.uniform(-np.pi, np.pi)),
        tilt=float(rng.normal(0.0, 0.06)),
        lying=may_lie and bool(rng.random() < 0.25),
    )


def choose_light(rng: Generator) -> Light:
    """A lamp somewhere above the table, nearly white."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(40.0, 80.0))
    level, height = np.cos(elevation), np.sin(elevation)
    warmth = rng.uniform(-0.05, 0.05)
    ambient = float(rng.uniform(0.5, 0.65))
    return Light(
        direction=(float(level * np.cos(azimuth)), float(level * np.sin(azimuth)), float(height)),
        colour=(float(1.0 + min(0.0, warmth)), float(1.0 - abs(warmth) / 2), float(1.0 - max(0.0, warmth))),
        ambient=ambient,
        diffuse=float(rng.uniform(1.0, 1.15)) - ambient,
        specular=float(rng.uniform(0.03, 0.15)),
        shade=float(rng.uniform(0.5, 0.85)) if rng.random() < 0.6 else 1.0,
    )


def choose_camera(rng: Generator, width: int, height: int) -> Camera:
    """A camera on the robot's side that faces about the middle of the table."""
    azimuth = np.pi + np.deg2rad(rng.uniform(-35.0, 35.0))
    elevation = np.deg2rad(rng.uniform(35.0, 65.0))
    target = np.array([rng.uniform(-0.04, 0.04), rng.uniform(-0.05, 0.05), 0.02])
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    eye = target + rng.uniform(0.55, 0.85) * away
    focal = height / 2.0 / np.tan(np.deg2rad(rng.uniform(45.0, 55.0)) / 2.0)
    k = np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
    return Camera(width, height, k, pose_towards(eye, -away))


def pose_towards(eye: NDArray[np.float64], forward: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose of an optical frame at `eye` that faces along `forward` with its rows level."""
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    return pose
