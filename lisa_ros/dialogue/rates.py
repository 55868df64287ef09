# SPDX-License-Identifier: Apache-2.0
"""How often each operator or robot has asked in the last minute."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MINUTE_S = 60.0
_MAX_NAMES = 10_000
"""Most names that are counted; whoever was silent longest is forgotten first."""


class Rates:
    """Counts commands or requests by name, in a sliding window of a minute. Thread-safe."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Start without any; `now_s` returns monotonic seconds."""
        self._now_s = now_s
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, name: str, per_minute: float) -> float:
        """Count one more, unless there were `per_minute` in the last minute.

        Args:
            name: Of the operator or robot.
            per_minute: The limit; 0: no limit, and nothing is counted.

        Returns:
            0.0: it is within the limit, and counted. Otherwise the seconds until the next one is.
        """
        if not per_minute:
            return 0.0
        now_s = self._now_s()
        with self._lock:
            times = self._times.setdefault(name, deque())
            self._times.move_to_end(name)
            while times and times[0] <= now_s - MINUTE_S:
                times.popleft()
            if len(self._times) > _MAX_NAMES:
                self._times.popitem(last=False)
            if len(times) >= per_minute:
                return times[0] + MINUTE_S - now_s
            times.append(now_s)
            return 0.0
