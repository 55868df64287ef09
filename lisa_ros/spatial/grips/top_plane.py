# SPDX-License-Identifier: Apache-2.0
"""The largest level patch of an object's surface, for a vacuum cup.

Planes are found with RANSAC (Fischler and Bolles, 1981) in numpy, as in `lisa_ros.spatial.support`: OpenCV's Python
module has none, and Open3D or scikit-learn would be installed for this alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.spatial.grips.grip import CannotGripError, Grip, orientation_along
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.points import Mask, ObjectPoints, noise_of, ray_spacing

Floats = NDArray[np.float64]

MAX_TILT_DEG, MAX_TILT_UNKNOWN_DEG = 25.0, 60.0
"""Largest angle between a level patch's normal and up; the second if the supporting surface was not found."""
MIN_CLEAR_M = 0.008
"""The smallest vacuum cup: a patch must have room for a circle of this diameter."""
TRIES, CANDIDATES = 300, 6
NEAREST_M = 0.0015
"""Smoothed points belong to a plane within this, or 2.5 standard deviations of their noise, whichever is more."""
LOCAL_M = (0.008, 0.02)
"""The normal is fitted to points within the clear circle's radius, but at least and at most so far from the point."""


@dataclass(frozen=True)
class _Surface:
    """An object's points as images.

    Attributes:
        xyz: (h, w, 3) as measured; NaN: no point.
        smooth: (h, w, 3) smoothed along the optical axis.
        known: (h, w).
        noise_m: standard deviation of one measured point.
        pixel: spacing of the rays at z = 1.
    """

    xyz: Floats
    smooth: Floats
    known: Mask
    noise_m: float
    pixel: float


@dataclass(frozen=True)
class _Patch:
    pixels: Mask
    area: float


def top_plane_grip(located: Located) -> Grip:
    """The middle of the largest level patch.

    "Level" is parallel to the surface that the object stands on. If none was found, the patch faces the camera.

    Args:
        located: the object, in the camera's optical frame.

    Raises:
        CannotGripError: no patch has room for a circle of MIN_CLEAR_M.
    """
    surface = _surface(located.points)
    up, limit_deg = _up(located)
    patch = _largest_patch(surface, up, limit_deg)
    if patch is None:
        raise CannotGripError("The object's visible surface has no level patch.")
    (row, column), clear_px = _middle(surface, patch.pixels)
    point = surface.smooth[row, column]
    clear_m = 2.0 * clear_px * surface.pixel * float(point[2])
    if clear_m < MIN_CLEAR_M:
        least = f"{1000 * MIN_CLEAR_M:.0f} mm"
        raise CannotGripError(
            f"The largest level patch has room for {1000 * clear_m:.1f} mm across; {least} is the least."
        )
    normal, middle = _local_plane(surface, patch.pixels, point, clear_m / 2.0, up)
    x, y, z = (float(value) for value in point * (normal @ middle) / (normal @ point))
    return Grip(
        "top_plane",
        (x, y, z),
        orientation_along(-normal),
        patch_size_m=_size(surface.smooth[patch.pixels], normal),
        clear_diameter_m=clear_m,
        flatness_m=float(np.std((surface.xyz[patch.pixels] - middle) @ normal)),
    )


def _up(located: Located) -> tuple[Floats, float]:
    """The direction up, and how far from it a level patch's normal may be, in degrees."""
    if located.box.on_support:
        return located.box.up, MAX_TILT_DEG
    towards = -np.asarray(located.centroid_m)
    return towards / np.linalg.norm(towards), MAX_TILT_UNKNOWN_DEG


def _surface(points: ObjectPoints) -> _Surface:
    top, left = int(points.rows.min()), int(points.columns.min())
    rows, columns = points.rows - top, points.columns - left
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    xyz = np.full((*shape, 3), np.nan)
    xyz[rows, columns] = points.xyz
    known = np.isfinite(xyz[..., 2])
    z = xyz[..., 2]
    noise_m = noise_of(np.where(known, z, 0.0).astype(np.float32), known)
    # What was not measured is far away, so that the filter gives it no weight.
    far = np.where(known, z, 1e3).astype(np.float32)
    size = 5 if noise_m < 0.003 else 9
    smooth_z = cv2.bilateralFilter(far, size, max(0.004, 3.0 * noise_m), float(size)).astype(np.float64)
    smooth = xyz * (smooth_z / np.where(known, z, 1.0))[..., None]
    return _Surface(xyz, smooth, known, noise_m / (0.6 * size), ray_spacing(points))


def _largest_patch(surface: _Surface, up: Floats, limit_deg: float) -> _Patch | None:
    """The connected level patch of the largest area; None: there is none."""
    patches = []
    near = max(NEAREST_M, 2.5 * surface.noise_m)
    for normal, offset in _candidates(surface, up, limit_deg, near):
        pixels = _connected(surface, np.asarray(np.abs(surface.smooth @ normal - offset) < near))
        if np.count_nonzero(pixels) >= 12:
            z = surface.smooth[pixels][:, 2]
            patches.append(_Patch(pixels, float((z**2).sum())))
    return max(patches, key=lambda patch: patch.area, default=None)


def _candidates(surface: _Surface, up: Floats, limit_deg: float, near: float) -> list[tuple[Floats, float]]:
    """The level planes with the most points, each with other points than those before it, refined by least squares."""
    rows, columns = np.nonzero(surface.known)
    points = surface.smooth[rows, columns]
    rng = np.random.default_rng(0)
    normals, offsets = _random_planes(surface, rows, columns, rng)
    level = np.abs(normals @ up) > np.cos(np.deg2rad(limit_deg))
    normals, offsets = normals[level], offsets[level]
    if not len(normals):
        return []
    sample = points[rng.permutation(len(points))[:1500]]
    hits = np.abs(sample @ normals.T - offsets) < near
    found = []
    for _ in range(CANDIDATES):
        best = int(hits.sum(axis=0).argmax())
        mine = hits[:, best].copy()
        if mine.sum() < 6:
            break
        middle = sample[mine].mean(axis=0)
        normal = np.linalg.svd(sample[mine] - middle, full_matrices=False)[2][2]
        if abs(normal @ up) > np.cos(np.deg2rad(limit_deg)):
            found.append((normal, float(normal @ middle)))
        hits = hits & ~mine[:, None]
    return found


def _random_planes(
    surface: _Surface, rows: NDArray[np.intp], columns: NDArray[np.intp], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Planes through three points near each other: normals (N, 3) and offsets (N,)."""
    seeds = rng.integers(len(rows), size=TRIES)
    reach = max(4, min(surface.known.shape) // 4)
    corners = [surface.smooth[rows[seeds], columns[seeds]]]
    for _ in range(2):
        shifted = rng.integers(-reach, reach + 1, size=(2, TRIES))
        r = np.clip(rows[seeds] + shifted[0], 0, surface.known.shape[0] - 1)
        c = np.clip(columns[seeds] + shifted[1], 0, surface.known.shape[1] - 1)
        corners.append(surface.smooth[r, c])
    normals = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = np.isfinite(lengths) & (lengths > 1e-8)
    normals = normals[usable] / lengths[usable, None]
    return normals, np.einsum("ij,ij->i", normals, corners[0][usable])


def _connected(surface: _Surface, near: Mask) -> Mask:
    """The largest connected part of the near points; pixels that were not measured do not separate it."""
    near = near & surface.known
    closed = cv2.morphologyEx(near.view(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (near | (closed & ~surface.known)).view(np.uint8), connectivity=4
    )
    if count < 2:
        return np.zeros_like(near)
    return np.asarray((labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())) & near)


def _middle(surface: _Surface, patch: Mask) -> tuple[tuple[int, int], float]:
    """The patch's pixel with the most room around it, near the patch's middle, and that room's radius in pixels."""
    closed = cv2.morphologyEx(patch.view(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0
    whole = patch | (closed & ~surface.known)
    room = cv2.distanceTransform(np.pad(whole, 1).view(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(patch & (room >= 0.85 * room[patch].max()))
    middle = np.argwhere(patch).mean(axis=0)
    best = int(np.hypot(rows - middle[0], columns - middle[1]).argmin())
    row, column = int(rows[best]), int(columns[best])
    return (row, column), float(room[row, column])


def _local_plane(surface: _Surface, patch: Mask, point: Floats, radius_m: float, up: Floats) -> tuple[Floats, Floats]:
    """The normal, on the upper side, and a point of the plane through the patch around a point."""
    reach = float(np.clip(radius_m, *LOCAL_M))
    points = surface.xyz[patch & (np.linalg.norm(surface.smooth - point, axis=2) < reach)]
    if len(points) < 12:
        points = surface.xyz[patch]
    for _ in range(2):
        middle = points.mean(axis=0)
        normal = np.linalg.svd(points - middle, full_matrices=False)[2][2]
        away = np.abs((points - middle) @ normal)
        points = points[away <= max(1e-6, 2.5 * float(np.sqrt(np.mean(away**2))))]
    return (normal if normal @ up > 0.0 else -normal), middle


def _size(points: Floats, normal: Floats) -> tuple[float, float]:
    """Length and width of the rectangle of the least area around points of a plane."""
    first = np.cross(normal, np.eye(3)[int(np.abs(normal).argmin())])
    first /= np.linalg.norm(first)
    flat = points @ np.stack([first, np.cross(normal, first)]).T
    _, sides, _ = cv2.minAreaRect(flat.astype(np.float32))
    return float(max(sides)), float(min(sides))
