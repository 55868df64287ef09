# SPDX-License-Identifier: Apache-2.0
"""The frame of each command: the newest image at its time, with the depth and the intrinsics that belong to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lisa_ros.bags.commands import BagCommand
from lisa_ros.bags.reading import Bag, Stored
from lisa_ros.bags.types import deserialize, nanoseconds

_UNPAIRED = 8
"""Newest depth images, and intrinsics, that are kept for an image that may follow."""
_LATEST_NS = 100_000_000
"""How long after a command its frame's depth is waited for, in recorded time."""


@dataclass(frozen=True)
class Topics:
    """The camera's topics in the bag.

    Attributes:
        image: sensor_msgs/Image or CompressedImage.
        depth: The same, of depth; empty: none.
        camera_info: sensor_msgs/CameraInfo; empty: none.
        sync_tolerance_s: Largest difference between the stamps of an image and of its depth or intrinsics.
    """

    image: str
    depth: str = ""
    camera_info: str = ""
    sync_tolerance_s: float = 0.02

    def names(self) -> list[str]:
        """The topics that are read."""
        return [name for name in (self.image, self.depth, self.camera_info) if name]


@dataclass(frozen=True)
class BagFrame:
    """The messages of one moment, as they were recorded.

    Attributes:
        image: The image.
        stamp_ns: Its stamp or, if it has none, when it was recorded.
        depth: Its depth image; None: there is none within the tolerance.
        camera_info: Its intrinsics, or else the newest; None: none was recorded before.
    """

    image: Stored
    stamp_ns: int
    depth: Stored | None = None
    camera_info: Stored | None = None


@dataclass
class _Waiting:
    command: BagCommand
    time_ns: int
    image: tuple[int, Stored] | None


@dataclass
class FramesOfCommands:
    """Reads a bag once and yields each command with its frame. Keeps a few messages, however long the bag is.

    Attributes:
        bag: The bag.
        topics: The camera's topics.
        commands: Sorted by time.
        now_ns: The time up to which the bag was read, for progress.
        damaged: Messages that could not be deserialized.
    """

    bag: Bag
    topics: Topics
    commands: Sequence[BagCommand]
    now_ns: int = 0
    damaged: int = 0
    _newest: tuple[int, Stored] | None = None
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _depths: list[tuple[int, Stored]] = field(default_factory=list)
    _infos: list[tuple[int, Stored]] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[BagCommand, BagFrame | None] | Stored]:
        """Yields each image, and between them each command with its frame; None: there was no image yet."""
        coming, waiting = deque(self.commands), self._waiting
        for message in self.bag.messages(self.topics.names()):
            self.now_ns = message.time_ns
            while coming and coming[0].time_ns(self.bag.start_ns) < message.time_ns:
                command = coming.popleft()
                waiting.append(_Waiting(command, command.time_ns(self.bag.start_ns), self._newest))
            while waiting and self._is_complete(waiting[0]):
                yield self._frame_of(waiting.popleft())
            if self._add(message) and message.topic == self.topics.image:
                yield message
        waiting.extend(_Waiting(one, one.time_ns(self.bag.start_ns), self._newest) for one in coming)
        for one in waiting:
            yield self._frame_of(one)

    def _add(self, message: Stored) -> bool:
        try:
            header = deserialize(message.data, self.bag.types[message.topic]).header
        except Exception:  # rosbags' generated code raises what the damage leads to
            self.damaged += 1
            return False
        stamped = (nanoseconds(header.stamp) or message.time_ns, message)
        if message.topic == self.topics.image:
            self._newest = stamped
        elif message.topic == self.topics.depth:
            self._keep(self._depths, stamped)
        else:
            self._keep(self._infos, stamped)
        return True

    def _keep(self, kept: list[tuple[int, Stored]], stamped: tuple[int, Stored]) -> None:
        """Adds a message; of those before it, the newest stay, and those of an image that is or may be asked about."""
        kept.append(stamped)
        images = [one.image for one in self._waiting] + [self._newest]
        stamps_ns = [image[0] for image in images if image is not None]
        old = kept[:-_UNPAIRED]
        kept[:-_UNPAIRED] = [one for one in old if any(self._are_near(one[0], stamp_ns) for stamp_ns in stamps_ns)]

    def _is_complete(self, one: _Waiting) -> bool:
        """Whether nothing that belongs to the command's frame can come any more."""
        exact = one.image is not None and any(stamp_ns == one.image[0] for stamp_ns, _ in self._depths)
        return not self.topics.depth or exact or self.now_ns > one.time_ns + _LATEST_NS

    def _frame_of(self, one: _Waiting) -> tuple[BagCommand, BagFrame | None]:
        if one.image is None:
            return one.command, None
        stamp_ns, image = one.image
        info = self._nearest(self._infos, stamp_ns) or (self._infos[-1][1] if self._infos else None)
        return one.command, BagFrame(image, stamp_ns, self._nearest(self._depths, stamp_ns), info)

    def _nearest(self, kept: Sequence[tuple[int, Stored]], stamp_ns: int) -> Stored | None:
        near = [one for one in kept if self._are_near(one[0], stamp_ns)]
        return min(near, key=lambda one: abs(one[0] - stamp_ns))[1] if near else None

    def _are_near(self, one_ns: int, other_ns: int) -> bool:
        return abs(one_ns - other_ns) <= 1e9 * self.topics.sync_tolerance_s
