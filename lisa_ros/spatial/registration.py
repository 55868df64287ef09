# SPDX-License-Identifier: Apache-2.0
"""Whether a depth image is of the image's camera; brings it to the image's grid, with the intrinsics to match."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from lisa_ros.segmentation.text import quoted
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.points import Depth

Size = tuple[int, int]
"""Width and height, pixels."""


class OtherFrameError(ValueError):
    """The depth image is in another coordinate frame than the image."""


def check_frame_id(of_image: str, of_depth: str) -> None:
    """Compare the frame_ids of an image and its depth image; an empty one fits any.

    Raises:
        OtherFrameError: They differ; the text says what to switch on.
    """
    if of_image and of_depth and of_image != of_depth:
        raise OtherFrameError(
            f"The depth image has frame_id {quoted(of_depth)} and the image has {quoted(of_image)}: depth must be"
            " registered to the image and have its frame_id. Switch that on in the camera's driver (RealSense:"
            " align_depth.enable:=true; Orbbec: depth_registration:=true), or run depth_image_proc's register node and"
            " use its topic depth_registered/image_rect as `depth`."
        )


def depth_on_grid(depth_m: Depth, size: Size) -> Depth:
    """Depth at the image's pixels: of each, the value of the depth pixel that contains its centre.

    Neighbours are never averaged: between an object and its background there is nothing.

    Args:
        depth_m: (H, W) of the same view, in any resolution.
        size: of the image. Depth of another aspect is returned as it is.
    """
    if not _same_view((depth_m.shape[1], depth_m.shape[0]), size):
        return depth_m
    return np.asarray(cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.float32)


def camera_on_grid(camera: CameraModel, depth_size: Size, size: Size) -> CameraModel:
    """The camera of the image's pixels, from that of a depth image of another resolution.

    Args:
        camera: if it is not of the depth image's size, or that is of another aspect, it is returned as it is.
        depth_size: of the depth image, as it arrived.
        size: of the image.
    """
    if (camera.width, camera.height) != depth_size or not _same_view(depth_size, size):
        return camera
    return scaled(camera, size)


@lru_cache(maxsize=4)
def scaled(camera: CameraModel, size: Size) -> CameraModel:
    """The camera with its image resized. Equal arguments give the same object, which keeps its rays.

    Pixel centres are whole numbers, so that the image begins at -0.5: both ends of it move, not pixel 0.
    """
    x, y = size[0] / camera.width, size[1] / camera.height
    fx, skew, cx, _, fy, cy, *last = camera.k
    k = (fx * x, skew * x, (cx + 0.5) * x - 0.5, 0.0, fy * y, (cy + 0.5) * y - 0.5, *last)
    return replace(camera, width=size[0], height=size[1], k=k)


def _same_view(first: Size, second: Size) -> bool:
    """Whether two images of one camera can show the same view: other sizes of the same aspect."""
    return first != second and same_aspect(first, second)


def same_aspect(first: Size, second: Size) -> bool:
    """Whether two images have the same ratio of width and height. An image without pixels has none."""
    return min(*first, *second) > 0 and first[0] * second[1] == second[0] * first[1]
