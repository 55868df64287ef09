# SPDX-License-Identifier: Apache-2.0
"""SAM's encoder beside LLaMA: begun when a command comes, given up where the answer turns out to have no mask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Looked = TypeVar("Looked")
Look = Callable[[Callable[[], bool]], Looked | None]
"""Looks; asks now and then whether that is still wanted, and returns None when it is not."""


class Ahead(Generic[Looked]):
    """One look at a picture on a thread, and on a GPU on a stream, of its own. Safe to use from several threads.

    `begin` and `end` come in pairs, one for each answer that is being made; `result` stands between them.
    """

    def __init__(self, look: Look[Looked], device: torch.device) -> None:
        """Begins nothing yet; `look` runs on `device`."""
        self._look, self._device = look, device
        self._changed = threading.Condition()
        self._wanting = 0
        self._running = False
        self._looked: Looked | None = None
        self._error: Exception | None = None

    def begin(self) -> None:
        """Somebody may need the result soon."""
        with self._changed:
            self._wanting += 1
            self._start()

    def end(self) -> None:
        """Somebody needs it no longer; with the last of them the look ends where it is."""
        with self._changed:
            self._wanting -= 1

    def result(self) -> Looked:
        """What was seen; waits for it.

        Raises:
            Exception: what the look raised. The next `result` tries again.
        """
        with self._changed:
            while self._looked is None:
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                self._start()
                self._changed.wait()
            return self._looked

    def _start(self) -> None:
        if not self._running and self._looked is None:
            self._running = True
            threading.Thread(target=self._run, name="lisa_ahead", daemon=True).start()

    def _run(self) -> None:
        looked, error = None, None
        try:
            looked = self._on_its_stream()
        except Exception as raised:  # whoever asks for the result is told
            error = raised
        with self._changed:
            self._running, self._looked, self._error = False, looked, error
            self._changed.notify_all()

    def _on_its_stream(self) -> Looked | None:
        if self._device.type != "cuda":
            return self._look(self._wanted)
        stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(stream):
            looked = self._look(self._wanted)
            stream.synchronize()
        return looked

    def _wanted(self) -> bool:
        if self._device.type == "cuda":
            # Work is queued far ahead of the GPU; who waits for it here can still call it off.
            torch.cuda.current_stream(self._device).synchronize()
        with self._changed:
            return self._wanting > 0
