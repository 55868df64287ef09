# SPDX-License-Identifier: Apache-2.0
"""Which commands of a replica are computed now, and in which order the others wait."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NEW_IMAGE_LATER_S = 0.2
"""A command about a new image waits as if it had come so much later. It takes three times as long as one about a known
image, which would otherwise wait for it."""

_POLL_S = 0.05


class ComputeQueue:
    """A number of places. Who waits for one gets it in the order of the due times. May be used from any thread."""

    def __init__(self, places: int) -> None:
        """Nobody waits yet."""
        self._free = places
        self._waiting: list[tuple[float, int]] = []
        self._count = itertools.count()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, due_s: float, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Holds a place for the time of a block.

        Args:
            due_s: the smallest of those who wait is the next. Of equal ones, it is the one that came first.
            cancelled: polled every 50 ms while this one waits.

        Yields:
            whether there is a place; False: it was cancelled before.
        """
        has_place = self._take((due_s, next(self._count)), cancelled)
        try:
            yield has_place
        finally:
            if has_place:
                self._give_back()

    def _take(self, mine: tuple[float, int], cancelled: Callable[[], bool]) -> bool:
        with self._changed:
            self._waiting.append(mine)
            try:
                while not self._free or min(self._waiting) != mine:
                    if cancelled():
                        return False
                    self._changed.wait(_POLL_S)
                self._free -= 1
                return True
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()

    def _give_back(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify_all()
