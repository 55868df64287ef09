# SPDX-License-Identifier: Apache-2.0
"""An object's upper part as a gripper sees it that comes from above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grips.grip import CannotGripError
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.points import PointSettings, ray_spacing

Floats = NDArray[np.float64]

FINGER_WIDTH_M = 0.02
MAX_SLOPE_DEG = 22.0
"""Largest angle between the closing direction and a contact's normal: the friction cone of rubber on most materials."""
FLOOR_M = 0.006
"""The finger tips stay so far above the supporting surface."""
OUTERMOST = 0.5
"""Percent of the points that may lie outside of the outline: some flying pixels remain."""
_GRID_M = 0.002


@dataclass(frozen=True)
class FromAbove:
    """An object's points in the plane that it stands on, and their heights.

    Attributes:
        axes: (2, 3), rows: the plane's axes in the camera's frame.
        up: (3,), the plane's normal.
        flat: (N, 2) the points in the plane, metres.
        heights: (N,) along up, metres, from the camera.
        top: height of the object's top.
        floor: height of the plane.
        border_m: width of the mask's border, which has no points.
    """

    axes: Floats
    up: Floats
    flat: Floats
    heights: Floats
    top: float
    floor: float
    border_m: float

    def outline(self, reach_m: float) -> Floats:
        """The convex outline (K, 2) of what is at most reach_m below the top, widened by the mask's border."""
        return _outline(self.flat[self.heights >= self.top - reach_m], self.border_m)

    def point(self, flat: Floats, height: float) -> Floats:
        """The point (3,) in the camera's frame at a place in the plane and a height."""
        return np.asarray(self.axes.T @ flat + height * self.up)


def from_above(located: Located) -> FromAbove:
    """Project an object's points along its support's normal.

    Raises:
        CannotGripError: the supporting surface was not found.
    """
    if not located.box.on_support:
        raise CannotGripError("The surface that the object stands on was not found, so that up is unknown.")
    up = located.box.up
    axes = _plane_axes(up)
    points = located.points.xyz.astype(np.float64)
    heights = points @ up
    top = float(np.percentile(heights, 100.0 - OUTERMOST))
    floor = float(np.asarray(located.box.centre_m) @ up) - located.box.above_support_m
    border_m = PointSettings().border_px * ray_spacing(located.points) * float(np.median(points[:, 2]))
    return FromAbove(axes, up, points @ axes.T, heights, top, floor, border_m)


def middle_of(outline: Floats) -> Floats:
    """The centre of area (2,) of an outline (K, 2)."""
    moments = cv2.moments(outline.astype(np.float32).reshape(-1, 1, 2))
    area = moments["m00"]
    return np.array([moments["m10"], moments["m01"]]) / area if area > 1e-9 else outline.mean(axis=0)


def span(outline: Floats, offset: float) -> tuple[float, float]:
    """Where a line y = offset enters and leaves an outline (K, 2); beside the outline: its nearest corner, twice."""
    x, y = outline[:, 0], outline[:, 1]
    offset = float(np.clip(offset, y.min(), y.max()))
    nx, ny = np.roll(x, -1), np.roll(y, -1)
    cut = ((y <= offset) & (ny >= offset)) | ((y >= offset) & (ny <= offset))
    rise = np.where(np.abs(ny - y) > 1e-12, ny - y, 1.0)
    part = np.where(np.abs(ny - y) > 1e-12, (offset - y) / rise, 0.0)
    at = np.concatenate([(x + part * (nx - x))[cut], nx[cut & (np.abs(ny - y) <= 1e-12)]])
    return float(at.min()), float(at.max())


def _plane_axes(up: Floats) -> Floats:
    """Rows: two directions at right angles to `up` and to each other."""
    first = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)])


def _outline(flat: Floats, border_m: float) -> Floats:
    """The convex outline (K, 2) of points in the plane, without lone ones, widened by the mask's border."""
    cells, counts = np.unique(np.floor(flat / _GRID_M).astype(int), axis=0, return_counts=True)
    order = np.argsort(counts)
    kept = cells[order[np.cumsum(counts[order]) > OUTERMOST / 100.0 * len(flat)]]
    hull = cv2.convexHull(((kept + 0.5) * _GRID_M).astype(np.float32))
    corners = hull.reshape(-1, 2).astype(np.float64)
    turns = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
    disc = (border_m + _GRID_M / 2.0) * np.column_stack([np.cos(turns), np.sin(turns)])
    grown = (corners[:, None] + disc[None]).reshape(-1, 2)
    return np.asarray(cv2.convexHull(grown.astype(np.float32)).reshape(-1, 2), dtype=np.float64)
