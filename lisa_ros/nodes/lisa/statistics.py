# SPDX-License-Identifier: Apache-2.0
"""Counts of answers, their times and the rate of images, for diagnostics."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from lisa_ros.nodes.lisa.request import Outcome

PERCENTILE_ANSWERS = 200
"""Percentiles are those of this many newest answers."""
RATE_WINDOW_S = 5.0
"""The rate of images is that of this many last seconds."""


class Statistics:
    """Answers by status, their times, and the rate of images. Safe to use from several threads."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Start with all counts at zero; `now_s` returns monotonic seconds."""
        self._now_s = now_s
        self._lock = threading.Lock()
        self._by_status: Counter[int] = Counter()
        self._first_masks_ms: deque[float] = deque(maxlen=PERCENTILE_ANSWERS)
        self._totals_ms: deque[float] = deque(maxlen=PERCENTILE_ANSWERS)
        self._images_s: deque[float] = deque()
        self._newest_status: int | None = None
        self._unreadable = 0

    def count_answer(self, outcome: Outcome) -> None:
        """Count the answer to a command."""
        with self._lock:
            self._by_status[outcome.status] += 1
            self._newest_status = outcome.status
            if outcome.answered:
                self._totals_ms.append(outcome.total_ms)
                if outcome.objects:
                    self._first_masks_ms.append(outcome.first_mask_ms)

    def count_images(self, count: int = 1) -> None:
        """Count images that were received."""
        with self._lock:
            self._images_s.extend([self._now_s()] * count)
            self._drop_old_images()

    def count_unreadable(self) -> None:
        """Count a message on a topic of commands that cannot be read."""
        with self._lock:
            self._unreadable += 1

    @property
    def unreadable(self) -> int:
        """Number of messages on topics of commands that could not be read."""
        return self._unreadable

    @property
    def newest_status(self) -> int | None:
        """Status of the newest answer, a constant of Segmentation; None: there was no answer."""
        return self._newest_status

    def answers(self, status: int) -> int:
        """Number of answers with this status."""
        with self._lock:
            return self._by_status[status]

    def image_rate_hz(self) -> float:
        """Images per second, over the last RATE_WINDOW_S."""
        with self._lock:
            self._drop_old_images()
            return len(self._images_s) / RATE_WINDOW_S

    def first_mask_ms(self, share: float) -> float:
        """Percentile of the time to the first mask, in milliseconds; nan: there was no mask.

        Args:
            share: 0 to 1, for example 0.95.
        """
        with self._lock:
            return percentile(self._first_masks_ms, share)

    def total_ms(self, share: float) -> float:
        """Percentile of the time to the whole answer, in milliseconds, as first_mask_ms."""
        with self._lock:
            return percentile(self._totals_ms, share)

    def _drop_old_images(self) -> None:
        oldest_s = self._now_s() - RATE_WINDOW_S
        while self._images_s and self._images_s[0] < oldest_s:
            self._images_s.popleft()


def percentile(values: Sequence[float] | deque[float], share: float) -> float:
    """The smallest value that at least a share (0 to 1) of all values do not exceed; nan for no values."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan
