# SPDX-License-Identifier: Apache-2.0
"""From the box around an object to a pose of the gripper: a worked example, not a grasp planner.

It ignores the arm, nearby obstacles, handles and hollows: the object is treated as its bounding box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.spatial.rotation import Quaternion, Vector, quaternion, rotation_of

MAX_TILT_DEG = 15.0


class CannotGraspError(LisaError):
    """The gripper cannot grasp the object; the text is one sentence with the reason."""


@dataclass(frozen=True)
class Gripper:
    """Two parallel fingers, metres.

    Attributes:
        opening_m: the maximum opening.
        clearance_m: between each finger and the object's side on the way down.
        reach_m: how far the finger tips go below the object's top; half of its height at most.
        above_m: height above the grasp from which they move down.
    """

    opening_m: float = 0.11
    clearance_m: float = 0.008
    reach_m: float = 0.04
    above_m: float = 0.10


@dataclass(frozen=True)
class Grasp:
    """The pose of the middle between the finger tips, in the frame of the box that it was computed from.

    Attributes:
        position_m: x, y, z.
        orientation: quaternion x, y, z, w of the gripper's axes: z is the approach direction, y the closing direction.
        opening_m: between the fingers on the way down.
        before_m: the pre-grasp position; from there the gripper moves straight to position_m.
    """

    position_m: Vector
    orientation: Quaternion
    opening_m: float
    before_m: Vector

    def in_frame(self, transform: NDArray[np.float64]) -> Grasp:
        """The same grasp in another frame; `transform` (4, 4) maps points of this frame to that one."""
        rotation = transform[:3, :3]
        return Grasp(
            position_m=_vector(rotation @ self.position_m + transform[:3, 3]),
            orientation=quaternion(rotation @ rotation_of(self.orientation)),
            opening_m=self.opening_m,
            before_m=_vector(rotation @ self.before_m + transform[:3, 3]),
        )


def grasp_from_above(
    centre_m: Vector,
    size_m: Vector,
    orientation: Quaternion,
    gripper: Gripper | None = None,
    *,
    up: Vector | None = None,
) -> Grasp:
    """A grasp straight down onto the middle of a box, closing across the shorter of its horizontal sides.

    Args:
        centre_m: of the box.
        size_m: along its own axes. z is up, and x the longer of the other two, as in OrientedBox.
        orientation: its axes.
        gripper: None: the default.
        up: the direction up, of length 1, in the box's frame; None: unknown, and the box's z is used.

    Raises:
        CannotGraspError: the box is too wide for the gripper, or not upright because no support was found.
    """
    gripper = gripper or Gripper()
    axes = rotation_of(orientation)
    if up is not None and float(axes[:, 2] @ up) < np.cos(np.deg2rad(MAX_TILT_DEG)):
        raise CannotGraspError("The box is not upright: the surface that the object stands on was not found.")
    opening = size_m[1] + 2 * gripper.clearance_m
    if opening > gripper.opening_m:
        wide, widest = 1000 * opening, 1000 * gripper.opening_m
        raise CannotGraspError(f"The gripper would have to open {wide:.0f} mm; it opens {widest:.0f} mm at most.")
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
