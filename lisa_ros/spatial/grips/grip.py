# SPDX-License-Identifier: Apache-2.0
"""Where to grip an object: the strategies and what they give.

- centroid: the measured surface point that is nearest to the mask's centroid, approached along the camera's view.
- top_plane: the middle of the largest level patch of its surface, for a vacuum cup
  (`lisa_ros.spatial.grips.top_plane`).
- antipodal: a parallel gripper from above, across the object (`lisa_ros.spatial.grips.antipodal`) or, where that is not
  possible, across the rim of a hollow one (`lisa_ros.spatial.grips.rim`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grasping import CannotGraspError
from lisa_ros.spatial.rotation import Quaternion, Vector, quaternion, rotation_of

GRIP_STRATEGIES = ("none", "centroid", "top_plane", "antipodal")


@dataclass(frozen=True)
class Grip:
    """Where a gripper or a vacuum cup takes hold.

    Attributes:
        strategy: "centroid", "top_plane", "antipodal" or "rim".
        position_m: x, y, z: a point of the measured surface or, for antipodal and rim, the middle between the finger
            tips.
        orientation: quaternion x, y, z, w: z is the approach direction; for antipodal and rim, the fingers close
            along y.
        opening_m: antipodal and rim: of the gripper on the way down.
        patch_size_m: top_plane: length and width of the patch.
        clear_diameter_m: top_plane: of the largest circle around the point within the patch.
        flatness_m: top_plane: standard deviation of the measured points from the patch's plane.
    """

    strategy: str
    position_m: Vector
    orientation: Quaternion
    opening_m: float = 0.0
    patch_size_m: tuple[float, float] = (0.0, 0.0)
    clear_diameter_m: float = 0.0
    flatness_m: float = 0.0

    def in_frame(self, transform: NDArray[np.float64]) -> Grip:
        """The same grip in another frame; `transform` (4, 4) maps points of this frame to that one."""
        rotation = transform[:3, :3]
        x, y, z = (float(value) for value in rotation @ self.position_m + transform[:3, 3])
        return replace(self, position_m=(x, y, z), orientation=quaternion(rotation @ rotation_of(self.orientation)))


@dataclass(frozen=True)
class NoGrip:
    """There is no grip.

    Attributes:
        strategy: one of GRIP_STRATEGIES.
        detail: the reason in one sentence.
    """

    strategy: str
    detail: str


class CannotGripError(CannotGraspError):
    """The object cannot be gripped; the text is one sentence with the reason."""


def orientation_along(approach: NDArray[np.float64], closing: NDArray[np.float64] | None = None) -> Quaternion:
    """The orientation of a gripper.

    Args:
        approach: its z axis, of length 1.
        closing: its y axis, of length 1 and at right angles to it; None: any.
    """
    if closing is None:
        closing = np.cross(approach, np.eye(3)[int(np.abs(approach).argmin())])
        closing /= np.linalg.norm(closing)
    return quaternion(np.stack([np.cross(closing, approach), closing, approach], axis=1))
