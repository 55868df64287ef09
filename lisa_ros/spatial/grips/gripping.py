# SPDX-License-Identifier: Apache-2.0
"""Computes where to grip an object, by strategy."""

from __future__ import annotations

import numpy as np

from lisa_ros.spatial.grasping import CannotGraspError, Gripper
from lisa_ros.spatial.grips.antipodal import antipodal_grip
from lisa_ros.spatial.grips.grip import CannotGripError, Grip, NoGrip, orientation_along
from lisa_ros.spatial.grips.rim import rim_grip
from lisa_ros.spatial.grips.top_plane import top_plane_grip
from lisa_ros.spatial.locating import Located

_NEAR_M = 0.008
"""The centroid's depth is the median of the points within this distance of it."""


def grip_of(located: Located, strategy: str, gripper: Gripper | None = None) -> Grip | NoGrip | None:
    """Where to grip an object.

    Args:
        located: the object, in the camera's optical frame.
        strategy: one of GRIP_STRATEGIES.
        gripper: for antipodal; None: the default.

    Returns:
        the grip, or the reason why there is none; None for the strategy "none".

    Raises:
        ValueError: the strategy is unknown.
    """
    if strategy == "none":
        return None
    try:
        if strategy == "centroid":
            return centroid_grip(located)
        if strategy == "top_plane":
            return top_plane_grip(located)
        if strategy == "antipodal":
            return _by_fingers(located, gripper or Gripper())
    except CannotGraspError as error:
        return NoGrip(strategy, str(error))
    raise ValueError(f"the grip strategy is {strategy!r}; it must be none, centroid, top_plane or antipodal")


def _by_fingers(located: Located, gripper: Gripper) -> Grip:
    """Across the object or, where that is not possible, across its rim."""
    try:
        return antipodal_grip(located, gripper)
    except CannotGripError as across:
        try:
            return rim_grip(located, gripper)
        except CannotGripError:
            raise across from None


def centroid_grip(located: Located) -> Grip:
    """The measured point nearest to the mask's centroid in the image, approached along the camera's view.

    Unlike `Located.centroid_m`, which has the object's median depth, it is never in the opening of a hollow object.
    """
    points = located.points.xyz.astype(np.float64)
    rays = points[:, :2] / points[:, 2:]
    aim = np.asarray(located.centroid_m[:2]) / located.centroid_m[2]
    nearest = points[int(np.linalg.norm(rays - aim, axis=1).argmin())]
    around = points[np.linalg.norm(points - nearest, axis=1) < _NEAR_M]
    point = nearest * float(np.median(around[:, 2])) / nearest[2]
    x, y, z = (float(value) for value in point)
    return Grip("centroid", (x, y, z), orientation_along(point / np.linalg.norm(point)))
