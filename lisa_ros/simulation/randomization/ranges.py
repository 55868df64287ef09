# SPDX-License-Identifier: Apache-2.0
"""The ranges that a randomized table is drawn from: one set for training, one outside it for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[float, float]
"""Lowest and highest value of a uniform distribution."""


@dataclass(frozen=True)
class Ranges:
    """What varies from one randomized view to the next.

    Attributes:
        objects: fewest and most objects that can be asked for.
        distractors: fewest and most objects of kinds that are never asked for.
        scales: sizes of objects, relative to their models. A list, since the simulator keeps every shape it is given.
        spread: how much larger or smaller the area is on which objects are dropped.
        object_share: length of an object of 0.12 m at the middle of the scene, as a share of the image's long side.
        elevation_deg: of the camera above the table's plane.
        azimuth_deg: of the camera, to both sides of the robot's.
        roll_deg: of the camera, to both sides.
        field_of_view_deg: vertical.
        aim_m: how far from the scene's middle the camera aims, in x and y.
        lamps: fewest and most lamps.
        ambient: light that comes from everywhere.
        brightness: of a surface that faces the strongest lamp.
        warmth: colour of each lamp, from bluish (negative) to reddish.
        shade: what a shadow leaves of the strongest lamp's light.
        textures: names in `textures.PAINTERS`, for table, floor and walls.
        table_half_m: half the length of the table's sides.
        round_tables: share of tables that are round or oval; PyBullet's renderer draws all as rectangles.
        colour_jitter: largest change of an object's colour: hue in degrees, saturation and value as factors.
        two_tone: share of objects with marks in another shade; only the software renderer draws them.
        hidden_by_arm: share of views in which an arm or hand covers part of the image.
    """

    objects: tuple[int, int] = (1, 14)
    distractors: tuple[int, int] = (0, 3)
    scales: tuple[float, ...] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
    spread: Interval = (0.6, 1.5)
    object_share: Interval = (0.05, 0.3)
    elevation_deg: Interval = (22.0, 78.0)
    azimuth_deg: float = 180.0
    roll_deg: float = 8.0
    field_of_view_deg: Interval = (32.0, 70.0)
    aim_m: float = 0.08
    lamps: tuple[int, int] = (1, 3)
    ambient: Interval = (0.35, 0.65)
    brightness: Interval = (0.85, 1.2)
    warmth: Interval = (-0.15, 0.15)
    shade: Interval = (0.35, 0.9)
    textures: tuple[str, ...] = ("plain", "plain", "wood", "marble", "cloth", "checks", "speckle", "print")
    table_half_m: Interval = (0.3, 0.9)
    round_tables: float = 0.3
    colour_jitter: tuple[float, float, float] = (6.0, 0.25, 0.2)
    two_tone: float = 0.25
    hidden_by_arm: float = 0.15


TRAINING = Ranges()
"""What the embedded checkpoint learns from, and the evaluation family of the second renderer is drawn from."""

DISTANT = Ranges(object_share=(0.035, 0.14), table_half_m=(0.3, 0.7), elevation_deg=(22.0, 70.0))
"""What the region of the objects is learned from: tables that are often seen whole."""

FAR = Ranges(
    objects=(3, 10),
    scales=(0.55, 0.66, 0.77, 0.95, 1.05),
    object_share=(0.05, 0.14),
    elevation_deg=(26.0, 60.0),
    roll_deg=12.0,
    field_of_view_deg=(20.0, 31.0),
    ambient=(0.25, 0.34),
    brightness=(0.95, 1.3),
    warmth=(-0.2, 0.22),
    textures=("stripes", "dots", "tiles", "waves"),
    table_half_m=(0.35, 0.6),
    hidden_by_arm=0.1,
)
"""Evaluation only: lenses longer, textures of other kinds and light harder than any that training shows."""
