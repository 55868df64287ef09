# SPDX-License-Identifier: Apache-2.0
"""The plane that an object stands on, from the depth around it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.points import Depth, Mask, ObjectPoints, measured

Floats = NDArray[np.float64]

GAP_PX, RING_PX = 5, 30
"""Distance from the mask at which its surroundings begin and end."""
SAMPLES, TRIES = 800, 80
MIN_SAMPLES = 60
NEAR_M, NEAR_PART = 0.004, 0.006
"""A point belongs to the plane within NEAR_M, or NEAR_PART times its depth, whichever is more."""
MIN_PART = 0.45
"""The part of the surroundings that must belong to the plane."""


@dataclass(frozen=True)
class Plane:
    """Points p with normal . p = offset_m; the normal, of length 1, points to the side of the object."""

    normal: Floats
    offset_m: float

    def heights(self, xyz: NDArray[np.float32] | Floats) -> Floats:
        """Heights of points above the plane, metres."""
        return np.asarray(xyz @ self.normal - self.offset_m, dtype=np.float64)


def support_of(mask: Mask, points: ObjectPoints, depth_m: Depth, camera: CameraModel) -> Plane | None:
    """The plane that an object stands on; None if most of its surroundings belong to no plane below it.

    The same arguments give the same plane: samples are drawn from a fixed seed (RANSAC, Fischler and Bolles, 1981).

    Args:
        mask: (H, W) of the object.
        points: the object's.
        depth_m: (H, W) of the whole image.
        camera: of the image.
    """
    around = _surroundings(mask, depth_m, camera)
    if len(around) < MIN_SAMPLES:
        return None
    rng = np.random.default_rng(0)
    around = around[rng.permutation(len(around))[:SAMPLES]]
    near = np.maximum(NEAR_M, NEAR_PART * around[:, 2])
    best = _best_of(around, near, rng)
    if best.mean() < MIN_PART:
        return None
    return _oriented(*_fit(around[best]), points)


def _surroundings(mask: Mask, depth_m: Depth, camera: CameraModel) -> Floats:
    """Points of a ring around the mask, (N, 3)."""
    x, y, width, height = bounding_box(mask)
    rows = slice(max(0, y - RING_PX), y + height + RING_PX)
    columns = slice(max(0, x - RING_PX), x + width + RING_PX)
    distance = cv2.distanceTransform((~mask[rows, columns]).astype(np.uint8), cv2.DIST_L2, 3)
    depth = depth_m[rows, columns]
    ring = (distance > GAP_PX) & (distance < RING_PX) & measured(depth)
    rays, z = camera.rays[rows, columns][ring].astype(np.float64), depth[ring].astype(np.float64)
    points = np.column_stack([rays[:, 0] * z, rays[:, 1] * z, z])
    return np.asarray(points[np.isfinite(points).all(axis=1)])


def _best_of(around: Floats, near: Floats, rng: np.random.Generator) -> Mask:
    """The points near the best of TRIES random planes through three of them: the one with most points near it."""
    corners = around[rng.integers(len(around), size=(TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-6
    if not usable.any():
        return np.zeros(len(around), dtype=np.bool_)
    normals = normals[usable] / lengths[usable, None]
    offsets = np.einsum("ij,ij->i", normals, corners[usable, 0])
    hits = np.abs(around @ normals.T - offsets) < near[:, None]
    return np.asarray(hits[:, int(hits.sum(axis=0).argmax())])


def _fit(points: Floats) -> tuple[Floats, Floats]:
    """The normal of the least-squares plane through points, and their centroid."""
    middle = points.mean(axis=0)
    return np.linalg.svd(points - middle, full_matrices=False)[2][2], middle


def _oriented(normal: Floats, middle: Floats, points: ObjectPoints) -> Plane | None:
    """The plane with the camera on its upper side; None if the object is not on that side."""
    if normal @ middle > 0.0:
        normal = -normal
    plane = Plane(normal, float(normal @ middle))
    return plane if np.percentile(plane.heights(points.xyz), 10.0) > -NEAR_M else None
