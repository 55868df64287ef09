# SPDX-License-Identifier: Apache-2.0
"""A TCP relay in place of a bad link: it adds delay, stalls as TCP does at a lost packet, and breaks connections."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STALL_S = 0.2
"""Linux's shortest retransmission timeout: what a lost packet costs where no later one reveals the loss."""


@dataclass(frozen=True)
class Link:
    """A bad link.

    Attributes:
        delay_s: seconds, in each direction.
        loss: probability that a part of the stream comes STALL_S later, with all that follows it.
        broken: probability that the connection breaks at a part.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    broken: float = 0.0


@contextmanager
def relayed(port: int, link: Link, seed: int = 0) -> Iterator[int]:
    """A port on this machine whose data reaches `port` over a bad link.

    Args:
        port: Of the server, on 127.0.0.1.
        link: What it does to the data.
        seed: Of all random numbers.

    Yields:
        the relay's port.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lisa_delay", daemon=True)
    thread.start()

    chance = random.Random(seed)

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(
            lambda reader, writer: _relay(reader, writer, port, link, chance), "127.0.0.1", 0
        )

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, link: Link, chance: random.Random
) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    both = (writer, there_writer)
    await asyncio.gather(
        _copy(reader, there_writer, both, link, chance), _copy(there_reader, writer, both, link, chance)
    )


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    both: tuple[asyncio.StreamWriter, ...],
    link: Link,
    chance: random.Random,
) -> None:
    """Delays each part by as much, without holding the next one up; a stalled part holds up all that follow."""
    loop, due_s = asyncio.get_running_loop(), 0.0
    while data := await _read(reader):
        if chance.random() < link.broken:
            for one in both:
                one.transport.abort()
            return
        stall_s = STALL_S if chance.random() < link.loss else 0.0
        # Later than the part before: the loop calls handles of one moment in any order.
        due_s = max(due_s + 1e-6, loop.time() + link.delay_s + stall_s)
        loop.call_at(due_s, writer.write, data)
    loop.call_at(max(due_s + 1e-6, loop.time() + link.delay_s), writer.close)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""
