# SPDX-License-Identifier: Apache-2.0
"""A parallel gripper's grasp from above on the rim of a hollow object: one finger inside, one outside.

For bowls and wide mugs, which a gripper cannot span. The arm, obstacles and what the object contains are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import CannotGripError, Grip, orientation_along
from lisa_ros.spatial.grips.outline import (
    FINGER_WIDTH_M,
    FLOOR_M,
    MAX_SLOPE_DEG,
    FromAbove,
    from_above,
    middle_of,
    span,
)
from lisa_ros.spatial.locating import Located

Floats = NDArray[np.float64]

ANGLES = 48
"""Places along the rim that are tried."""
FINGER_M = 0.012
"""Thickness of the finger that goes into the hollow."""
MOST_INTO_M, LEAST_INTO_M = 0.02, 0.01
"""How far the finger tips go below the rim."""
WIDEST_WALL_M = 0.018
SPARE_M = 0.008
"""Between each finger and the wall on the way down: the outline is that uncertain."""
_FEWEST, _NEAR_RIM_M, _STRAY = 6, 0.008, 0.05


@dataclass(frozen=True)
class _Wall:
    """One place of the rim.

    Attributes:
        outward: of length 1, in the plane.
        middle: of the wall, in the plane.
        thickness_m: of the wall above the finger tips.
        into_m: how far the finger tips go below the rim.
        slope_deg: between outward and the outline's normal.
    """

    outward: Floats
    middle: Floats
    thickness_m: float
    into_m: float
    slope_deg: float


def rim_grip(located: Located, gripper: Gripper) -> Grip:
    """The grasp of the thinnest wall whose outside and hollow were both seen.

    Args:
        located: the object, in the camera's optical frame.
        gripper: its measures.

    Raises:
        CannotGripError: the supporting surface was not found, or no hollow that has room for a finger was seen.
    """
    seen = from_above(located)
    outline = seen.outline(_NEAR_RIM_M)
    middle = middle_of(outline)
    turns = np.linspace(0.0, 2.0 * np.pi, ANGLES, endpoint=False)
    walls = [_wall(seen, outline, middle, turn, gripper) for turn in turns]
    fitting = [one for one in walls if one is not None and one.slope_deg <= MAX_SLOPE_DEG]
    if not fitting:
        raise CannotGripError("No rim with room for a finger inside was seen.")
    best = min(fitting, key=lambda one: one.slope_deg + 1000.0 * (one.thickness_m - one.into_m))
    x, y, z = (float(value) for value in seen.point(best.middle, seen.top - best.into_m))
    orientation = orientation_along(-seen.up, seen.axes.T @ best.outward)
    opening = min(gripper.opening_m, best.thickness_m + 2.0 * SPARE_M)
    return Grip("rim", (x, y, z), orientation, opening_m=opening)


def _wall(seen: FromAbove, outline: Floats, middle: Floats, turn: float, gripper: Gripper) -> _Wall | None:
    """The wall in one direction from the middle; None: there is no wall or no hollow, or it was not seen."""
    outward, aside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    turned = (outline - middle) @ np.stack([outward, aside]).T
    edges = [span(turned, offset)[1] for offset in (-FINGER_WIDTH_M / 2.0, 0.0, FINGER_WIDTH_M / 2.0)]
    slope_deg = float(np.rad2deg(np.arctan(abs(edges[2] - edges[0]) / FINGER_WIDTH_M)))
    strip = np.abs((seen.flat - middle) @ aside) <= FINGER_WIDTH_M / 2.0
    inward = edges[1] - ((seen.flat - middle) @ outward)[strip]
    into_m, thickness_m = _measures(seen, inward, seen.heights[strip], gripper)
    if into_m < LEAST_INTO_M or thickness_m > WIDEST_WALL_M:
        return None
    return _Wall(outward, middle + (edges[1] - thickness_m / 2.0) * outward, thickness_m, into_m, slope_deg)


def _measures(seen: FromAbove, inward: Floats, heights: Floats, gripper: Gripper) -> tuple[float, float]:
    """How far fingers can go in, and the wall's thickness there; 0 and infinity: not at all.

    Args:
        seen: the object.
        inward: distances of the strip's points from the outline.
        heights: theirs.
        gripper: its measures.
    """
    nothing = 0.0, float("inf")
    rim = (inward < WIDEST_WALL_M) & (heights > seen.top - _NEAR_RIM_M)
    room = SPARE_M + FINGER_M
    hollow = (inward > WIDEST_WALL_M) & (inward < WIDEST_WALL_M + room)
    if np.count_nonzero(rim) < _FEWEST or np.count_nonzero(hollow) < _FEWEST:
        return nothing
    deep_m = seen.top - float(np.quantile(heights[hollow], 1.0 - _STRAY))
    into_m = min(gripper.reach_m, MOST_INTO_M, deep_m - FLOOR_M, seen.top - seen.floor - FLOOR_M)
    wall = inward[(heights > seen.top - into_m) & (inward < WIDEST_WALL_M + room)]
    thickness_m = float(np.quantile(wall, 1.0 - _STRAY)) if len(wall) else float("inf")
    free = inward[hollow]
    return (into_m, thickness_m) if free.max() > thickness_m + room / 2.0 else nothing
