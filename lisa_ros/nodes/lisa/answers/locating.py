# SPDX-License-Identifier: Apache-2.0
"""3-D positions of objects from the depth image and the intrinsics of their frame."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lisa_ros.nodes.common.conversions import ImageError, RgbImage, depth_from
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.nodes.lisa.camera.serialized_messages import SerializedMessage, message_of
from lisa_ros.segmentation.answers import Mask
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.camera_info import camera_from
from lisa_ros.spatial.locating import Located, NotLocated, NotLocatedReason, locate
from lisa_ros.spatial.registration import OtherFrameError, Size, check_frame_id, depth_on_grid

DepthMessage: TypeAlias = Image | CompressedImage | SerializedMessage
"""A depth image as it was received."""

_Source: TypeAlias = tuple[DepthMessage | None, CameraInfo | None, bool, Size]
"""Depth image, intrinsics, whether images are rectified, and the image's size."""

Location = Located | NotLocated
"""An object's 3-D position, or the reason why there is none."""


@dataclass(frozen=True)
class _Measured:
    """Depth and camera model of a frame.

    Attributes:
        of: What they were made from, not the frame, which would keep its encoded image in memory.
        depth_m: Depth in metres (H, W); None: not available.
        camera: The camera model; None: not available.
        trouble: Why an object of this frame cannot be located; None: no reason known yet.
    """

    of: _Source
    depth_m: NDArray[np.float32] | None
    camera: CameraModel | None
    trouble: NotLocated | None


class Locator:
    """Locates objects. Keeps the camera model and the last frame's depth. Safe to use from several threads."""

    def __init__(self, rectified: Callable[[], bool]) -> None:
        """Start without a camera model; `rectified` returns whether images are rectified."""
        self._rectified = rectified
        self._lock = threading.Lock()
        self._camera: CameraModel | None = None
        self._measured: _Measured | None = None

    def locate(self, frame: CameraFrame | None, image: RgbImage, mask: Mask) -> Location:
        """Locate an object. Missing or poor depth is not an error.

        Args:
            frame: Has the depth image and the intrinsics; None: there are none.
            image: The frame's image, RGB (H, W, 3).
            mask: Of the object, (H, W).
        """
        if frame is None:
            return NotLocated(NotLocatedReason.NO_DEPTH, "There is no depth image for this frame.")
        measured = self._of(frame, (mask.shape[1], mask.shape[0]))
        if measured.trouble is not None:
            return measured.trouble
        if measured.depth_m is None and frame.depth_away_ns is not None:
            away_ms = frame.depth_away_ns / 1e6
            detail = f"There is no depth image for this frame: the nearest is {away_ms:.0f} ms away (sync_tolerance)."
            return NotLocated(NotLocatedReason.NO_DEPTH, detail)
        return locate(image, mask, measured.depth_m, measured.camera)

    def depth_m(self, frame: CameraFrame | None, mask: Mask) -> NDArray[np.float32] | None:
        """Depth of a frame in metres, (H, W) of the mask; None: there is none that fits the mask."""
        size = mask.shape[1], mask.shape[0]
        depth_m = self._of(frame, size).depth_m if frame is not None else None
        if depth_m is not None:
            depth_m = depth_on_grid(depth_m, size)
        return depth_m if depth_m is not None and depth_m.shape == mask.shape else None

    def _of(self, frame: CameraFrame, size: Size) -> _Measured:
        depth = frame.await_depth()  # outside of the lock: another frame's object must not wait
        with self._lock:
            of = (depth, frame.info, self._rectified(), size)
            if self._measured is None or not _same(self._measured.of, of):
                self._measured = self._read(frame, *of)
            return self._measured

    def _read(
        self, frame: CameraFrame, depth: DepthMessage | None, info: CameraInfo | None, rectified: bool, size: Size
    ) -> _Measured:
        depth_m = camera = trouble = None
        try:
            if info is not None:
                camera = self._camera_of(info, rectified, size)
        except ValueError as error:
            trouble = NotLocated(NotLocatedReason.NO_CAMERA, f"The camera_info cannot be used: {error}.")
        try:
            if depth is not None:
                check_frame_id(frame.header.frame_id, depth.header.frame_id)
                depth_m = depth_from(message_of(depth))
        except OtherFrameError as error:
            trouble = NotLocated(NotLocatedReason.NOT_REGISTERED, str(error))
        except ImageError as error:
            trouble = NotLocated(NotLocatedReason.NO_DEPTH, str(error))
        return _Measured((depth, info, rectified, size), depth_m, camera, trouble)

    def _camera_of(self, info: CameraInfo, rectified: bool, size: Size) -> CameraModel:
        camera = camera_from(info, rectified, size)
        # An equal model is reused because the rays of its pixels are computed already.
        if camera != self._camera:
            self._camera = camera
        return self._camera


def _same(first: _Source, second: _Source) -> bool:
    """Whether both are the same messages, not only equal ones."""
    return first[0] is second[0] and first[1] is second[1] and first[2:] == second[2:]
