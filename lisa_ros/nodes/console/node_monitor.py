# SPDX-License-Identifier: Apache-2.0
"""Whether a LISA node is alive, from its diagnostics (1 Hz) and from the ROS graph."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

SILENT_S = 1.8
"""A node whose diagnostics are missing for this long is LOST: a page must show it within 2 s. Diagnostics come once a
second, so a node that was only busy returns with its next report."""

ABSENT, LOST = "absent", "lost"
"""States beside those of the lifecycle: not seen since the console started, and seen before but not now."""


@dataclass
class NodeMonitor:
    """The state of one node.

    Attributes:
        name: the node's full name without the leading slash, as in its diagnostics.
        state: ABSENT, LOST, or the lifecycle's ("active", "inactive", "configuring" ...).
        message: of the node's newest diagnostics.
        values: of the node's newest diagnostics.
        restarts: how often another process took the node's name since the console started.
    """

    name: str
    state: str = ABSENT
    message: str = ""
    values: dict[str, str] = field(default_factory=dict)
    restarts: int = 0
    _reported_s: float | None = None
    _endpoints: frozenset[tuple[int, ...]] = frozenset()

    def on_diagnostics(self, diagnostics: DiagnosticArray, now_s: float | None = None) -> None:
        """Keeps the node's own status of a message on /diagnostics."""
        for status in diagnostics.status:
            if status.name == f"{self.name}: lisa":
                self._reported_s = time.monotonic() if now_s is None else now_s
                self.message = status.message
                self.values = {one.key: one.value for one in status.values}

    def update(self, endpoints: frozenset[tuple[int, ...]], now_s: float | None = None) -> bool:
        """Updates `state`.

        Args:
            endpoints: ids of the publishers of the node's answers. Each start of the node has new ones. Those of a
                killed process stay in the graph until DDS's lease ends.
            now_s: monotonic seconds; None: now.

        Returns:
            whether another process has taken the node's name since the last call.
        """
        now_s = time.monotonic() if now_s is None else now_s
        restarted = bool(endpoints - self._endpoints) and bool(self._endpoints)
        self._endpoints = self._endpoints | endpoints
        if restarted:
            self.restarts += 1
            self._reported_s = -math.inf  # the newest diagnostics are of the process before
        silent = self._reported_s is None or now_s - self._reported_s > SILENT_S
        if not endpoints or silent:
            self.state = ABSENT if self._reported_s is None else LOST
        else:
            self.state = self.values.get("state", "active")
        return restarted

    def value(self, *words: str) -> str:
        """The first value of the node's diagnostics whose key has all of the words; empty: there is none."""
        return next((value for key, value in self.values.items() if all(word in key for word in words)), "")

    @property
    def alive(self) -> bool:
        """Whether the node answers."""
        return self.state not in (ABSENT, LOST)

    def json(self) -> dict[str, Any]:
        """For a page."""
        waiting = self.value("waiting")
        return {
            "state": self.state,
            "message": self.message,
            "model": self.value("model"),
            "waiting": int(waiting) if waiting.isdecimal() else None,
        }
