# SPDX-License-Identifier: Apache-2.0
"""A camera's newest pictures, each with the depth and the intrinsics of the same moment; kept as messages."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header

from lisa_ros.nodes.common.conversions import RgbImage, nanoseconds
from lisa_ros.segmentation.interface import EncodedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sensor_msgs.msg import CameraInfo, CompressedImage, Image

    pass

MOST_FRAMES = 64
"""Kept at most, however long a time is asked for."""
FEWEST_FRAMES = 3
"""Kept at least, so that a depth image that comes late still finds its picture."""
_EARLY = 8
"""Depth images and intrinsics that may come before their picture."""
_DEPTH_RECENT_NS = 1_000_000_000


@dataclass(eq=False)
class CameraFrame:
    """One picture of the camera and what belongs to it. The messages are shared, and never changed.

    Attributes:
        image: the picture.
        time_ns: its stamp or, where it has none, its arrival, nanoseconds.
        depth: the depth image of the same moment; None: none has come yet.
        info: the camera's intrinsics of the same moment, else the newest; None: none has come yet.
        seen: what the model made of it; the camera's business.
        depth_ns: the depth image's stamp.
        depth_due_s: how long this one's depth image may still be waited for, seconds; 0: none is on its way.
        depth_came: set when it is there.
    """

    image: Image | CompressedImage
    time_ns: int
    depth: Image | None = None
    info: CameraInfo | None = None
    encoded: EncodedFrame | None = None
    depth_ns: int = 0
    depth_due_s: float = 0.0
    depth_came: threading.Event = field(default_factory=threading.Event)

    def take_depth(self, message: Image, time_ns: int) -> None:
        """A depth image of its moment has come; the nearest counts."""
        if self.depth is None or abs(time_ns - self.time_ns) < abs(self.depth_ns - self.time_ns):
            self.depth, self.depth_ns = message, time_ns
            self.depth_came.set()

    def await_depth(self) -> Image | None:
        """The depth image, for which it waits, once, where one is due."""
        patience_s, self.depth_due_s = self.depth_due_s, 0.0
        if patience_s > 0.0 and not self.depth_came.is_set():
            self.depth_came.wait(patience_s)
        return self.depth


class FrameBuffer:
    """The newest frames. `take_*` are called by the executor's thread, the rest by any."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        kept_s: Callable[[], float],
        tolerance_s: Callable[[], float],
        patience_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Nothing has come yet.

        Args:
            now_ns: the node's time, nanoseconds.
            kept_s: how far back frames are kept, seconds.
            tolerance_s: stamps that are no farther apart are of the same moment, seconds.
            patience_s: how long a picture's depth image is waited for where such images come, seconds.
        """
        self._now_ns, self._kept_s, self._tolerance_s, self._patience_s = now_ns, kept_s, tolerance_s, patience_s
        self._exact = False
        self._lock = threading.Lock()
        self._frames: deque[CameraFrame] = deque()
        self._depths: deque[_Stamped] = deque(maxlen=_EARLY)
        self._infos: deque[_Stamped] = deque(maxlen=_EARLY)

    def take_image(self, message: Image | CompressedImage) -> None:
        """Keeps a picture. One that is older than the last begins anew: a bag was rewound, or the clock was set."""
        time_ns = self._stamped(message).time_ns
        with self._lock:
            if self._frames and time_ns < self._frames[-1].time_ns:
                self._frames.clear()
            info = self._matching(self._infos, time_ns) or (self._infos[-1] if self._infos else None)
            frame = CameraFrame(message, time_ns, info=info.message if info else None)
            depth = self._matching(self._depths, time_ns)
            frame.depth_due_s = self._due_s(time_ns, depth)
            if depth is not None:
                frame.take_depth(depth.message, depth.time_ns)
            if frame.depth_due_s:
                frame.depth_came.clear()
            self._frames.append(frame)
            self._forget_old()

    def take_depth(self, message: Image) -> None:
        """Keeps a depth image, for the pictures of its moment that have none yet."""
        stamped = self._stamped(message)
        with self._lock:
            self._depths.append(stamped)
            for frame in self._of_moment(stamped.time_ns):
                self._exact |= frame.time_ns == stamped.time_ns
                frame.take_depth(message, stamped.time_ns)

    def take_info(self, message: CameraInfo) -> None:
        """Keeps intrinsics, for the pictures of their moment and for those that have none yet."""
        stamped = self._stamped(message)
        with self._lock:
            self._infos.append(stamped)
            for frame in self._of_moment(stamped.time_ns):
                frame.info = message
            for frame in self._frames:
                frame.info = frame.info or message

    def newest(self) -> CameraFrame | None:
        """The picture that came last; None: none has come."""
        with self._lock:
            return self._frames[-1] if self._frames else None

    def nearest(self, time_ns: int) -> CameraFrame | None:
        """Of the pictures that are kept, the one with the nearest stamp."""
        with self._lock:
            return min(self._frames, key=lambda frame: abs(frame.time_ns - time_ns), default=None)

    def _stamped(self, message: Any) -> _Stamped:
        # Drivers that set no stamp leave it at zero; such a message is as old as its arrival.
        stamp = message.header.stamp
        return _Stamped(nanoseconds(stamp.sec, stamp.nanosec) or self._now_ns(), message)

    def _due_s(self, time_ns: int, depth: _Stamped | None) -> float:
        """How long to wait for a picture's depth: not where none comes, nor where the best is there already."""
        comes = bool(self._depths) and abs(self._depths[-1].time_ns - time_ns) < _DEPTH_RECENT_NS
        self._exact |= depth is not None and depth.time_ns == time_ns
        best = depth is not None and (depth.time_ns == time_ns or not self._exact)
        return self._patience_s() if comes and not best else 0.0

    def _forget_old(self) -> None:
        oldest_ns = self._frames[-1].time_ns - 1e9 * self._kept_s()
        while len(self._frames) > FEWEST_FRAMES and (
            len(self._frames) > MOST_FRAMES or self._frames[0].time_ns < oldest_ns
        ):
            self._frames.popleft()

    def _of_moment(self, time_ns: int) -> Iterable[CameraFrame]:
        return (frame for frame in self._frames if self._same_moment(frame.time_ns, time_ns))

    def _matching(self, messages: Iterable[_Stamped], time_ns: int) -> _Stamped | None:
        near = [one for one in messages if self._same_moment(one.time_ns, time_ns)]
        return min(near, key=lambda one: abs(one.time_ns - time_ns), default=None)

    def _same_moment(self, first_ns: int, second_ns: int) -> bool:
        return abs(first_ns - second_ns) <= 1e9 * self._tolerance_s()


@dataclass(frozen=True)
class _Stamped:
    time_ns: int
    message: Any


@dataclass(frozen=True)
class EncodedFrame:
    """A picture the model has looked at, or one that shows the same still scene.

    Attributes:
        header: of the picture's own message.
        picture: RGB, (H, W, 3).
        frame: what the model saw, maybe in an earlier picture.
        known: whether an earlier command was about this frame.
        source: the messages; None: the picture came from no camera.
    """

    header: Header
    picture: RgbImage
    frame: EncodedImage
    known: bool
    source: CameraFrame | None = None
