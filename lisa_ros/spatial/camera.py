# SPDX-License-Identifier: Apache-2.0
"""A calibrated camera as sensor_msgs/CameraInfo describes it: from pixels to rays and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import quoted

Floats = NDArray[np.float64]

COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""How many coefficients each distortion model may have; OpenCV's order, which is ROS's."""

MAX_INVERSE_ERROR_PX = 0.25
"""A ray is valid only if its projection is its pixel again, up to this: distortion models are ambiguous far outside."""


@dataclass(frozen=True)
class CameraModel:
    """A camera's intrinsics. Cameras with the same numbers are equal, so that a node can reuse one.

    Attributes:
        width: pixels.
        height: pixels.
        k: the nine numbers of the intrinsic matrix K, row by row, pixels.
        distortion: a key of `COEFFICIENTS`, or "" for none.
        coefficients: of the distortion.
    """

    width: int
    height: int
    k: tuple[float, ...]
    distortion: str = ""
    coefficients: tuple[float, ...] = ()

    @staticmethod
    def from_info(width: int, height: int, k: Sequence[float], model: str, d: Sequence[float]) -> CameraModel:
        """The camera of a raw image, from its CameraInfo.

        For a rectified image, pass the left 3x3 of P as k, and an empty d.

        Args:
            width: pixels.
            height: pixels.
            k: the nine numbers of K, row by row.
            model: the distortion model's name; ignored if there are no coefficients, or only zeros.
            d: the distortion's coefficients.

        Raises:
            ValueError: the camera is not calibrated, or its distortion is of an unknown kind.
        """
        numbers, coefficients = tuple(float(x) for x in k), tuple(float(x) for x in d)
        if width < 1 or height < 1:
            raise LisaError(f"the camera reports images of {width}x{height} pixels; both must be 1 or more")
        if len(numbers) != 9 or not np.isfinite(numbers).all() or numbers[0] <= 0.0 or numbers[4] <= 0.0:
            raise LisaError("the camera is not calibrated: K must be nine numbers with focal lengths above 0")
        if not np.isfinite(coefficients).all():
            raise LisaError("the camera's distortion has a coefficient that is not a number")
        if not any(coefficients):
            return CameraModel(width, height, numbers)
        _check_distortion(model, coefficients)
        return CameraModel(width, height, numbers, model, coefficients)

    @property
    def matrix(self) -> Floats:
        """K, (3, 3)."""
        return np.array(self.k, dtype=np.float64).reshape(3, 3)

    @cached_property
    def rays(self) -> NDArray[np.float32]:
        """(H, W, 2): x and y, at z = 1, of the ray through each pixel's centre; NaN where there is none."""
        v, u = np.mgrid[0 : self.height, 0 : self.width]
        pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64)
        return self.rays_of(pixels).reshape(self.height, self.width, 2).astype(np.float32)

    def cropped(self, rows: slice, columns: slice) -> CameraModel:
        """The camera of a part of the image; common pixels have the same rays.

        Args:
            rows: a slice with start and stop.
            columns: the same.
        """
        k = (*self.k[:2], self.k[2] - columns.start, *self.k[3:5], self.k[5] - rows.start, *self.k[6:])
        part = replace(self, width=columns.stop - columns.start, height=rows.stop - rows.start, k=k)
        part.__dict__["rays"] = self.rays[rows, columns]  # where cached_property stores it
        return part

    def rays_of(self, pixels: Floats) -> Floats:
        """The rays of pixels (u, v), whole numbers at the pixels' centres: their x and y at z = 1.

        Args:
            pixels: (N, 2).

        Returns:
            (N, 2); NaN where the distortion has no inverse.
        """
        if not len(pixels):
            return np.zeros((0, 2))
        points = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        d = np.array(self.coefficients)
        if self.distortion == "equidistant":
            found = cv2.fisheye.undistortPoints(points, self.matrix, d, criteria=criteria)
        else:
            found = cv2.undistortPointsIter(points, self.matrix, d, np.eye(3), np.eye(3), criteria)
        rays = np.asarray(found, dtype=np.float64).reshape(-1, 2)
        if self.distortion:
            projected = self.pixels_of(np.column_stack([rays, np.ones(len(rays))]))
            # Written with "not" because a comparison with NaN is False.
            rays[~(np.abs(projected - pixels).max(axis=1) <= MAX_INVERSE_ERROR_PX)] = np.nan
        return rays

    def pixels_of(self, points: Floats) -> Floats:
        """Project points in front of the camera.

        Args:
            points: (N, 3) metres, z above 0.

        Returns:
            (N, 2): u, v.
        """
        if not len(points):
            return np.zeros((0, 2))
        given = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 1, 3)
        zero, d = np.zeros(3), np.array(self.coefficients)
        if self.distortion == "equidistant":
            pixels, _ = cv2.fisheye.projectPoints(given, zero, zero, self.matrix, d)
        else:
            pixels, _ = cv2.projectPoints(given, zero, zero, self.matrix, d)
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)


def _check_distortion(model: str, coefficients: tuple[float, ...]) -> None:
    if model not in COEFFICIENTS:
        raise LisaError(f"the camera's distortion model is {quoted(model)}; known are {', '.join(COEFFICIENTS)}")
    if len(coefficients) not in COEFFICIENTS[model]:
        allowed = " or ".join(str(count) for count in COEFFICIENTS[model])
        raise LisaError(f"{model} has {allowed} coefficients, not {len(coefficients)}")
