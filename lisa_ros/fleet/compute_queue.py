# SPDX-License-Identifier: Apache-2.0
"""Which commands of a replica are computed now, and in which order the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lisa_ros.dialogue.fair_order import FairOrder

NEW_IMAGE_LATER_S = 0.2
"""A command about a new image waits as if it had come so much later. It takes three times as long as one about a known
image, which would otherwise wait for it."""

_POLL_S = 0.05


@dataclass(frozen=True, eq=False)
class _Waiting:
    robot: str
    due_s: float


class ComputeQueue:
    """A number of places. Who waits for one gets it in the order of the due times; robots with several take turns.

    May be used from any thread.
    """

    def __init__(self, places: int) -> None:
        """Nobody waits yet."""
        self._free = places
        self._waiting: list[_Waiting] = []
        self._order = FairOrder()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, robot: str, due_s: float, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Holds a place for the time of a block.

        Args:
            robot: who waits.
            due_s: the smallest is the next. Of equal ones, it is the one that came first.
            cancelled: polled every 50 ms while this one waits.

        Yields:
            whether there is a place; False: it was cancelled before.
        """
        has_place = self._take(_Waiting(robot, due_s), cancelled)
        try:
            yield has_place
        finally:
            if has_place:
                self._give_back(robot)

    def _take(self, mine: _Waiting, cancelled: Callable[[], bool]) -> bool:
        with self._changed:
            self._waiting.append(mine)
            try:
                while not self._free or self._first() is not mine:
                    if cancelled():
                        return False
                    self._changed.wait(_POLL_S)
                self._free -= 1
                self._note_turn(mine.robot)
                return True
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()

    def _first(self) -> _Waiting:
        return min(self._waiting, key=lambda one: self._order.came_s(one.robot, one.due_s))

    def _note_turn(self, robot: str) -> None:
        self._order.note_turn(robot, {one.robot for one in self._waiting})

    def _give_back(self, robot: str) -> None:
        with self._changed:
            self._free += 1
            self._note_turn(robot)
            self._changed.notify_all()
