# SPDX-License-Identifier: Apache-2.0
"""Encoded images that a server keeps, so that later commands about them need neither the image nor its encoding."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]
"""Robot and frame: no robot finds an image of another."""


@dataclass
class _Kept:
    encoded: Any
    users: int = 0
    dropped: bool = False


class FrameCache:
    """The newest encoded images, released when nobody uses them any more. May be used from any thread."""

    def __init__(self, most: int) -> None:
        """Keeps so many images."""
        self._most = most
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
            oldest = self._evicted()
        for one in oldest:
            one.encoded.release()
        return kept

    def _evicted(self) -> list[_Kept]:
        """What is to be released now. Images in use are released by their last user."""
        unused = []
        while len(self._kept) > self._most:
            _, oldest = self._kept.popitem(last=False)
            oldest.dropped = True
            if not oldest.users:
                unused.append(oldest)
        return unused

    def _give_back(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            last = kept.dropped and not kept.users
        if last:
            kept.encoded.release()
