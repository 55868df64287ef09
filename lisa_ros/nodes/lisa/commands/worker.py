# SPDX-License-Identifier: Apache-2.0
"""Threads that process one bounded queue, so that the executor's thread stays free for callbacks."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Runs `work(item, cancelled)` for each item of a queue, for several items at the same time. Independent of ROS.

    `work` must return soon after `cancelled()` returns True. Its exceptions go to `failed(item, error)`, exceptions of
    that to Python's log, and the thread continues with the next item. Items of one lane are processed in order, one at
    a time. The lanes take turns, so that many items in one lane do not delay the others.
    """

    def __init__(
        self,
        work: Callable[[Item, Callable[[], bool]], None],
        failed: Callable[[Item, Exception], None],
        *,
        threads: int = 1,
        lane: Callable[[Item], Hashable] = lambda item: None,
    ) -> None:
        """Start the threads; `lane` returns the lane of an item."""
        self._work = work
        self._failed = failed
        self._lane = lane
        self._waiting: list[Item] = []
        self._busy: set[Hashable] = set()
        self._last_turn: dict[Hashable, int] = {}
        self._turn = itertools.count(1)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # Daemon threads: a model that cannot be interrupted must not prevent the process from ending.
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
        """Number of items in the queue."""
        with self._changed:
            return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether no item waits and none is being processed."""
        with self._changed:
            return not self._waiting and not self._busy

    def submit(self, item: Item, limit: int) -> bool:
        """Put an item into the queue. Returns False if `limit` items wait already or the worker is stopping."""
        with self._changed:
            if self.stopping or len(self._waiting) >= limit:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
            return True

    def withdraw(self, chosen: Callable[[Item], bool]) -> list[Item]:
        """Remove items from the queue and return them; items that are being processed are not affected."""
        with self._changed:
            taken = [item for item in self._waiting if chosen(item)]
            self._waiting = [item for item in self._waiting if item not in taken]
            return taken

    def stop(self) -> None:
        """Drop the waiting items, cancel those that are being processed, and accept no more; returns at once."""
        with self._changed:
            self._stopping.set()
            self._waiting.clear()
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """After `stop`: wait for the threads. Returns False if one did not end in time."""
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _next(self) -> Item | None:
        """Take the next item whose lane is free; None: the worker is stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._next_index() is not None)
            index = self._next_index()
            if self.stopping or index is None:
                return None
            item = self._waiting.pop(index)
            self._take_turn(self._lane(item))
            return item

    def _next_index(self) -> int | None:
        """Index of the next item: of the free lanes, the one whose last turn is longest ago."""
        free = [(index, lane) for index, lane in enumerate(map(self._lane, self._waiting)) if lane not in self._busy]
        return min(free, key=lambda one: (self._last_turn.get(one[1], 0), one[0]), default=(None, None))[0]

    def _take_turn(self, lane: Hashable) -> None:
        self._busy.add(lane)
        self._last_turn[lane] = next(self._turn)
        waiting = {self._lane(item) for item in self._waiting}  # lanes without items are forgotten
        self._last_turn = {one: turn for one, turn in self._last_turn.items() if one in waiting or one in self._busy}

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._work(item, self._stopping.is_set)
            except Exception as error:  # the thread must survive every error of a model
                self._report_failure(item, error)
            finally:
                with self._changed:
                    self._busy.discard(self._lane(item))
                    self._changed.notify_all()

    def _report_failure(self, item: Item, error: Exception) -> None:
        try:
            self._failed(item, error)
        except Exception:  # and every error of its handling
            logging.getLogger(__name__).exception("The failure of one item could not be handled.")
