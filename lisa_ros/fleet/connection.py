# SPDX-License-Identifier: Apache-2.0
"""The robot's HTTP connection to a server: requests out, lines of an answer in, cancelled at any time."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any
from urllib.parse import urlsplit

from lisa_ros.fleet.access import can_be_sent
from lisa_ros.segmentation.errors import LisaError, how_to_install

SCHEMES = {"lisa": "http", "lisas": "https"}
DEFAULT_PORT = 8000
_POLL_S = 0.02
_CONNECT_S = 2.0
_REFUSALS = frozenset({400, 401, 403, 404, 413})
"""HTTP statuses by which a server refuses a request, so that asking it again is no use."""
_CHANGED = frozenset({401, 404})
"""What a server says when it was replaced: by one without the model's path, or with other tokens."""
MOST_LINE_BYTES = 16 * 2**20
"""Of an event. One with 50 masks of 640 x 480 pixels has about 100 kB."""
MOST_TEXT_BYTES = 2**16
"""Of an answer that is no stream: the model's name, or why a request is refused."""
MOST_PARTS = 100_000
"""Of an answer, as the network delivers it; an answer of 4,096 tokens has fewer than 5,000."""

try:
    import httpx
except ModuleNotFoundError:  # said by name when a server is asked for
    httpx = None  # type: ignore[assignment,unused-ignore]


class UnreachableError(LisaError):
    """The server cannot be reached, does not answer in time, or its queue is full."""


class LostReplicaError(UnreachableError):
    """The replica or the connection was lost before the answer was whole; the request can be sent again."""


class UnreadableAnswerError(UnreachableError):
    """The server sends what is no answer: a fallback answers in its place."""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The command was cancelled while the server was answering."""


def is_remote(checkpoint: str) -> bool:
    """Whether a checkpoint is a server's: lisa://HOST:PORT/MODEL, or lisas:// for TLS."""
    return checkpoint.partition("://")[0] in SCHEMES and "://" in checkpoint


def base_address(server: str) -> str:
    """The HTTP address of a server such as lisa://gpu1:8000/tabletop.

    Raises:
        LisaError: it is no such address.
    """
    parts = urlsplit(server)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise LisaError(f"{server}: {error}; a server must be lisa://HOST:PORT/MODEL") from error
    if parts.scheme not in SCHEMES or not parts.hostname or not parts.path.strip("/") or parts.username:
        raise LisaError(f"{server} is no server; it must be lisa://HOST:PORT/MODEL, or lisas:// for TLS")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{SCHEMES[parts.scheme]}://{host}:{port}/{parts.path.strip('/')}"


class _Socket:
    """The socket of one request. It can be cut until it goes back to the pool, where another request may use it."""

    def __init__(self) -> None:
        self._lock, self._cut = threading.Lock(), False
        self._socket: socket.socket | None = None

    def opened(self, one: socket.socket) -> None:
        """The answer begins on this socket; it is cut now if `cut` was called before."""
        with self._lock:
            self._socket = one
            if self._cut:
                self._shut_down()

    def done(self) -> None:
        """The answer is whole: the socket is not this request's any more."""
        with self._lock:
            self._socket = None

    def cut(self) -> None:
        """Wakes the thread that waits for the server's next line."""
        with self._lock:
            self._cut = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class Connection:
    """Requests to one server. May be used from any thread."""

    def __init__(self, server: str, token: str, timeout_s: float, certificate: str = "") -> None:
        """Connects nothing yet.

        Args:
            server: such as lisa://gpu1:8000/tabletop.
            token: the robot's own; empty: none.
            timeout_s: how long the server may be silent, seconds.
            certificate: file with the authority that signed the server's certificate, PEM; empty: the system's own.

        Raises:
            LisaError: the address or the token cannot be one, or httpx is not installed.
        """
        token = token.strip()  # of a file, with the end of its line
        if not can_be_sent(token):  # httpx would put it into its error, and so into the log
            raise LisaError("remote_token has a space or a character that is not ASCII, which no token has")
        if httpx is None:
            raise LisaError(f"a remote model needs httpx; {how_to_install('fleet')}")
        self.server, self._timeout_s = server, timeout_s
        self._client = httpx.Client(
            base_url=base_address(server),
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
            verify=_context(certificate),
            trust_env=False,
        )

    def describe(self) -> dict[str, Any]:
        """What the server reports about its model.

        Raises:
            UnreachableError: the server does not answer, or is not ready.
            LisaError: it refuses the token, or is something else.
        """
        try:
            with self._client.stream("GET", "/model") as answer:
                text = self._short_text(answer)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer.status_code, text, _REFUSALS)
        try:
            return {"model": str(json.loads(text)["model"])}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LisaError(f"{self.server} answers, but is no `lisa serve`") from error

    def stream(self, body: bytes, headers: dict[str, str], cancelled: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """Sends a request and yields the lines of its answer.

        Raises:
            Cancelled: `cancelled` returned True; the closed connection says so to the server.
            LostReplicaError: the connection broke or the server did not get the whole request, which a bad link does;
                the request can be sent again.
            UnreachableError, LisaError: as for `describe`.
        """
        if cancelled():  # before the server begins to work
            raise Cancelled
        lines: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        used = _Socket()
        reader = threading.Thread(target=self._read, args=(body, headers, lines, used), name="lisa_remote", daemon=True)
        reader.start()
        try:
            while (line := _next(lines, cancelled)) is not None:
                if isinstance(line, BaseException):
                    raise line
                yield line
        finally:
            used.cut()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _read(self, body: bytes, headers: dict[str, str], lines: Any, used: _Socket) -> None:
        try:
            with self._client.stream("POST", "/segment", content=body, headers=headers) as answer:
                used.opened(answer.extensions["network_stream"].get_extra_info("socket"))
                try:
                    self._read_lines(answer, lines)
                finally:  # also after a refusal: the socket goes back to the pool
                    used.done()
            lines.put(None)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
            lines.put(LostReplicaError(f"{self.server}: the connection broke ({type(error).__name__}: {error})"))
        except httpx.HTTPError as error:
            lines.put(self._unreachable(error))
        except BaseException as error:  # the thread that waits for the lines raises it
            lines.put(error)

    def _read_lines(self, answer: Any, lines: Any) -> None:
        if answer.status_code != httpx.codes.OK:
            # It was the right server when the node was configured.
            self._check(answer.status_code, self._short_text(answer), _REFUSALS - _CHANGED)
        for line in _lines(answer.iter_bytes()):
            lines.put(line)

    def _short_text(self, answer: Any) -> str:
        """The text of an answer, at most MOST_TEXT_BYTES of it: a wrong server may send without end."""
        text, end_s = b"", time.monotonic() + self._timeout_s
        for part in answer.iter_bytes():
            text += part
            if len(text) > MOST_TEXT_BYTES or time.monotonic() > end_s:
                break
        return text[:MOST_TEXT_BYTES].decode(errors="replace")

    def _check(self, status: int, text: str, refusals: Set[int]) -> None:
        if status == httpx.codes.OK:
            return
        try:
            sentence = str(json.loads(text)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            sentence = text.strip()[:200]
        lost = LostReplicaError if status == httpx.codes.REQUEST_TIMEOUT else UnreachableError
        kind = LisaError if status in refusals else lost
        raise kind(f"{self.server} answers {status}: {sentence}")

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(f"{self.server} cannot be reached ({type(error).__name__}: {error})")


def _lines(parts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of an answer, one a line. Whoever sends them may be wrong or hostile."""
    waiting = b""
    for count, part in enumerate(parts):
        waiting += part
        *whole, waiting = waiting.split(b"\n")
        for line in whole:
            yield _json(line)
        if len(waiting) > MOST_LINE_BYTES or count > MOST_PARTS:
            raise UnreadableAnswerError(f"the server's answer is too long: {len(waiting)} bytes a line, {count} parts")
    if waiting.strip():
        raise LostReplicaError("the connection was closed within a line of the answer")


def _json(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError(f"the server's answer cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise UnreadableAnswerError(f"the server's answer cannot be read: a line is a {type(found).__name__}")
    return found


def _next(lines: Any, cancelled: Callable[[], bool]) -> Any:
    while True:
        if cancelled():
            raise Cancelled
        with contextlib.suppress(queue.Empty):
            return lines.get(timeout=_POLL_S)


def _context(certificate: str) -> Any:
    import ssl

    try:
        return ssl.create_default_context(cafile=certificate or None)
    except (OSError, ssl.SSLError) as error:
        raise LisaError(f"{certificate} is no certificate in PEM form ({error})") from error
