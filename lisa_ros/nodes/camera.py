# SPDX-License-Identifier: Apache-2.0
"""The newest picture of the camera, kept as a message and decoded only when a command needs it."""

from dataclasses import dataclass
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.nodes.conversions import Picture, picture_from
from lisa_ros.nodes.request import nanoseconds
from lisa_ros.segmenter import Frame, Segmenter

# Sensor data (best effort is compatible with cameras of either kind), but only the newest.
CAMERA_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


class NoPictureError(Exception):
    """There is no picture to answer about; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Seen:
    """A picture the model has looked at."""

    header: Header
    picture: Picture
    frame: Frame


class Camera:
    """One camera topic. `take` is called by the executor's thread, the rest by the worker's."""

    def __init__(self, topic: str) -> None:
        """Nothing has come yet."""
        self.topic = topic
        self._newest: Image | CompressedImage | None = None
        self._looked_at: tuple[Image | CompressedImage, Seen] | None = None

    def take(self, message: Any) -> None:
        """Keep a message; the one before it is forgotten."""
        self._newest = message

    def look(self, segmenter: Segmenter, reference_ns: int, max_age_s: float) -> Seen:
        """The newest picture, looked at once however many commands ask about it.

        Args:
            segmenter: who looks.
            reference_ns: the time that the picture's age is counted back from.
            max_age_s: oldest picture wanted, seconds; 0: any.

        Raises:
            NoPictureError: none has come, or it is too old.
            ImageError: it cannot be decoded.
        """
        message = self._newest
        if message is None:
            raise NoPictureError(
                f"No picture has come on {self.topic} yet; check that the camera runs and publishes there."
            )
        self._check_age(message.header, reference_ns, max_age_s)
        if self._looked_at is None or self._looked_at[0] is not message:
            picture = picture_from(message)
            self._looked_at = (message, Seen(message.header, picture, segmenter.look(picture)))
        return self._looked_at[1]

    def _check_age(self, header: Header, reference_ns: int, max_age_s: float) -> None:
        age_s = (reference_ns - nanoseconds(header.stamp.sec, header.stamp.nanosec)) / 1e9
        if max_age_s > 0 and age_s > max_age_s:
            raise NoPictureError(
                f"The newest picture on {self.topic} is stamped {age_s:.1f} s before the command; max_image_age allows"
                f" {max_age_s:g} s."
            )
