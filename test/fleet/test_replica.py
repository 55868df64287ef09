# SPDX-License-Identifier: Apache-2.0
"""What a replica answers, without a server around it."""

from __future__ import annotations

import asyncio
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

from lisa_ros.fleet.frame_cache import FrameCache
from lisa_ros.fleet.replica import Replica
from lisa_ros.fleet.requests import Query, compress_image, frame_id, pack
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.cancellation import CancelToken


def test_an_answer_names_the_model_that_gave_it() -> None:
    """A server may be replaced by one with another model, and the robot notices only that a connection broke."""
    replica: Any = Replica.__new__(Replica)
    replica._segmenter, replica._frames = ScriptedSegmenter(name="the other model"), FrameCache(2)
    replica._frame_hits = replica._first_mask = MagicMock()
    image = compress_image(np.full((8, 8, 3), (255, 0, 0), np.uint8), 0)
    sent: list[dict[str, Any]] = []
    assert replica._segment("robot", Query(frame_id(image), "red"), image, CancelToken(), sent.append) == "answered"
    assert (sent[-1]["event"], sent[-1]["model"]) == ("finished", "the other model")


def replica_without_server(**model: Any) -> Any:
    replica: Any = Replica.__new__(Replica)
    replica._segmenter, replica._frames = ScriptedSegmenter(**model), FrameCache(2)
    replica._frame_hits = replica._first_mask = replica._requests = replica._running = MagicMock()
    replica._threads = ThreadPoolExecutor(2)
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
