# SPDX-License-Identifier: Apache-2.0
"""Threads that work through one bounded queue, so that the executor's thread stays free for callbacks."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Runs `work(item, cancelled)` for one item after another, or for several at once. Knows nothing of ROS.

    `work` is to return soon after `cancelled()` is true. What it raises goes to `failed(item, error)`, what that raises
    to Python's log, and the thread goes on with the next item. Items of one lane are worked on in their order, one at a
    time. The lanes take turns, so that whoever fills one holds nobody else up.
    """

    def __init__(
        self,
        work: Callable[[Item, Callable[[], bool]], None],
        failed: Callable[[Item, Exception], None],
        *,
        threads: int = 1,
        lane: Callable[[Item], Hashable] = lambda item: None,
    ) -> None:
        """Start the threads; `lane` tells which one an item belongs in."""
        self._work = work
        self._failed = failed
        self._lane = lane
        self._waiting: list[Item] = []
        self._busy: set[Hashable] = set()
        self._last_turn: dict[Hashable, int] = {}
        self._turn = itertools.count(1)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # Daemons: a model that cannot be interrupted must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"lisa_worker_{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        with self._changed:
            return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being done."""
        with self._changed:
            return not self._waiting and not self._busy

    def submit(self, item: Item, limit: int) -> bool:
        """Put an item into the queue, unless `limit` items wait already or the worker is stopping."""
        with self._changed:
            if self.stopping or len(self._waiting) >= limit:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
            return True

    def withdraw(self, chosen: Callable[[Item], bool]) -> list[Item]:
        """Take items out of the queue; what is being done goes on."""
        with self._changed:
            taken = [item for item in self._waiting if chosen(item)]
            self._waiting = [item for item in self._waiting if item not in taken]
            return taken

    def stop(self) -> None:
        """Drop what waits, cancel what is being done, take nothing more; returns at once."""
        with self._changed:
            self._stopping.set()
            self._waiting.clear()
            self._changed.notify_all()

    def join(self, patience_s: float) -> bool:
        """After `stop`: wait for the threads; False if one did not end in time."""
        until_s = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _next(self) -> Item | None:
        """The first item whose lane is free, which it then takes; None when the worker is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._first_free() is not None)
            place = self._first_free()
            if self.stopping or place is None:
                return None
            item = self._waiting.pop(place)
            self._take_turn(self._lane(item))
            return item

    def _first_free(self) -> int | None:
        """Place of the next item: of the lanes that are free, the one whose last turn is longest ago."""
        free = [(place, lane) for place, lane in enumerate(map(self._lane, self._waiting)) if lane not in self._busy]
        return min(free, key=lambda one: (self._last_turn.get(one[1], 0), one[0]), default=(None, None))[0]

    def _take_turn(self, lane: Hashable) -> None:
        self._busy.add(lane)
        self._last_turn[lane] = next(self._turn)
        waiting = {self._lane(item) for item in self._waiting}  # who has nothing to wait for needs no memory
        self._last_turn = {one: turn for one, turn in self._last_turn.items() if one in waiting or one in self._busy}

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._work(item, self._stopping.is_set)
            except Exception as error:  # the thread must outlive whatever a model does
                self._tell_failed(item, error)
            finally:
                with self._changed:
                    self._busy.discard(self._lane(item))
                    self._changed.notify_all()

    def _tell_failed(self, item: Item, error: Exception) -> None:
        try:
            self._failed(item, error)
        except Exception:  # and whatever comes of saying so
            logging.getLogger(__name__).exception("The failure of one item could not be handled.")
