# SPDX-License-Identifier: Apache-2.0
"""The order of a page's requests, where the node does not answer a reset."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

from page_socket import Socket, with_page


def test_a_cancel_does_not_wait_for_a_reset_and_all_else_does() -> None:
    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        done, asked = asyncio.Event(), []

        async def reset(operator: str) -> None:
            asked.append("reset")
            await done.wait()

        front.reset.side_effect = reset
        front.cancel.side_effect = lambda operator, identity: asked.append(identity)
        front.send.side_effect = lambda operator, text, *_: asked.append(text)
        socket.say(type="reset")
        socket.say(type="reset")  # an impatient operator
        socket.say(type="command", text="the mug")
        socket.say(type="cancel", id="1")
        await socket.until(lambda: len(asked) == 2)
        assert sorted(asked) == ["1", "reset"]
        done.set()
        await socket.until(lambda: len(asked) == 4)
        assert asked[2:] == ["reset", "the mug"]

    with_page(use)


def test_what_was_sent_before_the_end_of_a_page_is_done() -> None:
    async def use(socket: Socket, front: Any, wrist: Any) -> None:
        done, sent = asyncio.Event(), []

        async def reset(operator: str) -> None:
            await done.wait()

        front.reset.side_effect = reset
        front.send.side_effect = lambda operator, text, *_: sent.append(text)
        socket.say(type="reset")
        socket.say(type="command", text="the mug")
        socket.incoming.put_nowait({"type": "websocket.disconnect"})
        await socket.until(lambda: front.reset.called)
        done.set()
        await socket.until(lambda: sent == ["the mug"])

    with_page(use)
