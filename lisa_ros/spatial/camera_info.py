# SPDX-License-Identifier: Apache-2.0
"""The camera model of an image, from a sensor_msgs/CameraInfo or any object with its fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.registration import Size, scaled

# In widths of the image. They are wide, because an image may be a small part of the sensor's, with its intrinsics.
_LEAST_FOCAL, _MOST_FOCAL, _MOST_CENTRE = 1e-3, 1e5, 1e3


def camera_from(info: Any, rectified: bool, size: Size) -> CameraModel:
    """The camera that took an image.

    A CameraInfo describes the full sensor. Where its size is not the image's, and its region of interest and binning
    lead to the image's size, the camera is that part of the sensor.

    Args:
        info: The CameraInfo.
        rectified: True: P counts, without distortion. False: K and the distortion D.
        size: Of the image.

    Raises:
        LisaError: The camera is not calibrated, or its distortion is of an unknown kind.
    """
    if rectified:
        rows = np.asarray(info.p, dtype=float).reshape(3, 4)[:, :3]
        camera = CameraModel.from_info(info.width, info.height, rows.ravel().tolist(), "", ())
    else:
        camera = CameraModel.from_info(info.width, info.height, info.k, info.distortion_model, info.d)
    _check_plausible(camera)
    if (camera.width, camera.height) == size:
        return camera
    delivered = _delivered(camera, info)
    return delivered if (delivered.width, delivered.height) == size else camera


def _check_plausible(camera: CameraModel) -> None:
    """Refuse numbers that no lens has, such as those of memory that was never set; they give positions far away."""
    side, (fx, _, cx, _, fy, cy, *_) = max(camera.width, camera.height), camera.k
    if not (_LEAST_FOCAL * side <= min(fx, fy) and max(fx, fy) <= _MOST_FOCAL * side):
        raise LisaError(f"the focal lengths {fx:g} and {fy:g} pixels do not fit an image of {side} pixels")
    if max(abs(cx), abs(cy)) > _MOST_CENTRE * side:
        raise LisaError(f"the optical centre ({cx:g}, {cy:g}) does not fit an image of {side} pixels")


def _delivered(camera: CameraModel, info: Any) -> CameraModel:
    """The part of the sensor that the images show: first the region of interest, then the binning."""
    region = info.roi
    if region.x_offset + region.width > camera.width or region.y_offset + region.height > camera.height:
        return camera  # its size is not the image's; that is reported
    if region.width and region.height:
        k = (*camera.k[:2], camera.k[2] - region.x_offset, *camera.k[3:5], camera.k[5] - region.y_offset, *camera.k[6:])
        camera = replace(camera, width=int(region.width), height=int(region.height), k=k)
    width, height = camera.width // max(1, info.binning_x), camera.height // max(1, info.binning_y)
    return scaled(camera, (width, height)) if width and height else camera
