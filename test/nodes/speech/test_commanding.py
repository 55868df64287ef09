# SPDX-License-Identifier: Apache-2.0
"""Spoken commands and a segmentation node that ends, or that is faster than rclpy's notes about the request."""

from __future__ import annotations

import threading
import time
from typing import Any
from unittest.mock import MagicMock

import pytest
import rclpy.action.client
from rclpy.action import ActionServer
from rclpy.node import Node
from ros_harness import talking_node, wait_until

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.speech import commanding as commanding_module
from lisa_ros.nodes.speech.commanding import Commanding
from lisa_ros.speech.language.phrases import Meaning
from lisa_ros.speech.language.understanding import Understood

THE_MUG = Understood(Meaning.COMMAND, "the mug", "the mug")


def serve(node: Node, end_goals: bool) -> ActionServer:
    """Accepts every goal; ends it at once with NO_OBJECT, or never."""
    node.create_publisher(Segmentation, "/served/segmentation", 1)

    def execute(goal: Any) -> Segment.Result:
        goal.succeed()
        return Segment.Result(segmentation=Segmentation(status=Segmentation.NO_OBJECT))

    accepted = (lambda goal: goal.execute()) if end_goals else (lambda goal: None)
    return ActionServer(node, Segment, "/served/segment", execute, handle_accepted_callback=accepted)


def test_a_command_of_a_node_that_ends_is_answered() -> None:
    answers: list[tuple[str, Segmentation]] = []
    with talking_node("speaking") as node:
        node.callback_errors = 0
        commanding = Commanding(node, "/served", lambda operator, answer: answers.append((operator, answer)))
        with talking_node("served") as lisa:
            server = serve(lisa, end_goals=False)
            wait_until(lambda: node.count_publishers("/served/segmentation"), "the topic of the answers")
            wait_until(commanding._client.server_is_ready, "the action")
            identity, trouble = commanding.send("ann", THE_MUG, 0)
            assert identity and not trouble
            wait_until(lambda: commanding._goals[identity].handle, "the acceptance")
            commanding.check()
            assert not answers and commanding.waiting == 1
            server.destroy()
        wait_until(lambda: commanding.check() or answers, "an answer")
        commanding.check()
        ((operator, answer),) = answers
        assert (operator, answer.id, answer.status) == ("ann", identity, Segmentation.FAILED)
        assert answer.detail == "The node ended before it answered." and commanding.waiting == 0
        commanding.close()


def test_a_command_that_was_sent_before_the_answers_topic_was_discovered_is_answered_too() -> None:
    node = MagicMock()
    answers: list[Segmentation] = []
    commanding: Any = Commanding.__new__(Commanding)
    commanding._node, commanding._lisa, commanding._lock = node, "/served", threading.Lock()
    commanding._answered = lambda operator, answer: answers.append(answer)
    commanding._goals = {"1": commanding_module._Goal("ann", frozenset())}
    publishers = [MagicMock(endpoint_gid=[1])]
    node.get_publishers_info_by_topic = lambda topic: publishers
    commanding.check()
    publishers.clear()
    assert not answers
    commanding.check()
    assert [one.status for one in answers] == [Segmentation.FAILED]


def test_an_answer_that_is_faster_than_the_client_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the request's sending and its entry in rclpy's table, another thread may run."""
    answers: list[Segmentation] = []
    real = rclpy.action.client.Future

    def slow_future(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return real(*arguments, **options)

    with talking_node("served") as lisa, talking_node("speaking") as node:
        node.callback_errors = 0
        server = serve(lisa, end_goals=True)
        commanding = Commanding(node, "/served", lambda _, answer: answers.append(answer))
        wait_until(commanding._client.server_is_ready, "the action")
        with monkeypatch.context() as patch:
            patch.setattr(rclpy.action.client, "Future", slow_future)
            assert commanding.send("ann", THE_MUG, 0)[0]
        (answer,) = wait_until(lambda: answers, "the answer")
        assert answer.status == Segmentation.NO_OBJECT and commanding.waiting == 0
        commanding.close()
        server.destroy()


def test_a_goal_that_the_node_does_not_know_is_no_answer() -> None:
    """rclpy sends an empty result for it, whose status is OK."""
    answers: list[Segmentation] = []
    with talking_node("speaking") as node:
        commanding = Commanding(node, "/served", lambda operator, answer: answers.append(answer))
        commanding._goals["1"] = MagicMock()
        unknown = MagicMock()
        unknown.result.return_value = Segment.Impl.GetResultService.Response()
        commanding._on_result(Command(id="1", operator_id="ann"), unknown)
        commanding.close()
    assert [(one.id, one.operator_id, one.status) for one in answers] == [("1", "ann", Segmentation.FAILED)]
