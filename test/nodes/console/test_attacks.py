# SPDX-License-Identifier: Apache-2.0
"""What a stranger in the network, or a page with bugs, may do to the console without ending or filling it."""

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from console_page import address_of, console_command
from ros_harness import Process, started, wait_until

from lisa_ros.nodes.console.web.connections import MOST_WAITING, SILENT_S

MIB = 2**20


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with started(console_command()) as process:
        address_of(process)
        yield process
        assert "Traceback" not in process.output, process.output


@pytest.fixture
def port(process: Process) -> int:
    return urlsplit(address_of(process)).port or 0


def connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def health(port: int) -> dict[str, object]:
    with connection(port) as asking:
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: asking.recv(4096), b""))
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


def memory_bytes(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors(process: Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def page(port: int, *sent: bytes) -> socket.socket:
    """A page's WebSocket by hand, and the frames that it sends first."""
    key = base64.b64encode(os.urandom(16)).decode()
    opened = connection(port)
    opened.sendall(
        f"GET /page HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # byte by byte: the first frames may follow at once
        byte = opened.recv(1)
        assert byte, head
        head += byte
    assert b"101" in head
    opened.sendall(b"".join(sent))
    return opened


def frame(data: bytes, opcode: int = 1, whole: bool = True) -> bytes:
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + struct.pack(">H", len(data))
    return bytes([(0x80 if whole else 0) | opcode]) + length + b"\0\0\0\0" + data


@pytest.mark.parametrize("line", [b"X: " + b"a" * MIB, b"".join(b"X%d: y\r\n" % number for number in range(80_000))])
def test_a_request_without_an_end_takes_no_memory(process: Process, port: int, line: bytes) -> None:
    health(port)
    before = memory_bytes(process)
    with connection(port) as endless, suppress(ConnectionError):
        endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(40):
            endless.sendall(line)
            time.sleep(0.005)
        raise AssertionError("40 MB of a request's head were taken")
    assert memory_bytes(process) - before < 20 * MIB
    assert health(port)["pages"] == 0


def test_slow_requests_neither_keep_others_out_nor_stay(process: Process, port: int) -> None:
    health(port)
    before = descriptors(process)
    with ExitStack() as stack:
        for _ in range(3 * MOST_WAITING):
            stack.enter_context(connection(port)).sendall(b"GET / HTTP/1.1\r\nHos")
        began_s = time.monotonic()
        assert health(port)["pages"] == 0
        wait_until(lambda: descriptors(process) - before <= MOST_WAITING + 10, "the oldest ones' end", SILENT_S - 1)
        # One that sends a byte now and then is no better than one that sends nothing.
        slow = stack.enter_context(connection(port))
        while time.monotonic() < began_s + 3 * SILENT_S and descriptors(process) > before + 2:
            with suppress(ConnectionError):
                slow.sendall(b"x")
            time.sleep(0.5)
        wait_until(lambda: descriptors(process) <= before + 2, "the end of the slow connections")


def test_more_pages_than_may_be_are_closed_and_give_their_place_back(process: Process, port: int) -> None:
    with ExitStack() as stack:
        pages = [stack.enter_context(page(port)) for _ in range(40)]
        wait_until(lambda: health(port)["pages"] == 32, "as many pages as may be")
        pages[-1].settimeout(30)
        assert b"too many pages" in pages[-1].recv(4096)
    wait_until(lambda: health(port)["pages"] == 0, "the end of the pages")


def test_a_connection_that_ends_anywhere_leaves_nothing(process: Process, port: int) -> None:
    health(port)
    before = descriptors(process)
    hello = frame(b'{"type": "hello", "operator": "mallory"}')
    steps = (
        (hello[:7],),
        (hello, frame(b'{"type": "command", "text": "x"}')),
        (hello, frame(b'{"type": "talk", "rate": 16000}'), frame(bytes(1001), 2)),
        (frame(bytes(200), 2), hello, frame(b'{"type": "frame", "width": 640}')),
        (hello, frame(b'{"type": "reset"}'), frame(b'{"type": "undo"}'), frame(b'{"type": "view", "visible": false}')),
        (frame(b"x", 1, whole=False),),
        (frame(b"\0", 8),),
        (frame(b"x", 3),),
        (b"\x81\x05hello",),  # not masked
        (b"\x81\xff" + struct.pack(">Q", 2**62) + b"\0\0\0\0",),  # more bytes than there are
        (frame(b"x", 1, whole=False), *(frame(b"y" * 60_000, 0, whole=False) for _ in range(3))),
    )
    for step in steps:
        with suppress(ConnectionError):
            page(port, *step).close()
        with suppress(ConnectionError), page(port, *step) as aborted:
            aborted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: health(port)["pages"] == 0, "the end of the pages")
    wait_until(lambda: descriptors(process) <= before + 2, "the end of the connections")
    assert process.alive


def test_no_path_leads_out_of_the_page_s_files(port: int) -> None:
    for path in (
        "/static/../node.py",
        "/static/..%2fnode.py",
        "/static/%2e%2e/%2e%2e/node.py",
        "/static/....//node.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..\\node.py",
        "/static/%00",
        "/static/%ff",
        "/static/" + "a" * 5000,
        "/static/texts",
        "/static/",
    ):
        with connection(port) as asking:
            asking.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            assert asking.recv(4096).split()[1] in (b"400", b"404"), path
