# SPDX-License-Identifier: Apache-2.0
"""Bounds of the console's HTTP connections: how many there may be, and how long one may say nothing whole."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_WAITING = 256
"""Connections that are no page's WebSocket. One more closes the oldest, so that a new browser always gets in."""
SILENT_S = 10.0
"""A connection on which no whole request comes for so long is closed; at most twice as long after its last answer."""


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP connection of the package h11, which refuses a request's head of more than 64 KiB."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accepts a connection, and closes the oldest where there are too many."""
        super().connection_made(transport)
        self._opened_s = self.loop.time()
        self._answered: object = None
        self._check_later()
        known = [one for one in self.connections if isinstance(one, BoundedConnection)]
        waiting = [one for one in known if not one.transport.is_closing()]
        if len(waiting) > MOST_WAITING:
            min(waiting, key=lambda one: one._opened_s).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees what the connection held."""
        self._checking.cancel()
        super().connection_lost(exc)

    def _check_later(self) -> None:
        self._checking = self.loop.call_later(SILENT_S, self._check)

    def _check(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # it has become a WebSocket, whose pings find out
        cycle = self.cycle
        if cycle is self._answered and (cycle is None or cycle.response_complete):
            self.transport.abort()
            return
        self._answered = cycle
        self._check_later()
