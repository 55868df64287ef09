# SPDX-License-Identifier: Apache-2.0
"""The newest picture of the camera, kept as a message and decoded only when a command needs it."""

import dataclasses
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.nodes.conversions import Picture, picture_from
from lisa_ros.nodes.request import nanoseconds
from lisa_ros.segmenter import Frame, Segmenter
from lisa_ros.stillness import same_scene

# Sensor data (best effort is compatible with cameras of either kind), but only the newest.
CAMERA_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


class NoPictureError(Exception):
    """There is no picture to answer about; the text is one sentence for the operator."""


@dataclass(frozen=True)
class _Taken:
    message: Image | CompressedImage
    time_ns: int


@dataclass(frozen=True)
class Seen:
    """A picture the model has looked at, or one that shows the same still scene.

    Attributes:
        header: of the picture's own message.
        picture: RGB, (H, W, 3).
        frame: what the model saw, maybe in an earlier picture.
        known: whether an earlier command was about this frame.
    """

    header: Header
    picture: Picture
    frame: Frame
    known: bool


class Camera:
    """One camera topic. `take` is called by the executor's thread, the rest by any of the worker's."""

    def __init__(self, topic: str, now_ns: Callable[[], int]) -> None:
        """Nothing has come yet; `now_ns` tells the node's time, nanoseconds."""
        self.topic = topic
        self._now_ns = now_ns
        self._newest: _Taken | None = None
        self._seen: tuple[_Taken, Seen] | None = None
        self._looked_at: tuple[Picture, Frame] | None = None
        self._looking = threading.Lock()

    def take(self, message: Any) -> None:
        """Keep a message; the one before it is forgotten."""
        stamp = message.header.stamp
        # Drivers that set no stamp leave it at zero; such a picture is as old as its arrival.
        self._newest = _Taken(message, nanoseconds(stamp.sec, stamp.nanosec) or self._now_ns())

    def age_s(self) -> float | None:
        """Of the newest picture, seconds; None: none has come."""
        newest = self._newest
        return None if newest is None else (self._now_ns() - newest.time_ns) / 1e9

    def look(self, segmenter: Segmenter, reference_ns: int, max_age_s: float, same_frame_difference: float) -> Seen:
        """The newest picture, looked at once however many commands ask about it; once for all of a still scene.

        Args:
            segmenter: who looks.
            reference_ns: the time that the picture's age is counted back from.
            max_age_s: oldest picture wanted, seconds; 0: any.
            same_frame_difference: limit of `same_scene`, levels of 255.

        Raises:
            NoPictureError: none has come, or it is too old.
            ImageError: it cannot be decoded.
        """
        newest = self._newest
        if newest is None:
            raise NoPictureError(
                f"No picture has come on {self.topic} yet; check that the camera runs and publishes there."
            )
        self._check_age(newest, reference_ns, max_age_s)
        with self._looking:
            seen = self._seen_in(newest, segmenter, same_frame_difference)
            self._seen = (newest, dataclasses.replace(seen, known=True))
            return seen

    def _seen_in(self, taken: _Taken, segmenter: Segmenter, same_frame_difference: float) -> Seen:
        if self._seen is not None and self._seen[0] is taken:
            return self._seen[1]
        picture = picture_from(taken.message)
        # Compared with what was looked at, and not with the picture before: slow changes add up.
        known = self._looked_at is not None and same_scene(self._looked_at[0], picture, same_frame_difference)
        if self._looked_at is None or not known:
            self._looked_at = (picture, segmenter.look(picture))
        return Seen(taken.message.header, picture, self._looked_at[1], known)

    def _check_age(self, taken: _Taken, reference_ns: int, max_age_s: float) -> None:
        age_s = (reference_ns - taken.time_ns) / 1e9
        if max_age_s > 0 and age_s > max_age_s:
            raise NoPictureError(
                f"The newest picture on {self.topic} is from {age_s:.1f} s before the command; max_image_age allows"
                f" {max_age_s:g} s."
            )
