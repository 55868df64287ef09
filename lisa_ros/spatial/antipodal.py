# SPDX-License-Identifier: Apache-2.0
"""A parallel gripper's grasp from above on an object's points, where its sides are parallel and near enough.

The fingers close on the outline of the object's upper part as seen from above; the arm and obstacles are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grasping import Gripper
from lisa_ros.spatial.grip import CannotGripError, Grip, orientation_along
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.points import PointSettings, ray_spacing

Floats = NDArray[np.float64]

FINGER_WIDTH_M = 0.02
ANGLES = 36
"""Closing directions that are tried, over half a turn."""
MAX_SLOPE_DEG = 22.0
"""Largest angle between the closing direction and a contact's normal: the friction cone of rubber on most materials."""
FLOOR_M = 0.006
"""The finger tips stay so far above the supporting surface."""
OUTERMOST = 0.5
"""Percent of the points that may lie outside of the outline: some flying pixels remain."""
_GRID_M = 0.002


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
    if not located.box.on_support:
        raise CannotGripError("The surface that the object stands on was not found, so that up is unknown.")
    up = located.box.up
    plane = _plane_axes(up)
    points = located.points.xyz.astype(np.float64)
    heights = points @ up
    top = float(np.percentile(heights, 100.0 - OUTERMOST))
    floor = float(np.asarray(located.box.centre_m) @ up) - located.box.above_support_m
    reach = min(gripper.reach_m, top - floor - FLOOR_M)
    if reach <= 0.002:
        raise CannotGripError(f"The object is {1000 * (top - floor):.0f} mm high, too flat for a gripper from above.")
    border_m = PointSettings().border_px * ray_spacing(located.points) * float(np.median(points[:, 2]))
    outline = _outline(points[heights >= top - reach] @ plane.T, border_m)
    best = _best(outline, gripper)
    tips = plane.T @ best.middle + (top - reach) * up
    x, y, z = (float(value) for value in tips)
    orientation = orientation_along(-up, plane.T @ best.direction)
    return Grip("antipodal", (x, y, z), orientation, opening_m=best.width_m + 2.0 * gripper.clearance_m)


def _plane_axes(up: Floats) -> Floats:
    """Rows: two directions at right angles to `up` and to each other."""
    first = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)])


def _outline(flat: Floats, border_m: float) -> Floats:
    """The convex outline (N, 2) of points in the plane, without lone ones, widened by the mask's border."""
    cells, counts = np.unique(np.floor(flat / _GRID_M).astype(int), axis=0, return_counts=True)
    order = np.argsort(counts)
    kept = cells[order[np.cumsum(counts[order]) > OUTERMOST / 100.0 * len(flat)]]
    hull = cv2.convexHull(((kept + 0.5) * _GRID_M).astype(np.float32))
    corners = hull.reshape(-1, 2).astype(np.float64)
    turns = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
    disc = (border_m + _GRID_M / 2.0) * np.column_stack([np.cos(turns), np.sin(turns)])
    grown = (corners[:, None] + disc[None]).reshape(-1, 2)
    return np.asarray(cv2.convexHull(grown.astype(np.float32)).reshape(-1, 2), dtype=np.float64)


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
    moments = cv2.moments(outline.astype(np.float32).reshape(-1, 1, 2))
    area = moments["m00"]
    middle = np.array([moments["m10"], moments["m01"]]) / area if area > 1e-9 else outline.mean(axis=0)
    offsets = middle @ across + np.array([-0.5, 0.0, 0.5]) * FINGER_WIDTH_M
    spans = [_span(outline @ np.stack([along, across]).T, offset) for offset in offsets]
    low, high = spans[1]
    rises = [abs(s[side] - spans[1][side]) for s in (spans[0], spans[2]) for side in (0, 1)]
    slope_deg = float(np.rad2deg(np.arctan2(max(rises), FINGER_WIDTH_M / 2.0)))
    centre = (low + high) / 2.0 * along + (middle @ across) * across
    return _Closing(along, centre, max(one[1] for one in spans) - min(one[0] for one in spans), slope_deg)


def _span(outline: Floats, offset: float) -> tuple[float, float]:
    """Where a line y = offset enters and leaves an outline (N, 2); beside the outline: its nearest corner, twice."""
    x, y = outline[:, 0], outline[:, 1]
    offset = float(np.clip(offset, y.min(), y.max()))
    nx, ny = np.roll(x, -1), np.roll(y, -1)
    cut = ((y <= offset) & (ny >= offset)) | ((y >= offset) & (ny <= offset))
    rise = np.where(np.abs(ny - y) > 1e-12, ny - y, 1.0)
    part = np.where(np.abs(ny - y) > 1e-12, (offset - y) / rise, 0.0)
    at = np.concatenate([(x + part * (nx - x))[cut], nx[cut & (np.abs(ny - y) <= 1e-12)]])
    return float(at.min()), float(at.max())
