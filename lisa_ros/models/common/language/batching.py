# SPDX-License-Identifier: Apache-2.0
"""Answers that are made at the same time read LLaMA's weights together: threads that want a step are served as one.

Nobody schedules. Whoever asks first while no step is under way waits a moment for the other rows that are being
answered, then computes the step for all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from lisa_ros.models.common.language.llama import Outcome, Row

Read = Callable[[Sequence[Row]], list[Outcome]]

PATIENCE_S = 0.003
"""How long a step waits for rows that are being answered, but have not asked for their next step."""
MAX_ROWS = 16
"""Rows of one step."""


@dataclass
class _Ticket:
    row: Row
    outcome: Outcome | None = None
    error: Exception | None = None
    settled: bool = field(default=False)


class Batcher:
    """Makes one step out of those that several threads want."""

    def __init__(self, read: Read, *, patience_s: float = PATIENCE_S) -> None:
        """Takes what computes a step of several rows."""
        self._read, self._patience_s = read, patience_s
        self._changed = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._present = 0
        self._busy = False

    @contextmanager
    def present(self) -> Iterator[None]:
        """While a thread is in here, steps wait for it for a moment."""
        with self._changed:
            self._present += 1
        try:
            yield
        finally:
            with self._changed:
                self._present -= 1
                self._changed.notify_all()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside `present`: for work that others need not wait for."""
        with self._changed:
            self._present -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._present += 1

    def read(self, row: Row) -> Outcome:
        """Reads on in one row, together with whoever reads at the same time.

        Raises:
            Exception: what the computation raised; every row of that step gets it.
        """
        ticket = _Ticket(row)
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify_all()
            while not ticket.settled:
                if self._busy:
                    self._changed.wait()
                else:
                    self._lead()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.outcome is not None
        return ticket.outcome

    def _lead(self) -> None:
        """Computes a step for all who wait. Called with the lock held, which is let go while computing."""
        self._busy = True
        self._changed.wait_for(lambda: len(self._waiting) >= min(self._present, MAX_ROWS), self._patience_s)
        served, self._waiting = self._waiting[:MAX_ROWS], self._waiting[MAX_ROWS:]
        self._changed.release()
        try:
            self._serve(served)
        finally:
            self._changed.acquire()
            self._busy = False
            for ticket in served:
                ticket.settled = True
                if ticket.outcome is None and ticket.error is None:  # a KeyboardInterrupt, in whoever leads
                    ticket.error = RuntimeError("the step was interrupted")
            self._changed.notify_all()

    def _serve(self, served: Sequence[_Ticket]) -> None:
        try:
            with torch.inference_mode():
                outcomes = self._read([ticket.row for ticket in served])
            for ticket, outcome in zip(served, outcomes, strict=True):
                ticket.outcome = outcome
        except Exception as error:
            for ticket in served:
                ticket.error = error
