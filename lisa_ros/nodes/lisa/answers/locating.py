# SPDX-License-Identifier: Apache-2.0
"""Objects' places in metres, from the depth and the intrinsics that came with their picture."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from lisa_ros.nodes.common.conversions import ImageError, RgbImage, depth_from
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.segmentation.answers import Mask
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.locating import Located, NotLocated, WhyNot, locate

Place = Located | NotLocated


@dataclass(frozen=True)
class _Measured:
    """What a frame's messages say; None where they say nothing usable, and then why.

    `of` holds the messages and not the frame, which would keep all that the model saw in it.
    """

    of: tuple[Image | None, CameraInfo | None, bool]
    depth_m: NDArray[np.float32] | None
    camera: CameraModel | None
    trouble: NotLocated | None


class Locator:
    """Keeps what it made of a camera's intrinsics, and of the depth of the last frame. For any thread."""

    def __init__(self, rectified: Callable[[], bool]) -> None:
        """`rectified` tells whether pictures are without the lens's distortion already."""
        self._rectified = rectified
        self._lock = threading.Lock()
        self._camera: CameraModel | None = None
        self._measured: _Measured | None = None

    def place(self, frame: CameraFrame | None, picture: RgbImage, mask: Mask) -> Place:
        """Where an object is; missing or poor depth is no error.

        Args:
            frame: whose depth and intrinsics count; None: there are none.
            picture: its picture, RGB.
            mask: of the object, of the picture's size.
        """
        if frame is None:
            return NotLocated(WhyNot.NO_DEPTH, "There is no depth image for this picture.")
        measured = self._of(frame)
        if measured.trouble is not None:
            return measured.trouble
        return locate(picture, mask, measured.depth_m, measured.camera)

    def _of(self, frame: CameraFrame) -> _Measured:
        with self._lock:
            of = (frame.await_depth(), frame.info, self._rectified())
            if self._measured is None or any(a is not b for a, b in zip(self._measured.of, of, strict=True)):
                self._measured = self._read(frame, *of)
            return self._measured

    def _read(self, frame: CameraFrame, depth: Image | None, info: CameraInfo | None, rectified: bool) -> _Measured:
        depth_m = camera = trouble = None
        try:
            if info is not None:
                camera = self._camera_of(info, rectified)
        except ValueError as error:
            trouble = NotLocated(WhyNot.NO_CAMERA, f"The camera_info cannot be used: {error}.")
        try:
            if depth is not None:
                _check_frame_id(frame, depth)
                depth_m = depth_from(depth)
        except _OtherFrameError as error:
            trouble = NotLocated(WhyNot.NOT_REGISTERED, str(error))
        except ImageError as error:
            trouble = NotLocated(WhyNot.NO_DEPTH, str(error))
        return _Measured((depth, info, rectified), depth_m, camera, trouble)

    def _camera_of(self, info: CameraInfo, rectified: bool) -> CameraModel:
        if rectified:
            rows = np.asarray(info.p, dtype=float).reshape(3, 4)[:, :3]
            camera = CameraModel.from_info(info.width, info.height, rows.ravel().tolist(), "", ())
        else:
            camera = CameraModel.from_info(info.width, info.height, info.k, info.distortion_model, info.d)
        # The model that is kept has its pixels' rays computed already.
        if camera != self._camera:
            self._camera = camera
        return self._camera


class _OtherFrameError(ValueError):
    """The depth is another camera's."""


def _check_frame_id(frame: CameraFrame, depth: Image) -> None:
    of_image, of_depth = frame.image.header.frame_id, depth.header.frame_id
    if of_image and of_depth and of_image != of_depth:
        raise _OtherFrameError(
            f"The depth image is in the frame {of_depth!r} and the picture in {of_image!r}: depth must be registered"
            f" to the picture, and say so."
        )
