# SPDX-License-Identifier: Apache-2.0
"""Where an object is in metres, or why that cannot be said."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.masks import bounding_box, centroid_pixel
from lisa_ros.spatial.box import OrientedBox, Vector, box_around
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.points import Depth, Mask, ObjectPoints, PointSettings, core, measured, object_pixels, points_of
from lisa_ros.spatial.support import RING_PX, support_of

__all__ = ["LocateSettings", "Located", "NotLocated", "OrientedBox", "WhyNot", "locate"]


@dataclass(frozen=True)
class LocateSettings:
    """What is needed to say where an object is.

    Attributes:
        points: how its points are chosen.
        least_points: fewer are too few.
        least_measured: the part of the mask, without its border, that depth must have measured.
    """

    points: PointSettings = field(default_factory=PointSettings)
    least_points: int = 20
    least_measured: float = 0.05


class WhyNot(Enum):
    """Why an object has no place in metres. The masks and pixels of an answer do not depend on it."""

    NO_OBJECT = "no object"
    NO_DEPTH = "no depth"
    NO_CAMERA = "no camera"
    NOT_REGISTERED = "not registered"
    TOO_SPARSE = "too sparse"


@dataclass(frozen=True)
class NotLocated:
    """The object has no place in metres.

    Attributes:
        why: for programs.
        detail: one sentence for people.
    """

    why: WhyNot
    detail: str


@dataclass(frozen=True)
class Located:
    """Where an object is, in the camera's optical frame, metres.

    Attributes:
        centroid_m: the point of its visible surface that the answer's pixel centroid stands for: on the ray through
            `segmentation.masks.centroid_pixel`, at the median of the object's points along the optical axis. It
            is on the side that the camera sees, not in the object's middle: that is `box.centre_m`, which assumes an
            object that fills its box and, on a support, stands on it.
        points: of its visible surface.
        box: around them, and its axes. centroid_m with box.orientation is the object's pose.
        measured: the part of the mask, without its border, that depth measured, 0 to 1.
        spread_m: the points' depths lie so far apart: from their 5th to their 95th percentile.
    """

    centroid_m: Vector
    points: ObjectPoints
    box: OrientedBox
    measured: float
    spread_m: float


def locate(
    image: NDArray[np.uint8],
    mask: Mask,
    depth_m: Depth | None,
    camera: CameraModel | None,
    settings: LocateSettings | None = None,
) -> Located | NotLocated:
    """Where an object is.

    Args:
        image: RGB (H, W, 3) uint8.
        mask: (H, W) of the object.
        depth_m: (H, W) float32, metres along the optical axis, registered to the image; NaN, infinite or 0 where
            nothing was measured. None: there is none.
        camera: that took the image. None: it is not known.
        settings: other than the defaults.

    Returns:
        where it is, or why that cannot be said: missing or poor depth is no error.

    Raises:
        ValueError: the mask is not of the image's size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask must be {image.shape[:2]} as its image is, not {mask.shape}")
    settings = settings or LocateSettings()
    if depth_m is None:
        return NotLocated(WhyNot.NO_DEPTH, "There is no depth image for this picture.")
    if camera is None:
        return NotLocated(WhyNot.NO_CAMERA, "The camera's intrinsics are not known.")
    amiss = _amiss(mask, depth_m, camera)
    if amiss is not None:
        return amiss
    rows, columns = _window(mask)
    part = rows, columns
    found = _locate(image[part], mask[part], depth_m[part], camera.cropped(rows, columns), settings)
    if isinstance(found, NotLocated):
        return found
    return replace(found, points=found.points.shifted(rows.start, columns.start, (mask.shape[0], mask.shape[1])))


def _window(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of all that counts for an object: its mask and what is around it."""
    x, y, width, height = bounding_box(mask)
    top, left = max(0, y - RING_PX), max(0, x - RING_PX)
    bottom, right = min(mask.shape[0], y + height + RING_PX), min(mask.shape[1], x + width + RING_PX)
    return slice(top, bottom), slice(left, right)


def _locate(
    image: NDArray[np.uint8], mask: Mask, depth_m: Depth, camera: CameraModel, settings: LocateSettings
) -> Located | NotLocated:
    inner = core(mask, settings.points)
    share = float(np.count_nonzero(measured(depth_m) & inner) / np.count_nonzero(inner))
    points = points_of(object_pixels(mask, depth_m, settings.points), image, depth_m, camera)
    if share < settings.least_measured or len(points.xyz) < settings.least_points:
        return NotLocated(WhyNot.TOO_SPARSE, _sparse(share, len(points.xyz)))
    return _located(mask, points, depth_m, camera, share)


def _amiss(mask: Mask, depth_m: Depth, camera: CameraModel) -> NotLocated | None:
    if not mask.any():
        return NotLocated(WhyNot.NO_OBJECT, "There is no object to locate.")
    for what, (height, width) in (("depth", depth_m.shape), ("camera_info", (camera.height, camera.width))):
        if (height, width) != mask.shape:
            of_image = f"{mask.shape[1]}x{mask.shape[0]}"
            detail = f"The {what} is {width}x{height} and the image {of_image}: depth must be registered to the image."
            return NotLocated(WhyNot.NOT_REGISTERED, detail)
    return None


def _sparse(share: float, count: int) -> str:
    return f"Depth measured {100 * share:.0f} % of the object and left {count} points of it: too few."


def _located(mask: Mask, points: ObjectPoints, depth_m: Depth, camera: CameraModel, share: float) -> Located:
    z = points.xyz[:, 2]
    low, middle, high = (float(value) for value in np.percentile(z, [5.0, 50.0, 95.0]))
    (x, y), *_ = camera.rays_of(np.array([centroid_pixel(mask)]))
    if not np.isfinite([x, y]).all():
        # The lens's formula has no ray here, but the points that there are have theirs.
        x, y = np.median(points.xyz[:, :2] / z[:, None], axis=0)
    centroid = (float(x) * middle, float(y) * middle, middle)
    box = box_around(points.xyz, support_of(mask, points, depth_m, camera))
    return Located(centroid, points, box, share, high - low)
