# SPDX-License-Identifier: Apache-2.0
"""Which picture a command is about, decoded and looked at only when a command needs it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from lisa_ros.nodes.common.conversions import RgbImage, rgb_image_from
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame, FrameBuffer
from lisa_ros.segmentation.interface import EncodedImage, Segmenter
from lisa_ros.tracking.stillness import same_scene

NEWEST, NEAREST = "newest", "nearest"
COMMAND_FRAMES = (NEWEST, NEAREST)
"""Of the camera's pictures: the newest, or the one nearest to the command's own time."""


class NoImageError(Exception):
    """There is no picture to answer about; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Choice:
    """Which picture is wanted.

    Attributes:
        stamp_ns: the command's own time, nanoseconds; 0: it has none.
        kept: a picture that was set aside for it; None: none was.
        command_frame: one of COMMAND_FRAMES; a command without a time is about the newest.
        max_age_s: oldest picture wanted, seconds; 0: any.
    """

    stamp_ns: int = 0
    kept: CameraFrame | None = None
    command_frame: str = NEWEST
    max_age_s: float = 0.0

    @property
    def nearest(self) -> bool:
        """Whether the command's time decides."""
        return self.command_frame == NEAREST and self.stamp_ns > 0


class Camera:
    """One camera's pictures. Safe to use from several threads."""

    def __init__(self, topic: str, frames: FrameBuffer, now_ns: Callable[[], int]) -> None:
        """Of the pictures in `frames`; `topic` is for people, `now_ns` tells the node's time, nanoseconds."""
        self.topic, self.frames = topic, frames
        self._now_ns = now_ns
        self._looked_at: tuple[RgbImage, EncodedImage] | None = None
        self._looking = threading.Lock()

    def age_s(self) -> float | None:
        """Of the newest picture, seconds; None: none has come."""
        newest = self.frames.newest()
        return None if newest is None else (self._now_ns() - newest.time_ns) / 1e9

    def choose(self, choice: Choice) -> CameraFrame:
        """The picture that a command is about.

        Raises:
            NoPictureError: none has come, or it is too old.
        """
        if choice.nearest:
            there = [one for one in (choice.kept, self.frames.nearest(choice.stamp_ns)) if one is not None]
            chosen = min(there, key=lambda one: abs(one.time_ns - choice.stamp_ns), default=None)
        else:
            chosen = self.frames.newest()
        if chosen is None:
            raise NoImageError(
                f"No picture has come on {self.topic} yet; check that the camera runs and publishes there."
            )
        self._check_age(chosen, choice)
        return chosen

    def encode(self, segmenter: Segmenter, frame: CameraFrame, same_frame_difference: float) -> EncodedFrame:
        """A picture, looked at once however many commands ask about it; once for all of a still scene.

        Args:
            segmenter: who looks.
            frame: from `choose`.
            same_frame_difference: limit of `same_scene`, levels of 255.

        Raises:
            ImageError: it cannot be decoded.
        """
        with self._looking:
            encoded = frame.encoded or self._first_look(segmenter, frame, same_frame_difference)
            frame.encoded = encoded if encoded.known else replace(encoded, known=True)
            return encoded

    def _first_look(self, segmenter: Segmenter, frame: CameraFrame, same_frame_difference: float) -> EncodedFrame:
        picture = rgb_image_from(frame.image)
        # Compared with what was looked at, and not with the picture before: slow changes add up.
        known = self._looked_at is not None and same_scene(self._looked_at[0], picture, same_frame_difference)
        if self._looked_at is None or not known:
            self._looked_at = (picture, segmenter.encode(picture))
        return EncodedFrame(frame.image.header, picture, self._looked_at[1], known, frame)

    def _check_age(self, frame: CameraFrame, choice: Choice) -> None:
        age_s = ((choice.stamp_ns or self._now_ns()) - frame.time_ns) / 1e9
        if 0 < choice.max_age_s < age_s:
            which = "nearest" if choice.nearest else "newest"
            raise NoImageError(
                f"The {which} picture on {self.topic} is from {age_s:.1f} s before the command; max_image_age allows"
                f" {choice.max_age_s:g} s."
            )
        if choice.nearest and 0 < choice.max_age_s < -age_s:
            raise NoImageError(
                f"The nearest picture on {self.topic} is from {-age_s:.1f} s after the command, so those of its time"
                f" are gone; frame_buffer says how long they are kept."
            )
