# SPDX-License-Identifier: Apache-2.0
"""Quaternions of messages as matrices; lisa_ros.spatial.box has the inverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.box import Quaternion, Vector


def rotation_of(orientation: Quaternion) -> NDArray[np.float64]:
    """The rotation matrix (3, 3) of a quaternion x, y, z, w.

    Raises:
        ValueError: its length is not 1.
    """
    length = float(np.linalg.norm(orientation))
    if abs(length - 1.0) > 1e-3:
        raise ValueError(f"the quaternion {orientation} has the length {length:g}; it must be 1")
    x, y, z, w = np.asarray(orientation) / length
    # Rodrigues' formula, R v = v + 2 q x (q x v + w v), with q = (x, y, z).
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + 2.0 * (w * cross + cross @ cross))


def transform_of(position: Vector, orientation: Quaternion) -> NDArray[np.float64]:
    """A pose as a matrix (4, 4), which maps points of the frame at that pose to the frame that the pose is given in."""
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = rotation_of(orientation), position
    return made
