# SPDX-License-Identifier: Apache-2.0
"""The camera's newest frames: each image with the depth image and the intrinsics of the same moment, as messages."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

from lisa_ros.nodes.common.conversions import RgbImage
from lisa_ros.nodes.common.stamps import nanoseconds
from lisa_ros.nodes.lisa.camera.serialized_messages import SerializedMessage, message_of
from lisa_ros.segmentation.interface import EncodedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

MAX_FRAMES = 64
"""Maximum number of frames that are kept, whatever frame_buffer is."""
MIN_FRAMES = 3
"""Minimum number of frames that are kept, so that a late depth image still finds its frame."""
_NOT_THINNED = 16
"""The newest frames, of which every one is kept."""
_MAX_UNPAIRED = 8
"""Maximum number of depth images, and of camera_info messages, that are kept for images that come after them."""
_DEPTH_ACTIVE_NS = 1_000_000_000
"""Depth is published if the newest depth image is no older than this."""
_AHEAD_NS = 1_000_000_000
"""Frames may be this far ahead of the node's clock after it went back: /clock is not free of jitter."""


@dataclass(eq=False)
class CameraFrame:
    """One image of the camera with its depth and intrinsics. The messages are shared and must not be changed.

    Attributes:
        received: The image message, or the same serialized.
        time_ns: The image's stamp or, if it has none, its time of arrival, in nanoseconds.
        received_depth: The depth image of the same moment, or the same serialized; None: not arrived.
        info: The intrinsics of the same moment, otherwise the newest ones; None: not arrived.
        encoded: The encoded image, without its `source`; set by Camera.
        depth_ns: Stamp of the depth image in nanoseconds.
        depth_deadline_s: Until when the depth image is waited for, in monotonic seconds; 0: none is expected.
        depth_away_ns: Difference between the stamps of the image and of the nearest depth image; None: none was near in
            time of arrival.
        note: A sentence for the answer about this frame; empty: none.
        depth_came: Set when the depth image has arrived.
    """

    received: Image | CompressedImage | SerializedMessage
    time_ns: int
    received_depth: Image | CompressedImage | SerializedMessage | None = None
    info: CameraInfo | None = None
    encoded: EncodedFrame | None = None
    depth_ns: int = 0
    depth_deadline_s: float = 0.0
    depth_away_ns: int | None = None
    note: str = ""
    depth_came: threading.Event = field(default_factory=threading.Event)

    @property
    def header(self) -> Header:
        """Of the image message."""
        return self.received.header

    @property
    def image(self) -> Image | CompressedImage:
        """The image message. Raises an ImageError if it cannot be deserialized."""
        return message_of(self.received)

    def measure_depth(self, time_ns: int) -> None:
        """A depth image with this stamp has arrived."""
        away_ns = abs(time_ns - self.time_ns)
        self.depth_away_ns = away_ns if self.depth_away_ns is None else min(away_ns, self.depth_away_ns)

    def add_depth(self, message: Image | CompressedImage | SerializedMessage, time_ns: int) -> None:
        """Add a depth image of the same moment; the one with the nearest stamp is kept."""
        if self.received_depth is None or abs(time_ns - self.time_ns) < abs(self.depth_ns - self.time_ns):
            self.received_depth, self.depth_ns = message, time_ns
            self.depth_came.set()

    def await_depth(self) -> Image | CompressedImage | SerializedMessage | None:
        """`received_depth`. If one is expected, wait until it arrives or its time is over."""
        if self.depth_deadline_s and not self.depth_came.is_set():
            self.depth_came.wait(max(0.0, self.depth_deadline_s - time.monotonic()))
        return self.received_depth


class FrameBuffer:
    """The newest frames. The executor's thread calls the `add` methods; any thread may call the others."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        kept_s: Callable[[], float],
        tolerance_s: Callable[[], float],
        depth_wait_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Start empty.

        Args:
            now_ns: Returns the node's time in nanoseconds.
            kept_s: Returns how long frames are kept, in seconds.
            tolerance_s: Returns the maximum difference between stamps of the same moment, in seconds.
            depth_wait_s: Returns the maximum time to wait for the depth image of a frame, in seconds.
        """
        self._now_ns, self._kept_s, self.tolerance_s, self._depth_wait_s = now_ns, kept_s, tolerance_s, depth_wait_s
        self._exact = False
        """Whether depth images have the stamps of their images, so that a nearby stamp is not good enough."""
        self._lock = threading.Lock()
        self._frames: deque[CameraFrame] = deque()
        self._depths: deque[_Stamped] = deque(maxlen=_MAX_UNPAIRED)
        self._infos: deque[_Stamped] = deque(maxlen=_MAX_UNPAIRED)

    def add_image(self, message: Image | CompressedImage | SerializedMessage) -> None:
        """Add an image. If it is older than the newest one, a bag was rewound or the clock was set: start empty."""
        time_ns = self._stamped(message).time_ns
        with self._lock:
            if self._frames and time_ns < self._frames[-1].time_ns:
                self._frames.clear()
            info = self._matching(self._infos, time_ns) or (self._infos[-1] if self._infos else None)
            frame = CameraFrame(message, time_ns, info=info.message if info else None)
            depth = self._matching(self._depths, time_ns)
            wait_s = self._wait_s(time_ns, depth)
            frame.depth_deadline_s = time.monotonic() + wait_s if wait_s else 0.0
            for earlier in self._depths:
                frame.measure_depth(earlier.time_ns)
            if depth is not None:
                frame.add_depth(depth.message, depth.time_ns)
            if frame.depth_deadline_s:
                frame.depth_came.clear()
            self._frames.append(frame)
            self._drop_old()

    def add_depth(self, message: Image | CompressedImage | SerializedMessage) -> None:
        """Add a depth image, for the frames of its moment."""
        stamped = self._stamped(message)
        with self._lock:
            self._depths.append(stamped)
            for kept in self._frames:
                kept.measure_depth(stamped.time_ns)
            for frame in self._of_moment(stamped.time_ns):
                self._exact |= frame.time_ns == stamped.time_ns
                frame.add_depth(message, stamped.time_ns)

    def add_info(self, message: CameraInfo) -> None:
        """Add intrinsics, for the frames of their moment and for those that have none yet."""
        stamped = self._stamped(message)
        with self._lock:
            if any(one.time_ns == stamped.time_ns for one in self._infos):  # a latched one comes twice
                self._infos = deque((one for one in self._infos if one.time_ns != stamped.time_ns), _MAX_UNPAIRED)
            self._infos.append(stamped)
            for frame in self._of_moment(stamped.time_ns):
                frame.info = message
            for frame in self._frames:
                frame.info = frame.info or message

    def clock_went_back(self) -> None:
        """Drop the frames that are now in the future: a simulation or a bag began again, and they show another time."""
        latest_ns = self._now_ns() + _AHEAD_NS
        with self._lock:
            self._frames = deque(frame for frame in self._frames if frame.time_ns <= latest_ns)
            self._depths = deque((one for one in self._depths if one.time_ns <= latest_ns), _MAX_UNPAIRED)
            # Intrinsics stay: a latched one may come only once.

    def awaits_depth(self) -> bool:
        """Whether the depth image of the newest frame is expected and has not arrived."""
        newest = self.newest()
        return newest is not None and newest.depth_deadline_s > 0.0 and not newest.depth_came.is_set()

    def newest(self) -> CameraFrame | None:
        """The frame of the newest image; None: no image has arrived."""
        with self._lock:
            return self._frames[-1] if self._frames else None

    def kept(self) -> list[CameraFrame]:
        """The frames that are kept, the oldest first."""
        with self._lock:
            return list(self._frames)

    def nearest(self, time_ns: int) -> CameraFrame | None:
        """The frame with the nearest stamp, of those that are kept; None: no image has arrived."""
        with self._lock:
            return min(self._frames, key=lambda frame: abs(frame.time_ns - time_ns), default=None)

    def _stamped(self, message: Any) -> _Stamped:
        # A driver that sets no stamp leaves it at zero; the time of arrival is used then.
        stamp = message.header.stamp
        return _Stamped(nanoseconds(stamp.sec, stamp.nanosec) or self._now_ns(), message)

    def _wait_s(self, time_ns: int, depth: _Stamped | None) -> float:
        """How long to wait for an image's depth; 0 if no depth is published or the best match is there already."""
        published = bool(self._depths) and abs(self._depths[-1].time_ns - time_ns) < _DEPTH_ACTIVE_NS
        self._exact |= depth is not None and depth.time_ns == time_ns
        best = depth is not None and (depth.time_ns == time_ns or not self._exact)
        return self._depth_wait_s() if published and not best else 0.0

    def _drop_old(self) -> None:
        oldest_ns = self._frames[-1].time_ns - 1e9 * self._kept_s()
        while len(self._frames) > MIN_FRAMES and self._frames[0].time_ns < oldest_ns:
            self._frames.popleft()
        if len(self._frames) > MAX_FRAMES:
            self._thin_out()

    def _thin_out(self) -> None:
        """Drop the older frame whose neighbours are nearest to each other: the others still span frame_buffer."""
        times_ns = [frame.time_ns for frame in self._frames]
        candidates = range(1, len(times_ns) - _NOT_THINNED)
        del self._frames[min(candidates, key=lambda index: times_ns[index + 1] - times_ns[index - 1])]

    def _of_moment(self, time_ns: int) -> Iterable[CameraFrame]:
        return (frame for frame in self._frames if self._same_moment(frame.time_ns, time_ns))

    def _matching(self, messages: Iterable[_Stamped], time_ns: int) -> _Stamped | None:
        near = [one for one in messages if self._same_moment(one.time_ns, time_ns)]
        return min(near, key=lambda one: abs(one.time_ns - time_ns), default=None)

    def _same_moment(self, first_ns: int, second_ns: int) -> bool:
        return abs(first_ns - second_ns) <= 1e9 * self.tolerance_s()


@dataclass(frozen=True)
class _Stamped:
    time_ns: int
    message: Any


@dataclass(frozen=True)
class EncodedFrame:
    """An image and its encoding, which may be that of an earlier image of the same still scene.

    Attributes:
        header: Of the image message.
        image: RGB uint8 (H, W, 3).
        encoded: The model's encoding of this image, or of an earlier one of the same still scene.
        known: Whether an earlier command used this encoding.
        source: The camera's messages; None: the image is from no camera.
    """

    header: Header
    image: RgbImage
    encoded: EncodedImage
    known: bool
    source: CameraFrame | None = None
