# SPDX-License-Identifier: Apache-2.0
"""Which replica gets a request, without a server around the policy."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

from lisa_ros.dialogue.fair_order import FairOrder
from lisa_ros.fleet.frame_router import FrameRouter


@dataclass
class Router:
    """The policy, and how many requests each of two replicas has."""

    requests: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})

    def __post_init__(self) -> None:
        self.policy: Any = FrameRouter.__new__(FrameRouter)
        self.policy.initialize_state()
        self.policy._replica_queue_len_cache = self.requests
        self.policy.select_available_replicas = lambda candidates: candidates

    def send(self, frame: str, full: str = "") -> str:
        """The replica that a request about a frame goes to."""
        request = SimpleNamespace(metadata=SimpleNamespace(session_id=frame), routing_context=SimpleNamespace())
        replicas = [SimpleNamespace(replica_id=name) for name in self.requests if name != full]
        ranks = asyncio.run(self.policy.choose_replicas(replicas, request))
        chosen: str = ranks[0][0].replica_id
        self.policy.on_request_routed(request, chosen, None)
        return chosen


def test_a_frame_goes_to_the_replica_that_has_it_and_a_new_one_to_the_least_loaded() -> None:
    router = Router({"a": 3, "b": 1})
    assert router.send("anna/1") == "b"
    router.requests["b"] = 9
    assert router.send("anna/1") == "b"
    assert router.send("ben/1") == "a"
    assert router.send("anna/1", full="b") == "a", "a replica that is full is passed over"
    assert router.send("anna/1") == "a", "which has the frame from then on"


def test_robots_that_ask_in_turn_are_spread_over_idle_replicas() -> None:
    """Each has just got its answer when the other asks, so that no replica has a request."""
    router = Router()
    first, second = router.send("anybody/1"), router.send("anybody/2")
    assert {first, second} == {"a", "b"}
    assert [router.send("anybody/1") for _ in range(3)] == [first] * 3
    assert {router.send("anybody/3"), router.send("anybody/4")} == {"a", "b"}


def test_a_robot_with_a_token_stays_with_its_replica_while_no_other_is_less_loaded() -> None:
    router = Router()
    anna, ben = router.send("anna/1"), router.send("ben/1")
    assert {anna, ben} == {"a", "b"}
    assert [router.send(f"anna/{image}") for image in range(2, 5)] == [anna] * 3
    router.requests[anna] = 1
    assert router.send("anna/5") == ben


def test_replicas_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    router = Router()
    router.send("anna/1")
    router.send("ben/1")
    monkeypatch.setattr(FrameRouter.__mro__[1], "update_replicas", lambda self, replicas: None)
    router.policy.update_replicas([SimpleNamespace(replica_id="b")])
    assert list(router.policy._last_new) == ["b"]


def test_robots_that_wait_for_a_place_take_turns() -> None:
    """Whichever request finds the place: Ray asks for those that wait in any order."""
    policy = waiting_policy()
    clock = itertools.count(100.0)
    policy._order = FairOrder(lambda: next(clock))
    requests = {
        name: request(name, arrived_s) for arrived_s, name in enumerate(["anna/1", "anna/2", "anna/3", "ben/1"])
    }
    policy._pending_requests_by_id = dict(requests)
    given = []
    for finds_it in ("anna/1", "anna/2", "anna/2", "anna/3"):
        policy._fulfill_next_pending_request("a replica", requests[finds_it].metadata)
        given += [name for name, one in requests.items() if one.future.done() and name not in given]
    assert given == ["anna/1", "ben/1", "anna/2", "anna/3"]


def test_a_robot_with_one_request_is_given_the_place_that_it_found() -> None:
    """It may be on the replica that has its image."""
    policy = waiting_policy()
    anna, ben = request("anna/1", 1.0), request("ben/1", 2.0)
    policy._pending_requests_by_id = {"anna/1": anna, "ben/1": ben}
    policy._fulfill_next_pending_request("ben's replica", ben.metadata)
    assert ben.future.done() and not anna.future.done()


def waiting_policy() -> Any:
    policy = Router().policy
    policy._routing_task_by_pending_request_future = {}
    policy.queue_wait_time_ms_histogram = SimpleNamespace(observe=lambda value: None)
    return policy


def request(frame: str, arrived_s: float) -> Any:
    metadata = SimpleNamespace(session_id=frame, internal_request_id=frame, multiplexed_model_id="")
    return SimpleNamespace(metadata=metadata, future=Future(), created_at=arrived_s)
