# SPDX-License-Identifier: Apache-2.0
"""The simulated table's views and objects, as plain data.

Nothing here needs the simulator, so code that only reads scenes can import these types without it.

Lengths are in metres. The table frame has x away from the robot, y to the left and z up (REP-103), with its origin on
the table top below the middle of the scene. The optical frame of the camera has z forward, x right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS: tuple[str, ...] = (
    "mug",
    "duck",
    "teddy bear",
    "ball",
    "brick",
    "domino",
    "cube",
    "can",
    "plate",
    "book",
    "bottle",
    "bowl",
    "cone",
    "ring",
)
"""The nouns an operator would use for the objects on the table."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.07, 0.07),
    "orange": (1.0, 0.48, 0.0),
    "yellow": (1.0, 0.9, 0.05),
    "green": (0.08, 0.6, 0.13),
    "blue": (0.07, 0.2, 0.85),
    "purple": (0.5, 0.1, 0.65),
    "white": (0.97, 0.97, 0.97),
    "black": (0.1, 0.1, 0.1),
}
"""The plain colours of the objects: RGB, each 0 to 1, before light falls on them."""


@dataclass(frozen=True)
class SceneObject:
    """One object on the table.

    Attributes:
        instance: its value in `View.instances`, counted from 1.
        kind: one of `KINDS`.
        colour: one of the names in `COLOURS`.
        extent_m: size of its axis-aligned box in the table frame, metres.
        position_m: centre of that box in the table frame, metres.
    """

    instance: int
    kind: str
    colour: str
    extent_m: tuple[float, float, float]
    position_m: tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        width: pixels.
        height: pixels.
        k: (3, 3) float64, the intrinsic matrix in pixels.
        pose: (4, 4) float64, takes points from the optical frame to the table frame.
    """

    width: int
    height: int
    k: NDArray[np.float64]
    pose: NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One image of the table with the truth about it.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, metres along the optical z axis, inf where the camera sees nothing.
        instances: (H, W) uint8, the `SceneObject.instance` seen at each pixel, 0 for no object.
        objects: every object that the image shows.
        camera: the camera that took it.
        has_distractors: whether the image may show objects of kinds that are not listed, so that "everything on the
            table" or "the leftmost object" would be ambiguous.
    """

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    instances: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    camera: Camera
    has_distractors: bool = False
