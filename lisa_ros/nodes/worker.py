# SPDX-License-Identifier: Apache-2.0
"""One thread that works through a bounded queue, so that the executor's thread stays free for callbacks."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Runs `work(item, cancelled)` for one item after another. Knows nothing of ROS.

    `work` is to return soon after `cancelled()` is true. What it raises goes to `failed(item, error)`, what that raises
    to Python's log, and the thread goes on with the next item.
    """

    def __init__(
        self,
        work: Callable[[Item, Callable[[], bool]], None],
        failed: Callable[[Item, Exception], None],
    ) -> None:
        """Start the thread."""
        self._work = work
        self._failed = failed
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        # A daemon: a model that cannot be interrupted must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="lisa_worker", daemon=True)
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def submit(self, item: Item, limit: int) -> bool:
        """Put an item into the queue, unless `limit` items wait already or the worker is stopping."""
        with self._changed:
            if self.stopping or len(self._waiting) >= limit:
                return False
            self._waiting.append(item)
            self._changed.notify()
            return True

    def stop(self) -> None:
        """Drop what waits, cancel what is being done, take nothing more; returns at once."""
        with self._changed:
            self._stopping.set()
            self._waiting.clear()
            self._changed.notify()

    def join(self, patience_s: float) -> bool:
        """After `stop`: wait for the thread; False if it did not end in time."""
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _next(self) -> Item | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.stopping)
            return None if self.stopping else self._waiting.popleft()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            try:
                self._work(item, self._stopping.is_set)
            except Exception as error:  # the thread must outlive whatever a model does
                self._tell_failed(item, error)

    def _tell_failed(self, item: Item, error: Exception) -> None:
        try:
            self._failed(item, error)
        except Exception:  # and whatever comes of saying so
            logging.getLogger(__name__).exception("The failure of one item could not be handled.")
