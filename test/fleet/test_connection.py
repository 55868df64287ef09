# SPDX-License-Identifier: Apache-2.0
"""No request breaks the next one on its connection."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lisa_ros.fleet.connection import Connection, UnreachableError

pytest.importorskip("httpx")
LINE = b'{"event": "finished"}\n'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(LINE), LINE)


class KeepingServer:
    """Keeps its connections open, and answers each request by a function."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._socket, self._answer = socket.create_server(("127.0.0.1", 0)), answer
        self.connections = 0
        self.client = Connection(f"lisa://127.0.0.1:{self._socket.getsockname()[1]}/m", "", 30.0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._answer_all, args=(connection,), daemon=True).start()

    def _answer_all(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while _read(connection):
                self._answer(connection)

    def close(self) -> None:
        self.client.close()
        self._socket.close()


def _read(connection: socket.socket) -> bytes:
    """The whole request; nothing where the connection was closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(2**16)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", head.lower())
    while len(body) < int(length):
        body += connection.recv(2**16)
    return head + body


@pytest.fixture
def kept() -> Iterator[Callable[[Callable[[socket.socket], None]], KeepingServer]]:
    servers: list[KeepingServer] = []

    def serve(answer: Callable[[socket.socket], None]) -> KeepingServer:
        servers.append(KeepingServer(answer))
        return servers[-1]

    yield serve
    for one in servers:
        one.close()


def asked(server: KeepingServer) -> list[dict[str, Any]]:
    return list(server.client.stream(b"body", {}, lambda: False))


def test_a_refused_request_does_not_cut_the_next_one(kept: Any) -> None:
    """Its connection is back in the pool and may be used by another request when the refusal is noticed."""
    count, noticed = itertools.count(), threading.Event()

    def answer(connection: socket.socket) -> None:
        if not next(count):
            connection.sendall(b"HTTP/1.1 429 Full\r\ncontent-length: 0\r\n\r\n")
            return
        noticed.wait(20)
        connection.sendall(WHOLE)

    server, found, looks = kept(answer), list[dict[str, Any]](), itertools.count()
    other = threading.Thread(target=lambda: found.extend(asked(server)), daemon=True)

    def busy() -> bool:
        """Looks for the refusal only when the other request waits for its answer."""
        if next(looks) == 1:
            time.sleep(0.5)
            other.start()
            time.sleep(0.5)
        return False

    with pytest.raises(UnreachableError, match="429"):
        list(server.client.stream(b"body", {}, busy))
    noticed.set()
    other.join(20)
    assert found == [{"event": "finished"}] and server.connections == 1
