# SPDX-License-Identifier: Apache-2.0
"""A page of the console without a browser and without ROS: its WebSocket, and two cameras."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import MagicMock

from lisa_ros.nodes.console.conversation import Conversation
from lisa_ros.nodes.console.feed import CameraFeed
from lisa_ros.nodes.console.page import LAST, Page

DEADLINE_S = 20.0


class Socket:
    """A page's WebSocket: what the page sends, and what it is sent."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()
        self.sent: list[Any] = []
        """The types of messages, and the seconds of the stamps of live images."""
        self.parts: list[bytes] = []
        self.longest = 0

    def say(self, **message: Any) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send_text(self, text: str) -> None:
        await self.open.wait()
        self.longest = max(self.longest, len(text))
        self.sent.append(json.loads(text)["type"])

    async def send_bytes(self, data: bytes) -> None:
        await self.open.wait()
        self.longest = max(self.longest, len(data))
        self.parts.append(data[1:])
        if data.startswith(LAST):
            whole = b"".join(self.parts)
            self.parts = []
            end = 4 + int.from_bytes(whole[:4], "big")
            header = json.loads(whole[4:end])
            self.sent.append(json.loads(whole[end:])["type"] if header["kind"] == "message" else header["stamp"][0])

    async def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.sent
            await asyncio.sleep(0.005)


def camera(namespace: str) -> Any:
    view = MagicMock(namespace=namespace)
    view.feed = CameraFeed(MagicMock(), f"/{namespace}/image", False, asyncio.get_running_loop(), MagicMock())
    view.state.side_effect = lambda: {"type": "state"}
    view.conversation.side_effect = Conversation
    return view


def with_page(use: Callable[[Socket, Any, Any], Awaitable[None]]) -> None:
    async def run() -> None:
        socket, front, wrist = Socket(), camera("front"), camera("wrist")
        page = Page(socket, {"front": front, "wrist": wrist})  # type: ignore[arg-type]
        serving = asyncio.create_task(page.serve())
        try:
            socket.say(type="hello", operator="ann", camera="front")
            socket.say(type="frame", width=320)
            await socket.until(lambda: "welcome" in socket.sent)
            await use(socket, front, wrist)
        finally:
            serving.cancel()
            await asyncio.wait({serving})

    asyncio.run(run())
