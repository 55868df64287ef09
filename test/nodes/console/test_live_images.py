# SPDX-License-Identifier: Apache-2.0
"""A page's live images without a browser: a change of camera, and images that take long to encode."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from lisa_ros.nodes.console import feed as feed_module
from lisa_ros.nodes.console import page as page_module
from lisa_ros.nodes.console.conversation import ANSWERING, DONE, SENT, Conversation, Exchange
from lisa_ros.nodes.console.feed import CameraFeed
from lisa_ros.nodes.console.page import LAST, Page

DEADLINE_S = 20.0
FRONT, WRIST = 1000, 2000
"""Seconds of the stamps of each camera's images."""


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


def take(view: Any, second: int) -> None:
    """The camera sends an image."""
    view.feed._take(SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=second, nanosec=0))))


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


def test_each_camera_counts_its_own_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second camera's were shown only once it had sent as many as the first."""
    monkeypatch.setattr(feed_module, "encode_jpeg", lambda message, width: (b"jpeg", (4, 3)))

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        for _ in range(40):
            take(front, FRONT)
        await socket.until(lambda: FRONT in socket.sent)
        socket.say(type="hello", operator="ann", camera="wrist")
        socket.say(type="frame", width=320)
        await socket.until(lambda: wrist.feed.subscribed)
        for _ in range(30):
            take(wrist, WRIST)
        await socket.until(lambda: WRIST in socket.sent)

    with_page(use)


def test_no_image_of_the_camera_before_comes_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "encode_jpeg", lambda message, width: (b"jpeg", (4, 3)))

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        socket.open.clear()  # a slow link
        await socket.until(lambda: front.state.call_count > 1)
        take(front, FRONT)
        await socket.until(lambda: front.feed.encoded == 1)
        await asyncio.sleep(0.1)
        socket.say(type="hello", operator="ann", camera="wrist")
        await socket.until(lambda: wrist.feed.subscribed)
        socket.open.set()
        socket.say(type="frame", width=320)
        take(wrist, WRIST)
        await socket.until(lambda: WRIST in socket.sent)
        assert FRONT not in socket.sent

    with_page(use)


def test_an_image_that_takes_longer_to_encode_than_a_heartbeat_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each heartbeat began a newer one, so that none was ever ready."""
    monkeypatch.setattr(page_module, "HEARTBEAT_S", 0.05)

    def encode(message: Any, width: int) -> tuple[bytes, tuple[int, int]]:
        time.sleep(0.3)
        return b"jpeg", (4, 3)

    monkeypatch.setattr(feed_module, "encode_jpeg", encode)

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        def next_image() -> bool:
            take(front, FRONT)
            return FRONT in socket.sent

        await socket.until(next_image)

    with_page(use)


def test_a_hidden_page_gets_the_image_that_it_asked_for_once_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "encode_jpeg", lambda message, width: (b"jpeg", (4, 3)))

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        socket.say(type="view", visible=False)
        await socket.until(lambda: not front.feed.subscribed)
        socket.say(type="view", visible=True)
        socket.say(type="frame", width=320)
        await socket.until(lambda: front.feed.subscribed)
        take(front, FRONT)
        await socket.until(lambda: FRONT in socket.sent)

    with_page(use)


def test_a_page_with_many_ragged_masks_stays_open() -> None:
    """More than 16 MiB of them, of a camera with 3840 x 2160 pixels."""
    full = Conversation("ann")
    for number in range(50):
        objects = [{"runs": [1921, 1919] * 15_000, "mask_left_out": False} for _ in range(4)]
        full.put(Exchange(str(number), "the leaves", state=DONE, objects=objects, turn=number + 1))

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        wrist.conversation.side_effect = lambda operator: full
        socket.open.clear()
        socket.say(type="hello", operator="ann", camera="wrist")
        await socket.until(lambda: wrist.feed.subscribed)
        full.notify(full.snapshot())  # before it has read the first
        socket.open.set()
        await socket.until(lambda: socket.sent.count("dialogue") == 3)
        states = socket.sent.count("state")
        await socket.until(lambda: socket.sent.count("state") > states)
        # A browser gets a message as a whole, and takes a link that brings nothing for 6 s for dead.
        assert socket.longest <= 2**14 + 1

    with_page(use)


def test_parts_of_an_answer_that_a_slow_page_has_not_read_are_sent_once() -> None:
    """Each has the masks of those before it: thirty of 100 kB would be 45 MB."""
    slow = Conversation("ann")
    parts = Exchange("1", "the leaves", state=SENT)

    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        wrist.conversation.side_effect = lambda operator: slow
        socket.open.clear()
        socket.say(type="hello", operator="ann", camera="wrist")
        await socket.until(lambda: wrist.feed.subscribed)
        slow.put(parts)
        parts.state = ANSWERING
        for number in range(60):
            parts.objects = [*parts.objects, {"runs": [1921, 1919] * 5000, "mask_left_out": False}]
            slow.put(parts)
            if number == 29:
                slow.notify(slow.snapshot())
        parts.state = DONE
        slow.put(parts)
        socket.open.set()
        await socket.until(lambda: socket.sent.count("exchange") == 4)
        shown = [one for one in socket.sent if one in ("exchange", "dialogue")]
        assert shown == ["dialogue", "dialogue", "exchange", "exchange", "dialogue", "exchange", "exchange"]

    with_page(use)
