# SPDX-License-Identifier: Apache-2.0
"""Encoded images that a server keeps, so that later commands about them need neither the image nor its encoding."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]
"""Robot and frame: no robot finds an image of another."""

_LEFT_S = 300.0
"""An image that was not used for so long is the first to go: its robot may have left."""


@dataclass
class _Kept:
    encoded: Any
    used_s: float = 0.0
    users: int = 0
    dropped: bool = False


class FrameCache:
    """The newest encoded images of each robot, released when nobody uses them any more. May be used from any thread.

    Where there is no room for one more, the robot with the most images loses its oldest. So a robot with a fast camera
    takes what the others leave, and each keeps its newest image while there are no more robots than images.
    """

    def __init__(self, most: int, now_s: Callable[[], float] = time.monotonic) -> None:
        """Keeps so many images of all robots together; now_s is the clock."""
        self._most, self._now_s = most, now_s
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def use(self, key: Key, encode: Callable[[], Any] | None) -> Iterator[Any]:
        """Holds an encoded image for the time of a block.

        Args:
            key: its robot and frame.
            encode: makes it if it is not kept; cheap, the model computes later. None: the image was not sent.

        Yields:
            the encoded image; None: it is not kept, and was not sent.
        """
        kept = self._take(key, encode)
        if kept is None:
            yield None
            return
        try:
            yield kept.encoded
        finally:
            self._give_back(kept)

    def _take(self, key: Key, encode: Callable[[], Any] | None) -> _Kept | None:
        with self._lock:
            if key not in self._kept:
                if encode is None:
                    return None
                self._kept[key] = _Kept(encode())
            kept = self._kept[key]
            self._kept.move_to_end(key)
            kept.users += 1
            kept.used_s = self._now_s()
            oldest = self._evicted()
        for one in oldest:
            one.encoded.release()
        return kept

    def _evicted(self) -> list[_Kept]:
        """What is to be released now. Images in use are released by their last user."""
        unused = []
        while len(self._kept) > self._most:
            oldest = self._kept.pop(self._first_to_go())
            oldest.dropped = True
            if not oldest.users:
                unused.append(oldest)
        return unused

    def _first_to_go(self) -> Key:
        key, oldest = next(iter(self._kept.items()))
        if not oldest.users and self._now_s() - oldest.used_s > _LEFT_S:
            return key
        counts = Counter(robot for robot, _ in self._kept)
        most = max(counts.values())
        return next(key for key in self._kept if counts[key[0]] == most)

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            last = kept.dropped and not kept.users
        if last:
            kept.encoded.release()
