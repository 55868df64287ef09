# SPDX-License-Identifier: Apache-2.0
"""Batches the decoding steps of answers that are generated at the same time: they share one read of the weights.

There is no scheduler thread. The first thread that asks for a step while none is being computed leads it: it waits a
moment for the other running answers, then computes one step for all that asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from lisa_ros.models.common.language.llama import Row, StepOutput

Compute = Callable[[Sequence[Row]], list[StepOutput]]

MAX_WAIT_S = 0.003
"""How long a step waits for running answers that have not asked for their next step yet."""
MAX_ROWS = 16
"""Most rows in one step."""


@dataclass(eq=False)
class _Ticket:
    """One row that waits for its step, and its result."""

    row: Row
    output: StepOutput | None = None
    error: Exception | None = None
    done: bool = False


class Batcher:
    """Computes the steps that several threads ask for as one."""

    def __init__(self, compute: Compute, *, max_wait_s: float = MAX_WAIT_S, max_rows: int = MAX_ROWS) -> None:
        """Takes the function that computes a step of several rows."""
        self._compute, self._max_wait_s, self._max_rows = compute, max_wait_s, max_rows
        self._changed = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._running_answers = 0
        self._leader: _Ticket | None = None
        self._batch: list[_Ticket] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """While a thread is inside, steps wait a moment for its next row."""
        with self._changed:
            self._running_answers += 1
        try:
            yield
        finally:
            with self._changed:
                self._running_answers -= 1
                self._changed.notify_all()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside `active`: for work during which other threads need not wait for this one."""
        with self._changed:
            self._running_answers -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running_answers += 1

    def run(self, row: Row) -> StepOutput:
        """Runs one row over its new positions, in one step with all threads that ask at the same time.

        Raises:
            Exception: what the computation raised; every row of that step gets it.
        """
        ticket = _Ticket(row)
        try:
            with self._changed:
                self._waiting.append(ticket)
                self._changed.notify_all()
            while batch := self._next_batch(ticket):
                self._serve(batch)
                self._end_batch(ticket)
        except BaseException:  # a KeyboardInterrupt, for example: the other threads must not wait for this one
            self._withdraw(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        assert ticket.output is not None
        return ticket.output

    def _next_batch(self, ticket: _Ticket) -> list[_Ticket]:
        """Waits until the ticket is done (empty list), or until its thread leads a step (the tickets to serve)."""
        with self._changed:
            self._changed.wait_for(lambda: ticket.done or self._leader is None)
            if ticket.done:
                return []
            self._leader = ticket
            self._changed.wait_for(
                lambda: len(self._waiting) >= min(self._running_answers, self._max_rows), self._max_wait_s
            )
            self._batch, self._waiting = self._waiting[: self._max_rows], self._waiting[self._max_rows :]
            return self._batch

    def _serve(self, batch: Sequence[_Ticket]) -> None:
        try:
            with torch.inference_mode():
                outputs = self._compute([ticket.row for ticket in batch])
            for ticket, output in zip(batch, outputs, strict=True):
                ticket.output = output
        except Exception as error:
            for ticket in batch:
                ticket.error = error

    def _end_batch(self, leader: _Ticket) -> None:
        """Settles the batch and lets another thread lead."""
        with self._changed:
            for ticket in self._batch:
                ticket.done = True
                if ticket.output is None and ticket.error is None:
                    ticket.error = RuntimeError("the step was interrupted")
            self._batch, self._leader = [], None
            self._changed.notify_all()

    def _withdraw(self, ticket: _Ticket) -> None:
        """Takes back a ticket whose thread was interrupted; where it led a step, the others get an error."""
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if self._leader is ticket:
                self._end_batch(ticket)
