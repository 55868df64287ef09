# SPDX-License-Identifier: Apache-2.0
"""How many commands each operator has sent in the last minute."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MINUTE_S = 60.0
_MAX_OPERATORS = 10_000
"""Most operators that are counted; whoever was silent longest is forgotten first."""


class OperatorRates:
    """Counts commands. Thread-safe."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Start without commands; `now_s` returns monotonic seconds."""
        self._now_s = now_s
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def allows(self, operator: str, limit: int) -> bool:
        """Count a command, unless its operator has sent `limit` in the last minute; 0: no limit."""
        if not limit:
            return True
        now_s = self._now_s()
        with self._lock:
            times = self._times.setdefault(operator, deque())
            self._times.move_to_end(operator)
            while times and times[0] <= now_s - MINUTE_S:
                times.popleft()
            if len(self._times) > _MAX_OPERATORS:
                self._times.popitem(last=False)
            if len(times) >= limit:
                return False
            times.append(now_s)
            return True
