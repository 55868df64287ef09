# SPDX-License-Identifier: Apache-2.0
"""Finds out why the camera's messages, as they arrive, give no 3-D positions; for diagnostics."""

import math
from collections.abc import Callable
from itertools import dropwhile
from statistics import median

from lisa_ros.nodes.common.conversions import check_depth, size_of
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, FrameBuffer
from lisa_ros.nodes.lisa.camera.serialized_messages import message_of
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.text import quoted
from lisa_ros.spatial.camera_info import camera_from
from lisa_ros.spatial.registration import OtherFrameError, Size, check_frame_id, same_aspect

_FAR_S = 1.0
"""Beyond this, another sync_tolerance would pair images with depth of another scene."""
_ENOUGH_FRAMES, _OFTEN = 4, 0.4
"""Of at least so many frames, so large a share without depth is no single loss."""
_NO_POSITION = "answers have no 3-D position"
_REMAP_INFO = "Remap `camera_info` to the topic of the colour camera that `image` is from."


class DepthCheck:
    """Looks at the newest frames. A camera without depth is no fault."""

    def __init__(self, frames: FrameBuffer, rectified: Callable[[], bool] = lambda: False) -> None:
        """Look at the frames of a buffer; `rectified` returns whether images are rectified."""
        self._frames, self._rectified = frames, rectified

    def offset_s(self) -> float:
        """Median difference between the stamps of images and of their nearest depth images; nan: no depth arrives."""
        offsets = [frame.depth_away_ns for frame in self._complete_frames() if frame.depth_away_ns is not None]
        return median(offsets) / 1e9 if offsets else math.nan

    def trouble(self) -> str:
        """One sentence, with what to set; empty if nothing is wrong, or no depth is published."""
        frames = self._complete_frames()
        offset_s = self.offset_s()
        if not frames or math.isnan(offset_s):
            return ""
        if all(frame.received_depth is None for frame in frames):
            return self._unpaired(offset_s)
        newest = next(frame for frame in reversed(frames) if frame.received_depth is not None)
        if newest.info is None:
            return f"No camera_info arrives: {_NO_POSITION}. Remap it to the topic of the colour camera."
        return self._unusable(newest) or self._rare(frames)

    def _complete_frames(self) -> list[CameraFrame]:
        """The kept frames without the newest one, whose depth image may still be on its way."""
        return self._frames.kept()[:-1]

    def _unpaired(self, offset_s: float) -> str:
        if offset_s > _FAR_S:
            return (
                f"Depth images are stamped {offset_s:.1f} s from the images: {_NO_POSITION}. Check that"
                " the camera still publishes depth, and that both have stamps of one clock."
            )
        return (
            f"Depth images are stamped {1000 * offset_s:.0f} ms from the images and sync_tolerance allows"
            f" {1000 * self._frames.tolerance_s():.0f} ms:"
            " answers have no 3-D position. Synchronise the camera's streams,"
            f" or set sync_tolerance to {math.ceil(1500 * offset_s) / 1000:.3f}."
        )

    def _rare(self, frames: list[CameraFrame]) -> str:
        """A sentence if many images have no depth image of their moment, from the first one that has one."""
        frames = list(dropwhile(lambda frame: frame.received_depth is None, frames))  # depth may have started later
        without = sum(frame.received_depth is None for frame in frames)
        if len(frames) < _ENOUGH_FRAMES or without < _OFTEN * len(frames):
            return ""
        return (
            f"{without} of the newest {len(frames)} images have no depth image within sync_tolerance"
            f" ({1000 * self._frames.tolerance_s():.0f} ms): answers about them have no 3-D position. Let the camera"
            " publish depth at the rate of its images, or raise sync_tolerance."
        )

    def _unusable(self, frame: CameraFrame) -> str:
        """Why the depth image and the intrinsics of a frame give no positions; empty: nothing is known."""
        depth, info = frame.received_depth, frame.info
        assert depth is not None and info is not None
        try:
            size = size_of(message_of(frame.received))
        except ImageError:  # Camera.trouble reports it
            return ""
        try:
            check_frame_id(frame.header.frame_id, depth.header.frame_id)
            depth_size = check_depth(message_of(depth))
            camera = camera_from(info, self._rectified(), size)
        except (OtherFrameError, ImageError) as error:
            return f"Depth cannot be used, and {_NO_POSITION}: {error}"
        except ValueError as error:
            return f"The camera_info cannot be used, and {_NO_POSITION}: {error}."
        mismatch = _mismatch(size, depth_size, (camera.width, camera.height))
        return mismatch or _of_another_camera(frame.header.frame_id, info.header.frame_id)


def _mismatch(size: Size, of_depth: Size, of_info: Size) -> str:
    """A sentence if depth or intrinsics are not of the image; all sizes are (width, height)."""
    width, height = size
    if not same_aspect(of_depth, size):
        return (
            f"The depth image is {of_depth[0]}x{of_depth[1]} and the image {width}x{height}: {_NO_POSITION}. Depth must"
            " be registered to the image, in its size or aspect."
        )
    if of_info not in (size, of_depth):
        return (
            f"The camera_info is {of_info[0]}x{of_info[1]} and the image {width}x{height}: {_NO_POSITION}."
            f" {_REMAP_INFO}"
        )
    return ""


def _of_another_camera(of_image: str, of_info: str) -> str:
    """A sentence if the intrinsics are in another frame than the image. Some simulators name two for one camera."""
    if not of_image or not of_info or of_image == of_info:
        return ""
    return (
        f"The camera_info has frame_id {quoted(of_info)} and the image has {quoted(of_image)}: if it is of another"
        f" camera, 3-D positions are wrong. {_REMAP_INFO}"
    )
