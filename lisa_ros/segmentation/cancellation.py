# SPDX-License-Identifier: Apache-2.0
"""A request to cancel an answer, which any number of threads can share."""

from __future__ import annotations

import threading


class CancelToken:
    """Set once, seen by all. `Session.segment(cancelled=token)` polls it; a remote model can wait for it instead."""

    def __init__(self) -> None:
        """Not cancelled."""
        self._event = threading.Event()

    def cancel(self) -> None:
        """Cancel. May be called more than once, and from any thread."""
        self._event.set()

    def __call__(self) -> bool:
        """Return whether it is cancelled."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is cancelled, or for so many seconds; return whether it is cancelled."""
        return self._event.wait(timeout_s)
