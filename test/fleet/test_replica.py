# SPDX-License-Identifier: Apache-2.0
"""What a replica answers, without a server around it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from scripted_segmenter import ScriptedSegmenter

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

from lisa_ros.fleet.application import ServerSettings
from lisa_ros.fleet.compute_queue import ComputeQueue
from lisa_ros.fleet.frame_cache import FrameCache
from lisa_ros.fleet.replica import Replica, _Stop
from lisa_ros.fleet.requests import Query, compress_image, frame_id, pack
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.cancellation import CancelToken


def test_an_answer_names_the_model_that_gave_it() -> None:
    """A server may be replaced by one with another model, and the robot notices only that a connection broke."""
    replica = replica_without_server(name="the other model")
    image = compress_image(np.full((8, 8, 3), (255, 0, 0), np.uint8), 0)
    sent: list[dict[str, Any]] = []
    assert replica._segment("robot", Query(frame_id(image), "red"), image, _Stop(), sent.append) == "answered"
    assert (sent[-1]["event"], sent[-1]["model"]) == ("finished", "the other model")


def test_a_command_whose_image_is_missing_is_not_counted_as_one_about_a_known_image() -> None:
    replica, image = replica_without_server(), compress_image(np.zeros((8, 8, 3), np.uint8), 0)
    replica._frame_hits, sent = MagicMock(), list[dict[str, Any]]()
    for part, ended in ((b"", "unknown_frame"), (image, "answered"), (b"", "answered")):
        assert replica._segment("robot", Query(frame_id(image), "red"), part, _Stop(), sent.append) == ended
    assert [call.kwargs["tags"]["known"] for call in replica._frame_hits.inc.call_args_list] == ["False", "True"]


def replica_without_server(**model: Any) -> Any:
    replica: Any = Replica.__new__(Replica)
    replica._segmenter, replica._frames = ScriptedSegmenter(**model), FrameCache(2)
    replica._frame_hits = replica._first_mask = replica._requests = replica._running = MagicMock()
    replica._threads, replica._queue = ThreadPoolExecutor(5), ComputeQueue(1)
    replica._answering, replica._lock = {}, threading.Lock()
    return replica


def test_a_model_that_hangs_makes_the_replica_unhealthy_so_that_ray_replaces_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lisa_ros.fleet.replica.HANGS_S", 3.0)
    replica, hanging, goes_on = replica_without_server(), threading.Event(), threading.Event()

    def events(*_: Any) -> Iterator[Any]:
        hanging.set()
        goes_on.wait(60)
        yield Finished("", (), "cancelled")

    replica._events = events
    image = compress_image(np.zeros((8, 8, 3), np.uint8), 0)
    body = pack(Query(frame_id(image), "red", deadline_s=0.3), image)

    async def ask() -> None:
        parts = replica.answer("robot", body)
        first = asyncio.ensure_future(anext(parts))
        await asyncio.to_thread(hanging.wait, 30)
        await asyncio.sleep(0.4)
        replica.check_health()  # a long answer is no fault
        await asyncio.sleep(3.0)
        with pytest.raises(RuntimeError, match="1 answers still run"):
            replica.check_health()
        goes_on.set()
        await first
        await parts.aclose()

    asyncio.run(ask())
    replica._threads.shutdown()
    replica.check_health()


def test_an_answer_ends_when_its_time_is_over() -> None:
    replica = replica_without_server()

    def events(_query: Query, _encoded: Any, cancelled: CancelToken) -> Iterator[Any]:
        while not cancelled():
            time.sleep(0.01)
        yield Finished("", (), "cancelled")

    replica._events = events
    image = compress_image(np.zeros((8, 8, 3), np.uint8), 0)
    body = pack(Query(frame_id(image), "red", deadline_s=0.3), image)

    async def ask() -> bytes:
        return b"".join([part async for part in replica.answer("robot", body)])

    assert b'"reason": "cancelled"' in asyncio.run(asyncio.wait_for(ask(), 60))
    replica._threads.shutdown()


@pytest.mark.parametrize("works", [True, False])
def test_a_model_that_works_shows_that_it_is_alive(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot took the server for lost where a command waited for others, or all of an answer came at its end."""
    monkeypatch.setattr("lisa_ros.fleet.replica.ALIVE_S", 0.1)
    replica = replica_without_server()

    def events(_query: Query, _encoded: Any, cancelled: CancelToken) -> Iterator[Any]:
        end_s = time.monotonic() + 1.0
        while time.monotonic() < end_s:
            time.sleep(0.01)
            if works:
                assert not cancelled()
        yield Finished("text", (), "end")

    replica._events = events
    image = compress_image(np.zeros((8, 8, 3), np.uint8), 0)
    body = pack(Query(frame_id(image), "red"), image)

    async def ask() -> list[bytes]:
        return [part async for part in replica.answer("robot", body)]

    *spaces, answer = asyncio.run(asyncio.wait_for(ask(), 60))
    assert set(spaces) <= {b" "}
    assert len(spaces) >= 4 if works else len(spaces) <= 1, "one that hangs is silent"
    assert json.loads(b"".join([*spaces, answer]))["event"] == "finished", "JSON ignores them"
    replica._threads.shutdown()


def test_an_answer_that_nobody_waits_for_any_more_and_goes_on_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lisa_ros.fleet.replica.HANGS_S", 0.1)
    replica, goes_on = replica_without_server(), threading.Event()

    def events(*_: Any) -> Iterator[Any]:
        yield Finished("", (), "end")
        goes_on.wait(60)

    replica._events = events
    image = compress_image(np.zeros((8, 8, 3), np.uint8), 0)
    body = pack(Query(frame_id(image), "red", deadline_s=3600), image)

    async def leave() -> None:
        parts = replica.answer("robot", body)
        await anext(parts)
        await parts.aclose()  # the robot has left
        await asyncio.sleep(0.3)
        with pytest.raises(RuntimeError, match="still run"):
            replica.check_health()

    asyncio.run(leave())
    goes_on.set()
    replica._threads.shutdown()
    replica.check_health()


def test_a_replica_on_a_cpu_computes_one_command_of_those_that_it_has() -> None:
    assert (ServerSettings().taken, ServerSettings().computed) == (8, 1)
    assert (ServerSettings(gpus=0.5).taken, ServerSettings(gpus=0.5).computed) == (4, 4)
    assert (ServerSettings(concurrent=5).taken, ServerSettings(concurrent=5, gpus=1).computed) == (5, 5)


def test_commands_that_wait_are_computed_in_order_and_end_with_their_robot_or_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A known image goes before a new one. The time of an answer counts from its arrival."""
    monkeypatch.setattr("lisa_ros.fleet.replica.NEW_IMAGE_LATER_S", 60.0)
    replica, goes_on, computed = replica_without_server(), threading.Event(), []

    def events(query: Query, _encoded: Any, _cancelled: CancelToken) -> Iterator[Any]:
        computed.append(query.command)
        if query.command == "slow":
            goes_on.wait(60)
        yield Finished("", (), "end")

    replica._events = events
    image = compress_image(np.zeros((8, 8, 3), np.uint8), 0)

    async def asked(command: str, sent: bytes = image, deadline_s: float = 60) -> Any:
        query = Query(frame_id(image), command, deadline_s=deadline_s)
        parts = [part async for part in replica.answer("robot", pack(query, sent))]
        return json.loads(parts[-1])["reason"]

    async def ask() -> None:
        slow = asyncio.ensure_future(asked("slow"))
        while not computed:
            await asyncio.sleep(0.01)
        others = (asked("left"), asked("late", deadline_s=0.2), asked("new"), asked("known", sent=b""))
        left, late, new, known = (asyncio.ensure_future(one) for one in others)
        assert await late == "cancelled"
        while len(replica._queue._waiting) < 3:
            await asyncio.sleep(0.01)
        left.cancel()  # the robot closes the connection
        while len(replica._queue._waiting) > 2:
            await asyncio.sleep(0.01)
        goes_on.set()
        assert [await slow, await new, await known] == ["end"] * 3
        assert computed == ["slow", "known", "new"]

    asyncio.run(asyncio.wait_for(ask(), 60))
    replica._threads.shutdown()
    replica.check_health()


def test_a_place_is_free_again_after_an_error() -> None:
    queue = ComputeQueue(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"), queue.place("robot", 0.0, lambda: False) as has_place:
            assert has_place
            raise ValueError("bad")


def test_a_robot_with_many_commands_does_not_delay_the_others() -> None:
    queue, computed, goes_on = ComputeQueue(1), [], threading.Event()

    def compute(robot: str, due_s: float) -> None:
        with queue.place(robot, due_s, lambda: False):
            goes_on.wait(60)
            computed.append(robot)

    begun_s = time.monotonic()
    threads = []
    for number, robot in enumerate(["anna"] * 4 + ["ben", "ben", "cleo"]):
        threads.append(threading.Thread(target=compute, args=(robot, begun_s + 1e-6 * number)))
        threads[-1].start()
        while len(queue._waiting) < number:
            time.sleep(0.001)
    goes_on.set()
    for thread in threads:
        thread.join(60)
    assert computed == ["anna", "ben", "cleo", "anna", "ben", "anna", "anna"]
