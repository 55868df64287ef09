# SPDX-License-Identifier: Apache-2.0
"""From the box around an object to where a gripper goes: a worked example, not a grasp planner.

It knows nothing of the arm, of what stands around, or of a handle or a hollow: it takes the box for the thing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.box import Quaternion, Vector, quaternion
from lisa_ros.spatial.rotation import rotation_of

MOST_TILTED_DEG = 15.0


class CannotGraspError(ValueError):
    """The gripper cannot take the object; the text is one sentence that says why."""


@dataclass(frozen=True)
class Gripper:
    """Two parallel fingers, metres.

    Attributes:
        opening_m: the widest.
        clearance_m: that each finger keeps from the object's side on the way down.
        reach_m: how far the finger tips go below the object's top; half of its height at most.
        above_m: from how far above the grasp they come down.
    """

    opening_m: float = 0.11
    clearance_m: float = 0.008
    reach_m: float = 0.04
    above_m: float = 0.10


@dataclass(frozen=True)
class Grasp:
    """Where the middle between the finger tips goes, in the frame of the box that it was made from.

    Attributes:
        position_m: x, y, z.
        orientation: quaternion x, y, z, w of the gripper's axes: z is the way it approaches, y the way it closes.
        opening_m: between the fingers on the way down.
        before_m: where it comes from, straight to position_m.
    """

    position_m: Vector
    orientation: Quaternion
    opening_m: float
    before_m: Vector

    def seen_from(self, transform: NDArray[np.float64]) -> Grasp:
        """The same in another frame; `transform` (4, 4) takes points of this one there."""
        turn = transform[:3, :3]
        return Grasp(
            position_m=_vector(turn @ self.position_m + transform[:3, 3]),
            orientation=quaternion(turn @ rotation_of(self.orientation)),
            opening_m=self.opening_m,
            before_m=_vector(turn @ self.before_m + transform[:3, 3]),
        )


def grasp_from_above(
    centre_m: Vector,
    size_m: Vector,
    orientation: Quaternion,
    gripper: Gripper | None = None,
    *,
    up: Vector | None = None,
) -> Grasp:
    """Straight down onto the middle of a box, closing across the shorter of its level sides.

    Args:
        centre_m: of the box.
        size_m: along its own axes. z is up, and x the longer of the other two, as in OrientedBox.
        orientation: its axes.
        gripper: other than the default.
        up: where up is, of length 1, in the box's frame; None: it is not known, and the box's z is believed.

    Raises:
        CannotGraspError: the box is too wide for the gripper, or does not stand upright, as that of a thing does whose
            support was not found.
    """
    gripper = gripper or Gripper()
    axes = rotation_of(orientation)
    if up is not None and float(axes[:, 2] @ up) < np.cos(np.deg2rad(MOST_TILTED_DEG)):
        raise CannotGraspError("The box around it is not upright: what it stands on was not found.")
    opening = size_m[1] + 2 * gripper.clearance_m
    if opening > gripper.opening_m:
        wide, widest = 1000 * opening, 1000 * gripper.opening_m
        raise CannotGraspError(f"The gripper would have to open {wide:.0f} mm, and opens {widest:.0f} mm at most.")
    upward = axes[:, 2]
    tips = np.asarray(centre_m) + (size_m[2] / 2 - min(gripper.reach_m, size_m[2] / 2)) * upward
    return Grasp(
        position_m=_vector(tips),
        orientation=quaternion(np.stack([axes[:, 0], -axes[:, 1], -upward], axis=1)),
        opening_m=opening,
        before_m=_vector(tips + gripper.above_m * upward),
    )


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
