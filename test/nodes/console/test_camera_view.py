# SPDX-License-Identifier: Apache-2.0
"""The console's parts without a browser: whose answer it is, the order of calls to ROS, and checks that fail."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import rclpy
from rclpy.action import ActionServer
from rclpy.executors import SingleThreadedExecutor
from ros_harness import ros_context

from lisa_ros.action import Segment
from lisa_ros.msg import ObjectMask, Segmentation
from lisa_ros.nodes.common.masks import run_length_message

pytest.importorskip("starlette", reason="the extra `console` is not installed")

from lisa_ros.nodes.console.answer_json import fill_exchange, objects_json
from lisa_ros.nodes.console.camera_view import CameraView
from lisa_ros.nodes.console.conversation import DONE, SENT, Exchange
from lisa_ros.nodes.console.link import LisaLink
from lisa_ros.nodes.console.node import RosCalls
from lisa_ros.nodes.console.page import Page
from lisa_ros.nodes.console.web import app as app_module
from lisa_ros.nodes.console.web.app import ConsoleApp


def answer(operator: str, text: str) -> Segmentation:
    return Segmentation(id="1", operator_id=operator, text=text, status=Segmentation.OK, explanation=f"{text}.")


@pytest.fixture
def node() -> Iterator[Any]:
    with ros_context() as context:
        node = rclpy.create_node("console_parts", context=context)
        node.callback_errors = 0
        yield node
        node.destroy_node()


def test_an_answer_goes_to_its_own_operator_whoever_used_its_id_too(node: Any) -> None:
    view = CameraView(node, "", False, MagicMock(), MagicMock())
    shown: dict[str, list[Any]] = {"ann": [], "ben": []}
    for operator, messages in shown.items():
        view.conversation(operator).add_listener(lambda message, exchange, to=messages: to.append(message))
    ann = view.conversation("ann")
    ann.put(Exchange("1", "ann's"))
    view.on_answer(answer("ben", "ben's"))
    mine = ann.get("1")
    assert mine is not None and (mine.state, mine.answer) == (SENT, "")
    theirs = view.conversation("ben").get("1")
    assert theirs is not None and (theirs.state, theirs.answer) == (DONE, "ben's.")
    assert not any("ben" in str(message) for message in shown["ann"])
    view.on_answer(answer("ann", "ann's"))
    assert (mine.state, mine.answer) == (DONE, "ann's.")
    view.on_answer(answer("ben", "his next with this id"))
    assert [one.text for one in view.conversation("ben").exchanges] == ["ben's", "his next with this id"]
    view.link._action.destroy()


def test_a_command_that_a_page_sends_again_goes_to_the_node_once(node: Any) -> None:
    """A page cannot know what became of a command whose connection was lost."""
    view = CameraView(node, "", False, MagicMock(), MagicMock())
    page = Page(MagicMock(), {"": view})
    view.conversation("ann").put(Exchange("1", "the mug", tag="a"))
    view.conversation("ann").reset()

    async def again(tag: str) -> str:
        await page._handle('{"type": "hello", "operator": "ann"}')
        await page._handle(json.dumps({"type": "command", "text": "the mug", "tag": tag}))
        return str(next(reversed(page._unsent.values())))

    assert json.loads(asyncio.run(again("a"))) == {"type": "already_sent", "tag": "a"}
    assert json.loads(asyncio.run(again("b")))["type"] == "not_sent"  # there is no node
    view.link._action.destroy()


def test_a_mask_that_is_too_large_for_a_page_is_left_out_and_the_others_are_not(node: Any) -> None:
    view = CameraView(node, "", False, MagicMock(), MagicMock())
    shown: list[Any] = []
    view.conversation("ann").add_listener(lambda message, exchange: shown.append(message))
    ragged = np.arange(2160 * 3840).reshape(2160, 3840) % 2 == 0
    whole = np.ones_like(ragged)
    message = answer("ann", "the leaves")
    message.objects = [ObjectMask(run_length_mask=run_length_message(mask)) for mask in (ragged, whole)]
    view.on_answer(message)
    objects = shown[-1]["exchange"]["objects"]
    assert [one["runs"] for one in objects] == [[], [0, whole.size]]
    assert [one["mask_left_out"] for one in objects] == [True, False]
    view.link._action.destroy()


def test_nothing_is_kept_of_commands_that_have_their_answer_or_whose_node_has_ended(node: Any) -> None:
    """rclpy keeps a feedback callback until a result comes, which the console does not request."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    server = ActionServer(node, Segment, "lisa/segment", lambda handle: handle.succeed() or Segment.Result())
    loop = MagicMock(call_soon_threadsafe=lambda function, *arguments: function(*arguments))
    link = LisaLink(node, "lisa", False, loop, lambda function, *arguments: function(*arguments), MagicMock())
    assert link._action.wait_for_server(10.0)
    ids = [uuid.uuid4().hex for _ in range(2)]
    for identity in ids:
        link.send(Exchange(identity, "the mug"), "ann")
    while any(link._goals[identity].handle is None for identity in ids):
        executor.spin_once(timeout_sec=1.0)
    link.drop(ids[0], "ann")
    assert len(link._action._feedback_callbacks) == 1
    link.monitor = MagicMock(update=lambda endpoints: True)
    assert link.update_node_state()
    assert not link._goals and not link._action._feedback_callbacks
    executor.shutdown()
    server.destroy()
    link._action.destroy()


def test_ros_is_called_in_the_order_in_which_it_was_asked_for(node: Any) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    calls = RosCalls(node, executor)
    done: list[int] = []

    def fail() -> None:
        raise ValueError("it broke")

    for number in range(4):
        calls(done.append, number)
        calls(fail)
    while len(done) < 4:
        executor.spin_once(timeout_sec=1.0)
    assert done == [0, 1, 2, 3] and node.callback_errors >= 3
    executor.shutdown()


def test_a_check_of_a_node_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "TICK_S", 0.0)
    camera = MagicMock()
    camera.tick.side_effect = [RuntimeError("the graph could not be read"), None, None, asyncio.CancelledError()]
    console = ConsoleApp(MagicMock(local=True, tls_cert=""), {"": camera}, "")
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(console.tick(), 10))
    assert camera.tick.call_count == 4


def test_numbers_that_are_none_do_not_stop_the_pages() -> None:
    """Of another program on the topic of answers: JSON has no NaN, and no page of the operator opened any more."""
    found = ObjectMask(score=math.nan, located=True)
    found.pose.position.z = found.centroid_pixel.x = math.inf
    message = Segmentation(objects=[found], total_ms=math.nan)
    exchange = Exchange("1", "the mug")
    fill_exchange(exchange, message, objects_json(message.objects))
    assert json.loads(json.dumps(exchange.json(), allow_nan=False))["objects"][0]["score"] is None
