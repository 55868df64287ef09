# SPDX-License-Identifier: Apache-2.0
"""What the node counts of itself. Safe to use from several threads."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from lisa_ros.nodes.lisa.request import Outcome

REMEMBERED = 200
"""Answers that percentiles are taken of."""
RATE_OVER_S = 5.0
"""Pictures of so many seconds make the rate."""


class Statistics:
    """Answers by status, how long they took, and how often pictures come."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Nothing is counted yet; `now_s` tells monotonic seconds."""
        self._now_s = now_s
        self._lock = threading.Lock()
        self._by_status: Counter[int] = Counter()
        self._first_masks_ms: deque[float] = deque(maxlen=REMEMBERED)
        self._totals_ms: deque[float] = deque(maxlen=REMEMBERED)
        self._pictures_s: deque[float] = deque()
        self._newest_status: int | None = None

    def count_answer(self, outcome: Outcome) -> None:
        """A command got its answer."""
        with self._lock:
            self._by_status[outcome.status] += 1
            self._newest_status = outcome.status
            if outcome.answered:
                self._totals_ms.append(outcome.total_ms)
                if outcome.objects:
                    self._first_masks_ms.append(outcome.first_mask_ms)

    def count_picture(self) -> None:
        """A picture came."""
        with self._lock:
            self._pictures_s.append(self._now_s())
            self._drop_old_pictures()

    @property
    def newest_status(self) -> int | None:
        """Of the newest answer, a constant of Segmentation; None: there was none."""
        return self._newest_status

    def answers(self, status: int) -> int:
        """How many answers had this status."""
        with self._lock:
            return self._by_status[status]

    def picture_rate_hz(self) -> float:
        """Pictures a second, over the last RATE_OVER_S."""
        with self._lock:
            self._drop_old_pictures()
            return len(self._pictures_s) / RATE_OVER_S

    def first_mask_ms(self, share: float) -> float:
        """The time to the first mask that a share of the newest answers stayed within; nan: there was none."""
        with self._lock:
            return percentile(self._first_masks_ms, share)

    def total_ms(self, share: float) -> float:
        """The same of whole answers."""
        with self._lock:
            return percentile(self._totals_ms, share)

    def _drop_old_pictures(self) -> None:
        oldest_s = self._now_s() - RATE_OVER_S
        while self._pictures_s and self._pictures_s[0] < oldest_s:
            self._pictures_s.popleft()


def percentile(values: Sequence[float] | deque[float], share: float) -> float:
    """The smallest value that at least a share (0 to 1) of all do not exceed; nan for none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan
