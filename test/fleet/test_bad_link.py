# SPDX-License-Identifier: Apache-2.0
"""The robot's side over a link that delays, stalls and breaks; a robot that leaves early. The server is scripted."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from lisa_ros.benchmark.fleet.bad_link import Link, relayed
from lisa_ros.fleet.messages import event_json
from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import Query, pack, unpack
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask, TextDelta
from lisa_ros.segmentation.interface import answering

pytest.importorskip("httpx")
IMAGE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


class Server:
    """Answers with the command's own text, in pieces, and one mask."""

    def __init__(self) -> None:
        self.asked = self.left = 0
        self.pause_s = 0.0
        self.ids: dict[str, str] = {}
        self._frames: set[str] = set()
        app = Starlette(routes=[Route("/m/segment", self._segment, methods=["POST"])])
        self._uvicorn = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._uvicorn.run, daemon=True)

    @property
    def port(self) -> int:
        return int(self._uvicorn.servers[0].sockets[0].getsockname()[1])

    def __enter__(self) -> Server:
        self._thread.start()
        while not self._uvicorn.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: Any) -> None:
        self._uvicorn.should_exit = True
        self._thread.join()

    async def _segment(self, request: Request) -> Any:
        query, image = unpack(await request.body())
        self.asked += 1
        self.ids[query.command] = query.command_id
        if not image and query.frame not in self._frames:
            return JSONResponse({"event": "unknown_frame"})
        self._frames.add(query.frame)
        return StreamingResponse(self._lines(query))

    async def _lines(self, query: Query) -> AsyncIterator[bytes]:
        found = ObjectMask(IMAGE[..., 0] > len(query.command), (0, 5))
        texts = [TextDelta(letter) for letter in query.command]
        try:
            for event in (MaskFound(found), *texts, Finished(query.command, (found,), "end")):
                yield json.dumps(event_json(event)).encode() + b"\n"
                await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            self.left += 1
            raise


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        yield one


def test_each_command_is_answered_once_over_a_link_that_breaks(server: Server) -> None:
    with relayed(server.port, Link(delay_s=0.005, loss=0.01, broken=0.01), seed=3) as port:
        remote = RemoteSegmenter(f"lisa://127.0.0.1:{port}/m", RemoteSettings(timeout_s=30.0, jpeg_quality=90))
        encoded = remote.encode(IMAGE)
        for number in range(100):
            text = f"command {number}"
            events = list(remote.session(encoded).segment(text))
            assert [type(one) for one in events].count(MaskFound) == 1
            assert "".join(one.text for one in events if isinstance(one, TextDelta)) == text
            assert isinstance(events[-1], Finished) and events[-1].answer == text
            np.testing.assert_array_equal(events[-1].objects[0].mask, IMAGE[..., 0] > len(text))
        assert remote.traffic.resent >= 1, "the link did not break"
        assert server.asked >= 100
        remote.release()


def test_the_command_of_the_node_names_the_request(server: Server) -> None:
    remote = RemoteSegmenter(f"lisa://127.0.0.1:{server.port}/m", RemoteSettings())
    encoded = remote.encode(IMAGE)
    with answering("id-1"):
        list(remote.session(encoded).segment("first"))
    list(remote.session(encoded).segment("second"))
    assert server.ids == {"first": "id-1", "second": ""}
    remote.release()


def test_a_command_cancelled_before_the_answer_begins_ends_at_the_server(server: Server) -> None:
    server.pause_s = 0.05
    with relayed(server.port, Link(delay_s=1.0)) as port:
        remote = RemoteSegmenter(f"lisa://127.0.0.1:{port}/m", RemoteSettings(timeout_s=30.0))
        began_s = time.monotonic()
        *_, finished = remote.session(remote.encode(IMAGE)).segment(
            "a" * 100, cancelled=lambda: time.monotonic() > began_s + 0.1
        )
        assert (finished.reason, finished.answer) == ("cancelled", "")
        deadline_s = time.monotonic() + 60
        while not server.left and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert server.left == 1, "the server answers a command that nobody waits for"
        remote.release()


def test_a_robot_that_leaves_before_the_first_line_gets_its_place_back() -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")
    assert ray
    from lisa_ros.fleet.access import ANYBODY, Quota
    from lisa_ros.fleet.ingress import Ingress

    ingress = Ingress(None, {}, Quota(concurrent=1))  # type: ignore[arg-type]
    body = pack(Query("0" * 64, "a"))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/m/segment",
        "query_string": b"",
        "headers": [(b"content-length", str(len(body)).encode())],
    }
    received = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(_: Any) -> None:
        raise OSError("the robot has left")

    async def leave() -> None:
        response = await ingress(Request(scope, receive))
        with pytest.raises(BaseException, match=r"left|unhandled|disconnect"):
            await response(scope, receive, send)

    asyncio.run(leave())
    ingress._access.begin(ANYBODY)


def test_masks_are_sent_at_once_and_text_in_parts() -> None:
    pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")
    from lisa_ros.fleet.replica import _Lines

    parts: list[bytes | None] = []
    lines = _Lines(parts.append)
    texts = [{"event": "text", "text": letter} for letter in "abcdefgh"]
    for event in (*texts[:4], {"event": "mask"}, *texts[4:], {"event": "finished"}):
        lines.add(event)
    assert len(parts) == 3, "the first text, then all up to the mask, then all up to the end"
    assert parts[1] is not None and parts[1].endswith(b'{"event": "mask"}\n')
    lines.add(texts[0])
    lines.end()
    assert parts[-1] is None
    sent = [json.loads(line) for part in parts if part for line in part.splitlines()]
    assert "".join(one.get("text", "") for one in sent) == "abcdefgha"
