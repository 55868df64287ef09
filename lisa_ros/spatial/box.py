# SPDX-License-Identifier: Apache-2.0
"""An oriented box around an object's points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.rotation import Quaternion, Vector, quaternion, rotation_of
from lisa_ros.spatial.support import Plane

Floats = NDArray[np.float64]

OUTERMOST = 0.5
"""Percent of the points that may lie beyond each face, because some flying pixels remain."""
MAX_POINTS = 4096
"""Of more points, every second, third ... is used; neighbouring pixels carry the same information."""
IMAGE_UP: Vector = (0.0, -1.0, 0.0)
"""Up in the image, in the camera's optical frame."""
FRAME_UP: Vector = (0.0, 0.0, 1.0)
"""Up in every other frame (REP 103)."""
STANDING_PART = 0.35
"""An object whose lowest points are higher than this part of its height may not reach down to the plane."""


@dataclass(frozen=True)
class OrientedBox:
    """A box in the camera's optical frame.

    Attributes:
        centre_m: x, y, z.
        size_m: along its own x, y and z axis.
        orientation: quaternion x, y, z, w, of length 1 with w >= 0: the box's axes in the optical frame, right-handed.
            z is up from the plane that the object stands on or, if none was found, the box's shortest axis, towards
            the camera. x is the longer of the other two, towards the image's right.
        on_support: whether z is the normal of a plane below the object that was found. Then the box reaches down to the
            plane, also where the camera does not see it, unless what is seen of the object ends far above the plane.
        above_support_m: height of the centre above that plane; 0 without one.
    """

    centre_m: Vector
    size_m: Vector
    orientation: Quaternion
    on_support: bool
    above_support_m: float = 0.0

    @property
    def up(self) -> Floats:
        """The box's z axis, (3,)."""
        return np.asarray(rotation_of(self.orientation)[:, 2])

    def beyond(self, direction: Vector, margin_m: float) -> Vector:
        """The point that lies from the centre in a direction (of length 1), `margin_m` outside the box."""
        extent_m = float(np.abs(rotation_of(self.orientation).T @ direction) @ self.size_m) / 2.0
        return _vector(np.add(self.centre_m, np.multiply(direction, extent_m + margin_m)))

    def in_frame(self, transform: Floats) -> OrientedBox:
        """The same box in another frame; `transform` (4, 4) maps points of this frame to that one."""
        rotation = transform[:3, :3]
        centre = _vector(rotation @ self.centre_m + transform[:3, 3])
        return replace(self, centre_m=centre, orientation=quaternion(rotation @ rotation_of(self.orientation)))


def box_around(xyz: NDArray[np.float32], support: Plane | None = None) -> OrientedBox:
    """The smallest box around points, without the outermost ones.

    With a support, the box stands on it: the rectangle of the least area (cv2.minAreaRect) around the points, projected
    along the plane's normal. Without one, it is the smallest of the three boxes along the points' principal axes.

    Args:
        xyz: (N, 3) metres, N at least 1.
        support: the plane that the object stands on.

    Raises:
        ValueError: there are no points.
    """
    if not len(xyz):
        raise ValueError("no points to put a box around")
    points = np.asarray(xyz[:: 1 + len(xyz) // MAX_POINTS], dtype=np.float64)
    if support is not None:
        axes = _axes_along(points, support.normal)
        return _box(points, axes, support)
    ups = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2] if len(points) > 2 else np.eye(3)
    boxes = [_box(points, _shortest_last(points, _axes_along(points, up)), None) for up in ups]
    return min(boxes, key=lambda box: float(np.prod(np.array(box.size_m) + 1e-4)))


def _axes_along(points: Floats, up: Floats) -> Floats:
    """Rows: the directions of the rectangle of the least area around the points as seen along `up`, and `up`."""
    first = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    first /= np.linalg.norm(first)
    plane = np.stack([first, np.cross(up, first)])
    projected = points @ plane.T
    distance = np.linalg.norm(projected - np.median(projected, axis=0), axis=1)
    kept = projected[distance <= np.percentile(distance, 100.0 - OUTERMOST)]
    _, _, angle = cv2.minAreaRect(kept.astype(np.float32))
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.vstack([np.array([[cosine, sine], [-sine, cosine]]) @ plane, up])


def _shortest_last(points: Floats, axes: Floats) -> Floats:
    return axes[np.argsort(-np.ptp(points @ axes.T, axis=0), kind="stable")]


def _box(points: Floats, axes: Floats, support: Plane | None) -> OrientedBox:
    along = points @ axes.T
    low, high = np.percentile(along, [OUTERMOST, 100.0 - OUTERMOST], axis=0)
    if support is not None:
        floor = support.offset_m
        if low[2] - floor < STANDING_PART * (high[2] - floor):
            low[2] = floor
    centre, size = axes.T @ ((low + high) / 2.0), high - low
    if size[1] > size[0]:
        axes, size = axes[[1, 0, 2]], size[[1, 0, 2]]
    rotation = _right_handed(axes, centre, keep_up=support is not None)
    above_m = float(support.heights(centre)) if support is not None else 0.0
    return OrientedBox(_vector(centre), _vector(size), quaternion(rotation), support is not None, above_m)


def _right_handed(axes: Floats, centre: Floats, *, keep_up: bool) -> Floats:
    """The rotation whose columns are the axes, with their directions chosen."""
    up = axes[2] if keep_up or axes[2] @ centre < 0.0 else -axes[2]
    # An x axis along the optical axis has hardly a right side; it points away from the camera then.
    side = axes[0, 0] if abs(axes[0, 0]) > 0.05 else axes[0, 2]
    right = axes[0] if side >= 0.0 else -axes[0]
    return np.stack([right, np.cross(up, right), up], axis=1)


def _vector(numbers: Floats) -> Vector:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
