# SPDX-License-Identifier: Apache-2.0
"""The server's HTTP side, without a server around it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

from ray.exceptions import ActorDiedError
from starlette.requests import Request

from lisa_ros.fleet.access import Quota
from lisa_ros.fleet.ingress import Ingress


def ingress_of(describe: Any) -> Ingress:
    replicas: Any = SimpleNamespace(describe=SimpleNamespace(remote=describe))
    return Ingress(replicas, {}, Quota())


def model_request() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/m/model", "query_string": b"", "headers": []})


def test_all_who_ask_for_the_model_at_once_take_one_place_in_the_queue() -> None:
    """It is not counted in a robot's quota: 64 such requests would fill the queue of all robots."""
    asked = 0

    async def describe() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return {"model": "tabletop"}

    async def ask() -> None:
        ingress = ingress_of(describe)
        waiting = [asyncio.ensure_future(ingress(model_request())) for _ in range(100)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()  # one that leaves does not end the others' request
        answers = await asyncio.gather(*waiting[1:])
        assert {json.loads(bytes(one.body))["model"] for one in answers} == {"tabletop"}
        assert asked == 1
        await ingress(model_request())
        assert asked == 2, "a replica answers again: the server is ready"

    asyncio.run(ask())


def test_a_replica_that_dies_while_it_is_asked_for_its_name_is_no_internal_error() -> None:
    async def describe() -> dict[str, Any]:
        raise ActorDiedError

    async def ask() -> None:
        answer = await ingress_of(describe)(model_request())
        assert (answer.status_code, "replica was lost" in bytes(answer.body).decode()) == (503, True)

    asyncio.run(ask())


def test_a_link_that_dies_within_an_upload_gives_the_quota_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise eight of them would shut the robot out until the server is started again."""
    monkeypatch.setattr("lisa_ros.fleet.ingress.UPLOAD_S", 0.2)
    scope = {"type": "http", "method": "POST", "path": "/m/segment", "query_string": b""}
    scope["headers"] = [(b"content-length", b"100000")]

    async def ask() -> None:
        ingress, silent = Ingress(None, {}, Quota(concurrent=2)), asyncio.Event()  # type: ignore[arg-type]

        async def receive() -> Any:
            if not silent.is_set():
                silent.set()
                return {"type": "http.request", "body": b"begun", "more_body": True}
            await asyncio.Event().wait()

        for _ in range(3):
            answer = await asyncio.wait_for(ingress(Request(scope, receive)), 20)
            assert (answer.status_code, "nothing of the request" in bytes(answer.body).decode()) == (408, True)

    asyncio.run(ask())
