# SPDX-License-Identifier: Apache-2.0
"""In which order the commands of operators or robots are taken, so that many of one do not delay the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Hashable


class FairOrder:
    """A command counts as come when it arrived or, if that is later, when its sender's last turn was.

    Of those that wait, the one that came first is the next. So a sender with many commands has one turn between two of
    another one. Who sends a command when the one before is answered keeps the order of arrival. Not thread-safe.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Nobody has had a turn; `now_s` returns monotonic seconds."""
        self._now_s = now_s
        self._last_s: dict[Hashable, float] = {}

    def came_s(self, sender: Hashable, arrived_s: float) -> float:
        """When a command counts as come, in monotonic seconds."""
        return max(arrived_s, self._last_s.get(sender, arrived_s))

    def note_turn(self, sender: Hashable, waiting: Container[Hashable]) -> None:
        """A turn of a sender begins or ends.

        Args:
            sender: Whose.
            waiting: All whose commands wait. The others are forgotten: their next command arrives later than now.
        """
        self._last_s[sender] = self._now_s()
        self._last_s = {one: last_s for one, last_s in self._last_s.items() if one in waiting}
