# SPDX-License-Identifier: Apache-2.0
"""Chooses the frame that a command is about, and encodes it when it is first needed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from lisa_ros.nodes.common.conversions import RgbImage, check_image, largest_if_nearly_black, rgb_image_from
from lisa_ros.nodes.lisa.camera.arrivals import Arrivals
from lisa_ros.nodes.lisa.camera.depth_check import DepthCheck
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame, FrameBuffer
from lisa_ros.segmentation.errors import ImageError
from lisa_ros.segmentation.interface import EncodedImage, Segmenter
from lisa_ros.tracking.stillness import same_scene

NEWEST, NEAREST = "newest", "nearest"
COMMAND_FRAMES = (NEWEST, NEAREST)
"""The values of command_frame: the newest frame, or the one nearest to the command's stamp."""

_DAY_S = 86_400.0
_AHEAD_S = 1.0
"""Stamps that are further ahead of the node's clock are of another clock."""
_CLOCK_ADVICE = (
    "If a simulator or a bag publishes /clock, set use_sim_time to true for this node and for the sender of commands."
)
_TWO_MACHINES = (
    "The clocks of the two machines differ: synchronise them (chrony). For a recorded bag, play it with --clock and set"
    " use_sim_time to true."
)


class NoImageError(Exception):
    """There is no usable image for a command; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Choice:
    """Which frame a command needs.

    Attributes:
        stamp_ns: The command's stamp in nanoseconds; 0 or less: not set.
        reserved: The frame that was reserved when the command arrived; None: none was.
        command_frame: One of COMMAND_FRAMES. Without a stamp, the newest frame is used.
        max_age_s: Maximum age of the image in seconds; 0: no limit.
    """

    stamp_ns: int = 0
    reserved: CameraFrame | None = None
    command_frame: str = NEWEST
    max_age_s: float = 0.0

    @property
    def nearest(self) -> bool:
        """Whether the frame is chosen by the command's stamp."""
        return self.command_frame == NEAREST and self.stamp_ns > 0


class Camera:
    """The frames of one camera, encoded on demand. Safe to use from several threads."""

    def __init__(
        self,
        topic: str,
        frames: FrameBuffer,
        now_ns: Callable[[], int],
        arrivals: Arrivals | None = None,
        rectified: Callable[[], bool] = lambda: False,
    ) -> None:
        """Use the frames of a buffer.

        Args:
            topic: Of the images, for messages to people.
            frames: The camera's frames.
            now_ns: Returns the node's time in nanoseconds.
            arrivals: Counts the images; None: nothing is counted.
            rectified: Returns whether images are rectified.
        """
        self.topic, self.frames = topic, frames
        self.arrivals = arrivals or Arrivals(topic, "")
        self.depth = DepthCheck(frames, rectified)
        self._now_ns = now_ns
        self._last_encoded: tuple[RgbImage, EncodedImage] | None = None
        self._encode_lock = threading.Lock()

    def age_s(self) -> float | None:
        """Age of the newest image in seconds; None: no image has arrived."""
        newest = self.frames.newest()
        return None if newest is None else (self._now_ns() - newest.time_ns) / 1e9

    def choose(self, choice: Choice) -> CameraFrame:
        """The frame that a command is about.

        Raises:
            NoImageError: No image has arrived, or none is recent enough.
        """
        if choice.nearest:
            candidates = [one for one in (choice.reserved, self.frames.nearest(choice.stamp_ns)) if one is not None]
            chosen = min(candidates, key=lambda one: abs(one.time_ns - choice.stamp_ns), default=None)
        else:
            chosen = self.frames.newest()
        if chosen is None:
            raise NoImageError(self.trouble())
        self._check_age(chosen, choice)
        chosen.note = self.arrivals.newer_lost() if chosen is self.frames.newest() else ""
        return chosen

    def trouble(self, max_age_s: float = 0.0) -> str:
        """Why commands cannot be answered now, or only about old images; one or two sentences, empty if they can.

        Args:
            max_age_s: Maximum age of the image in seconds; 0: no limit.
        """
        age_s = self.age_s()
        if age_s is None:
            return f"No image has arrived on {self.topic} yet. {self.arrivals.missing()}"
        if abs(age_s) > _DAY_S:
            return f"The images on {self.topic} have stamps of another clock than the node's. {_CLOCK_ADVICE}"
        if 0 < max_age_s < age_s:
            old = f"The newest image on {self.topic} is {age_s:.1f} s old; max_image_age allows {max_age_s:g} s."
            return f"{old} {self._why_late(age_s, max_age_s)}"
        if age_s < -_AHEAD_S:
            return f"The images on {self.topic} are stamped {-age_s:.1f} s in the future. {_TWO_MACHINES}"
        return self.arrivals.trouble() or self._undecodable()

    def encode(self, segmenter: Segmenter, frame: CameraFrame, same_frame_difference: float) -> EncodedFrame:
        """Encode a frame, once for all commands about it and once for all frames of a still scene.

        Args:
            segmenter: The model.
            frame: From `choose`.
            same_frame_difference: Limit of `same_scene`, in levels of 255.

        Raises:
            ImageError: The image cannot be decoded.
            NoImageError: The model does not accept images of this shape.
        """
        with self._encode_lock:
            encoded = frame.encoded or self._encode(segmenter, frame, same_frame_difference)
            # Without the frame itself: a cycle would keep the encoding until the garbage collector comes.
            frame.encoded = replace(encoded, known=True, source=None)
            return replace(encoded, source=frame)

    def _why_late(self, age_s: float, max_age_s: float) -> str:
        """Why the newest image is old: it already was when it arrived, or none arrives any more."""
        since_s = self.arrivals.since_s()
        if since_s <= max_age_s < age_s - since_s:
            return f"It arrived {since_s:.1f} s ago with this stamp. {_TWO_MACHINES}"
        return self.arrivals.missing()

    def _late_reason(self, choice: Choice) -> str:
        """As `_why_late`; empty if the command alone is too new for the images."""
        age_s = self.age_s()
        return self._why_late(age_s, choice.max_age_s) if age_s is not None and age_s > choice.max_age_s else ""

    def _undecodable(self) -> str:
        """Why the newest image cannot be used, as far as its encoding, sizes and header say; empty: it can.

        Images of 16 bits that are nearly black are decoded, but there is little to see in them.
        """
        newest = self.frames.newest()
        if newest is None:
            return ""
        try:
            check_image(newest.image)
            largest = largest_if_nearly_black(newest.image)
        except ImageError as error:
            return f"The images on {self.topic} cannot be used. {error}"
        if largest is None:
            return ""
        return (
            f"The images on {self.topic} are nearly black: the largest value is {largest} of 65535. If the sensor has"
            " fewer than 16 bits, let its driver shift the values to the upper bits, or publish 8 bits."
        )

    def _encode(self, segmenter: Segmenter, frame: CameraFrame, same_frame_difference: float) -> EncodedFrame:
        image = rgb_image_from(frame.image)
        # Compared with the image that was encoded, not with the previous one: otherwise slow changes would add up.
        known = self._last_encoded is not None and same_scene(self._last_encoded[0], image, same_frame_difference)
        if self._last_encoded is None or not known:
            self._last_encoded = (image, self._encoded_by(segmenter, image))
        return EncodedFrame(frame.header, image, self._last_encoded[1], known, frame)

    def _encoded_by(self, segmenter: Segmenter, image: RgbImage) -> EncodedImage:
        try:
            return segmenter.encode(image)
        except ImageError as error:
            raise NoImageError(f"The image on {self.topic} cannot be used: {error}.") from error

    def _check_age(self, frame: CameraFrame, choice: Choice) -> None:
        now_ns, since = self._now_ns(), "the command"
        stamp_ns = choice.stamp_ns if choice.stamp_ns > 0 else now_ns
        age_s = (stamp_ns - frame.time_ns) / 1e9
        if not choice.nearest and age_s < -choice.max_age_s < 0:  # the command waited, or its sender's clock is slow
            stamp_ns, since = now_ns, "the node's clock"
            age_s = (stamp_ns - frame.time_ns) / 1e9
        if 0 < choice.max_age_s < abs(age_s) and abs(age_s) > _DAY_S and (age_s > 0 or choice.nearest):
            raise NoImageError(
                f"The image on {self.topic} is stamped {frame.time_ns / 1e9:.1f} s and {since} {stamp_ns / 1e9:.1f} s:"
                f" those are two clocks. {_CLOCK_ADVICE}"
            )
        if 0 < choice.max_age_s < age_s:
            which = "nearest" if choice.nearest else "newest"
            raise NoImageError(
                f"The {which} image on {self.topic} is {age_s:.1f} s older than {since}; max_image_age allows"
                f" {choice.max_age_s:g} s. {self._late_reason(choice)}".rstrip()
            )
        if choice.nearest and 0 < choice.max_age_s < -age_s:
            raise NoImageError(
                f"The nearest image on {self.topic} is {-age_s:.1f} s newer than the command: the images of its time"
                f" are no longer kept; increase frame_buffer to keep them longer."
            )
