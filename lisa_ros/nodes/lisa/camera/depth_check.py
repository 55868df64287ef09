# SPDX-License-Identifier: Apache-2.0
"""Finds out why the camera's messages, as they arrive, give no 3-D positions; for diagnostics."""

import math
from statistics import median

from lisa_ros.nodes.common.conversions import size_of
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, FrameBuffer
from lisa_ros.nodes.lisa.camera.serialized_messages import message_of
from lisa_ros.segmentation.errors import ImageError

_FAR_S = 1.0
"""Beyond this, another sync_tolerance would pair images with depth of another scene."""


class DepthCheck:
    """Looks at the newest frames. A camera without depth is no fault."""

    def __init__(self, frames: FrameBuffer) -> None:
        """Look at the frames of a buffer."""
        self._frames = frames

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
        newest = frames[-1]
        if newest.info is None:
            return "No camera_info arrives: answers have no 3-D position. Remap it to the topic of the colour camera."
        return self._mismatch(newest)

    def _complete_frames(self) -> list[CameraFrame]:
        """The kept frames without the newest one, whose depth image may still be on its way."""
        return self._frames.kept()[:-1]

    def _unpaired(self, offset_s: float) -> str:
        if offset_s > _FAR_S:
            return (
                f"Depth images are stamped {offset_s:.1f} s from the images: answers have no 3-D position. Check that"
                " the camera still publishes depth, and that both have stamps of one clock."
            )
        return (
            f"Depth images are stamped {1000 * offset_s:.0f} ms from the images and sync_tolerance allows"
            f" {1000 * self._frames.tolerance_s():.0f} ms:"
            " answers have no 3-D position. Synchronise the camera's streams,"
            f" or set sync_tolerance to {math.ceil(1500 * offset_s) / 1000:.3f}."
        )

    def _mismatch(self, frame: CameraFrame) -> str:
        depth, info = frame.received_depth, frame.info
        assert info is not None
        try:
            size = size_of(message_of(frame.received))
            sizes = {size} if depth is None else {size, size_of(message_of(depth))}
        except ImageError:  # the answer says what is wrong with it
            return ""
        if (info.width, info.height) not in sizes:
            return (
                f"The camera_info is {info.width}x{info.height} and the image {size[0]}x{size[1]}: answers have no 3-D"
                " position. Remap `camera_info` to the topic of the colour camera that `image` is from."
            )
        return ""
