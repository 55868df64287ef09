# SPDX-License-Identifier: Apache-2.0
"""A parallel gripper's grasp from above on an object's points, where its sides are parallel and near enough.

The fingers close on the outline of the object's upper part as seen from above; the arm and obstacles are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grips.grip import CannotGripError, Grip, orientation_along
from lisa_ros.spatial.grips.outline import FINGER_WIDTH_M, FLOOR_M, MAX_SLOPE_DEG, from_above, middle_of, span
from lisa_ros.spatial.locating import Located

Floats = NDArray[np.float64]

ANGLES = 36
"""Closing directions that are tried, over half a turn."""


@dataclass(frozen=True)
class _Closing:
    """One direction to close along.

    Attributes:
        direction: of length 1, in the plane.
        middle: between the contacts, in the plane.
        width_m: between the contacts.
        slope_deg: the larger of the angles between the direction and the contacts' normals.
    """

    direction: Floats
    middle: Floats
    width_m: float
    slope_deg: float


def antipodal_grip(located: Located, gripper: Gripper) -> Grip:
    """The grasp from above whose contacts face each other best.

    Args:
        located: the object, in the camera's optical frame.
        gripper: its measures.

    Raises:
        CannotGripError: the supporting surface was not found, the object is too flat or too wide, or it has no two
            sides that face each other.
    """
    seen = from_above(located)
    reach = min(gripper.reach_m, seen.top - seen.floor - FLOOR_M)
    if reach <= 0.002:
        raise CannotGripError(
            f"The object is {1000 * (seen.top - seen.floor):.0f} mm high, too flat for a gripper from above."
        )
    outline = seen.outline(reach)
    best = _best(outline, gripper)
    x, y, z = (float(value) for value in seen.point(best.middle, seen.top - reach))
    orientation = orientation_along(-seen.up, seen.axes.T @ best.direction)
    return Grip("antipodal", (x, y, z), orientation, opening_m=best.width_m + 2.0 * gripper.clearance_m)


def _best(outline: Floats, gripper: Gripper) -> _Closing:
    closings = [_closing(outline, angle) for angle in np.linspace(0.0, np.pi, ANGLES, endpoint=False)]
    facing = [one for one in closings if one.slope_deg <= MAX_SLOPE_DEG]
    if not facing:
        raise CannotGripError("The object has no two sides that face each other.")
    widest = gripper.opening_m - 2.0 * gripper.clearance_m
    fitting = [one for one in facing if one.width_m <= widest]
    if not fitting:
        narrowest = min(one.width_m for one in facing) + 2.0 * gripper.clearance_m
        limit = f"it opens {1000 * gripper.opening_m:.0f} mm at most"
        raise CannotGripError(f"The gripper would have to open {1000 * narrowest:.0f} mm; {limit}.")
    # A degree of slope counts as a millimetre of width: steep contacts slip, wide ones leave no room for errors.
    return min(fitting, key=lambda one: one.slope_deg + 1000.0 * one.width_m)


def _closing(outline: Floats, angle: float) -> _Closing:
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle = middle_of(outline)
    offsets = middle @ across + np.array([-0.5, 0.0, 0.5]) * FINGER_WIDTH_M
    spans = [span(outline @ np.stack([along, across]).T, offset) for offset in offsets]
    low, high = spans[1]
    rises = [abs(s[side] - spans[1][side]) for s in (spans[0], spans[2]) for side in (0, 1)]
    slope_deg = float(np.rad2deg(np.arctan2(max(rises), FINGER_WIDTH_M / 2.0)))
    centre = (low + high) / 2.0 * along + (middle @ across) * across
    return _Closing(along, centre, max(one[1] for one in spans) - min(one[0] for one in spans), slope_deg)
