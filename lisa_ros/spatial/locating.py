# SPDX-License-Identifier: Apache-2.0
"""The 3-D position, points and box of an object, or the reason why they are unknown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box, centroid_pixel
from lisa_ros.spatial.box import OrientedBox, box_around
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.points import (
    MAX_DEPTH_M,
    Depth,
    Mask,
    ObjectPoints,
    PointSettings,
    core,
    measured,
    object_pixels,
    points_of,
    without_noise,
)
from lisa_ros.spatial.registration import camera_on_grid, depth_on_grid
from lisa_ros.spatial.rotation import Vector
from lisa_ros.spatial.support import RING_PX, support_of

__all__ = ["LocateSettings", "Located", "NotLocated", "NotLocatedReason", "OrientedBox", "locate"]


@dataclass(frozen=True)
class LocateSettings:
    """Settings of `locate`.

    Attributes:
        points: how the object's points are chosen.
        min_points: an object with fewer points is not located.
        min_measured: the part of the mask, without its border, that must have depth.
    """

    points: PointSettings = field(default_factory=PointSettings)
    min_points: int = 20
    min_measured: float = 0.05


class NotLocatedReason(Enum):
    """Why an object has no 3-D position. The masks and pixels of an answer do not depend on it."""

    NO_OBJECT = "no object"
    NO_DEPTH = "no depth"
    NO_CAMERA = "no camera"
    NOT_REGISTERED = "not registered"
    TOO_SPARSE = "too sparse"
    NO_TRANSFORM = "no transform"


@dataclass(frozen=True)
class NotLocated:
    """The object has no 3-D position.

    Attributes:
        reason: for programs.
        detail: one sentence for people.
    """

    reason: NotLocatedReason
    detail: str


@dataclass(frozen=True)
class Located:
    """Where an object is, in the camera's optical frame, metres.

    Attributes:
        centroid_m: the point of the visible surface at the answer's pixel centroid: on the ray through
            `segmentation.masks.centroid_pixel`, at the median of the object's points along the optical axis. It
            is on the side that the camera sees. The object's middle is `box.centre_m`, which assumes that the object
            fills its box and stands on its support, if one was found.
        points: of its visible surface.
        box: around them, and its axes. centroid_m with box.orientation is the object's pose.
        measured: the part of the mask, without its border, that has depth, 0 to 1.
        spread_m: range of the points' depths, from their 5th to their 95th percentile.
    """

    centroid_m: Vector
    points: ObjectPoints
    box: OrientedBox
    measured: float
    spread_m: float

    def in_frame(self, transform: NDArray[np.float64]) -> Located:
        """The same object in another frame; `transform` (4, 4) maps points of this frame to that one."""
        rotation, shift = transform[:3, :3], transform[:3, 3]
        x, y, z = (float(value) for value in rotation @ self.centroid_m + shift)
        xyz = (self.points.xyz @ rotation.T + shift).astype(np.float32)
        points = replace(self.points, xyz=xyz)
        return replace(self, centroid_m=(x, y, z), points=points, box=self.box.in_frame(transform))


def locate(
    image: NDArray[np.uint8],
    mask: Mask,
    depth_m: Depth | None,
    camera: CameraModel | None,
    settings: LocateSettings | None = None,
) -> Located | NotLocated:
    """Locate an object.

    Args:
        image: RGB (H, W, 3) uint8.
        mask: (H, W) of the object.
        depth_m: (H, W) float32, metres along the optical axis, registered to the image, of its size or of another
            one with the same aspect; NaN, infinite, below points.MIN_DEPTH_M or beyond points.MAX_DEPTH_M where
            nothing was measured. None: no depth image.
        camera: of the image, or of the depth image. None: unknown.
        settings: None: the defaults.

    Returns:
        the position, or the reason why it is unknown: missing or poor depth is no error.

    Raises:
        ValueError: the mask is not of the image's size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask must be {image.shape[:2]} as its image is, not {mask.shape}")
    settings = settings or LocateSettings()
    if depth_m is None:
        return NotLocated(NotLocatedReason.NO_DEPTH, "There is no depth image for this frame.")
    if camera is None:
        return NotLocated(NotLocatedReason.NO_CAMERA, "The camera's intrinsics are not known.")
    size, depth_size = (mask.shape[1], mask.shape[0]), (depth_m.shape[1], depth_m.shape[0])
    depth_m, camera = depth_on_grid(depth_m, size), camera_on_grid(camera, depth_size, size)
    problem = _problem(mask, depth_m, camera)
    if problem is not None:
        return problem
    rows, columns = _window(mask)
    part = rows, columns
    found = _locate(image[part], mask[part], depth_m[part], camera.cropped(rows, columns), settings)
    if isinstance(found, NotLocated):
        return found
    return replace(found, points=found.points.shifted(rows.start, columns.start, (mask.shape[0], mask.shape[1])))


def _window(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the part of the image that is needed: the mask and its surroundings."""
    x, y, width, height = bounding_box(mask)
    top, left = max(0, y - RING_PX), max(0, x - RING_PX)
    bottom, right = min(mask.shape[0], y + height + RING_PX), min(mask.shape[1], x + width + RING_PX)
    return slice(top, bottom), slice(left, right)


def _locate(
    image: NDArray[np.uint8], mask: Mask, depth_m: Depth, camera: CameraModel, settings: LocateSettings
) -> Located | NotLocated:
    given_m, depth_m = depth_m, without_noise(depth_m, mask)
    inner = core(mask, settings.points)
    share = float(np.count_nonzero(measured(depth_m) & inner) / np.count_nonzero(inner))
    points = points_of(object_pixels(mask, depth_m, settings.points), image, depth_m, camera)
    if share < settings.min_measured or len(points.xyz) < settings.min_points:
        return NotLocated(NotLocatedReason.TOO_SPARSE, _sparse(share, len(points.xyz), given_m[inner]))
    return _located(mask, points, depth_m, camera, share)


def _problem(mask: Mask, depth_m: Depth, camera: CameraModel) -> NotLocated | None:
    if not mask.any():
        return NotLocated(NotLocatedReason.NO_OBJECT, "There is no object to locate.")
    checked = (
        ("depth", depth_m.shape, "depth must be registered to the image, in its size or aspect"),
        ("camera_info", (camera.height, camera.width), "it must be that of the image"),
    )
    for what, (height, width), right in checked:
        if (height, width) != mask.shape:
            detail = f"The {what} is {width}x{height} and the image {mask.shape[1]}x{mask.shape[0]}: {right}."
            return NotLocated(NotLocatedReason.NOT_REGISTERED, detail)
    return None


def _sparse(share: float, count: int, given_m: Depth) -> str:
    """Why there are too few points, with the depth in the object as it arrived."""
    far_m = given_m[np.isfinite(given_m) & (given_m > MAX_DEPTH_M)]
    if 2 * len(far_m) > len(given_m):
        return (
            f"The object's depth is {float(np.median(far_m)):.0f} m; beyond {MAX_DEPTH_M:.0f} m nothing counts as"
            " measured. A depth image in 32FC1 must be in metres, not millimetres."
        )
    only = "Only " if share < 1.0 else ""
    return f"{only}{100 * share:.0f} % of the object has depth, and {count} of its points are usable: too few."


def _located(mask: Mask, points: ObjectPoints, depth_m: Depth, camera: CameraModel, share: float) -> Located:
    z = points.xyz[:, 2]
    low, middle, high = (float(value) for value in np.percentile(z, [5.0, 50.0, 95.0]))
    (x, y), *_ = camera.rays_of(np.array([centroid_pixel(mask)]))
    if not np.isfinite([x, y]).all():
        # The distortion model has no ray here, but the measured points have theirs.
        x, y = np.median(points.xyz[:, :2] / z[:, None], axis=0)
    centroid = (float(x) * middle, float(y) * middle, middle)
    box = box_around(points.xyz, support_of(mask, points, depth_m, camera))
    return Located(centroid, points, box, share, high - low)
