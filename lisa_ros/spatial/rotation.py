# SPDX-License-Identifier: Apache-2.0
"""Quaternions of messages as matrices, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


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


def quaternion(rotation: Floats) -> Quaternion:
    """A rotation matrix (3, 3) as x, y, z, w with w >= 0 (Shepperd, 1978: from its largest part, for accuracy)."""
    m = rotation
    squares = np.array([1 + m[0, 0] - m[1, 1] - m[2, 2], 1 - m[0, 0] + m[1, 1] - m[2, 2],
                        1 - m[0, 0] - m[1, 1] + m[2, 2], 1 + m[0, 0] + m[1, 1] + m[2, 2]])  # fmt: skip
    rows = np.array([
        [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
    ])  # fmt: skip
    row = rows[int(squares.argmax())]
    x, y, z, w = (float(part) for part in row / np.linalg.norm(row) * (1.0 if row[3] >= 0.0 else -1.0))
    return x, y, z, w
