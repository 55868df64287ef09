# SPDX-License-Identifier: Apache-2.0
"""Whether a LISA node is there, from its diagnostics (1 Hz) and from the ROS graph."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

SILENT_S = 1.8
"""A node that reports nothing for so long is said to be lost: a page must say so within 2 s. The diagnostics come once
a second, so that a node which is only busy is back with its next report."""

ABSENT, LOST = "absent", "lost"
"""States beside those of the lifecycle: never there since the console began, and not there any more."""


@dataclass
class Presence:
    """What is known of one node.

    Attributes:
        name: the node's full name without the leading slash, as its diagnostics give it.
        state: ABSENT, LOST, or the lifecycle's ("active", "inactive", "configuring" ...).
        sentence: the node's own, of its newest report.
        values: of its newest report.
        restarts: how often another process took the node's name since the console began.
    """

    name: str
    state: str = ABSENT
    sentence: str = ""
    values: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    _heard_s: float | None = None
    _endpoints: frozenset[tuple[int, ...]] = frozenset()

    def hear(self, message: DiagnosticArray, now_s: float | None = None) -> None:
        """Takes the node's report out of a message of /diagnostics."""
        for status in message.status:
            if status.name == f"{self.name}: lisa":
                self._heard_s = time.monotonic() if now_s is None else now_s
                self.sentence = status.message
                self.values = {one.key: one.value for one in status.values}

    def judge(self, endpoints: frozenset[tuple[int, ...]], now_s: float | None = None) -> bool:
        """Updates the state; whether another process has taken the node's name since the last time.

        Args:
            endpoints: identities of the publishers of the node's answers: new ones with every start. A killed process's
                stay in the graph until DDS's lease ends.
            now_s: monotonic seconds; None: now.
        """
        now_s = time.monotonic() if now_s is None else now_s
        restarted = bool(endpoints - self._endpoints) and bool(self._endpoints)
        self._endpoints = self._endpoints | endpoints
        if restarted:
            self.restarts += 1
            self._heard_s = -math.inf  # what is known is of the process before
        silent = self._heard_s is None or now_s - self._heard_s > SILENT_S
        if not endpoints or silent:
            self.state = ABSENT if self._heard_s is None else LOST
        else:
            self.state = self.values.get("state", "active")
        return restarted

    def value(self, *words: str) -> str:
        """The first value of the node's report whose key has all of the words; empty: there is none."""
        return next((value for key, value in self.values.items() if all(word in key for word in words)), "")

    @property
    def there(self) -> bool:
        """Whether the node can be talked to."""
        return self.state not in (ABSENT, LOST)

    def json(self) -> dict[str, Any]:
        """For a page."""
        waiting = self.value("waiting")
        return {
            "state": self.state,
            "sentence": self.sentence,
            "model": self.value("model"),
            "waiting": int(waiting) if waiting.isdecimal() else None,
        }
