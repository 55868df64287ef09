# SPDX-License-Identifier: Apache-2.0
"""Topics of commands: bytes that are no command, and commands that come while too many answers wait."""

import resource
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.serialization import serialize_message
from ros_harness import talking_node, wait_until
from std_msgs.msg import String

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.lisa.answers import outbox
from lisa_ros.nodes.lisa.commands.command_topics import COMMAND_QOS
from lisa_ros.nodes.lisa.lifecycle import NodeExecutor
from lisa_ros.nodes.lisa.node import LisaNode
from lisa_ros.srv import ListDialogues

WHOLE = serialize_message(Command(operator_id="ann", text="red"))


class Bench:
    """The node, spun by this thread, and an operator."""

    def __init__(self, node: LisaNode, operator: Any) -> None:
        self.node, self._executor = node, NodeExecutor(node.change_state)
        self._executor.add_node(node)
        self.commands = operator.create_publisher(Command, "/here/command", COMMAND_QOS)
        self.texts = operator.create_publisher(String, "/here/command_text", COMMAND_QOS)
        self.answers: list[Segmentation] = []
        operator.create_subscription(Segmentation, "/here/segmentation", self.answers.append, COMMAND_QOS)
        self.dialogues = operator.create_client(ListDialogues, "/here/list_dialogues")
        wait_until(self.commands.get_subscription_count, "the subscriber of commands")
        wait_until(self.texts.get_subscription_count, "the subscriber of texts")
        answers = next(one for one in node.publishers if one.topic_name == "/here/segmentation")
        wait_until(answers.get_subscription_count, "the subscriber of answers")
        self.goals = ActionClient(operator, Segment, "/here/segment")
        wait_until(self.dialogues.service_is_ready, "the service")
        wait_until(self.goals.server_is_ready, "the action")

    def spin_until(self, condition: Callable[[], Any], what: str) -> None:
        wait_until(lambda: self._executor.spin_once(timeout_sec=0.05) or condition(), what)

    def close(self) -> None:
        self.goals.destroy()
        self._executor.shutdown()
        self.node.close()


@pytest.fixture
def bench(node_here: Callable[[], AbstractContextManager[LisaNode]]) -> Iterator[Bench]:
    with talking_node("operator") as operator, node_here() as node:
        made = Bench(node, operator)
        yield made
        made.close()


def wrong_lengths() -> Iterator[bytes]:
    """A command in which each four bytes in turn are a length of up to 4 GiB: of texts, references, points, boxes."""
    for at in range(12, len(WHOLE) - 3, 4):
        for length in (2**32 - 1, 2**31 - 1, 100_000_000):
            yield WHOLE[:at] + struct.pack("<I", length) + WHOLE[at + 4 :]


def test_bytes_that_are_no_command_are_counted_and_take_no_memory(bench: Bench) -> None:
    neither = [b"", b"\0", WHOLE[:4], b"\xff" * 200]  # as a Command or as a String
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    for data in neither:
        bench.commands.publish(data)
        bench.texts.publish(data)
    bench.commands.publish(WHOLE[: len(WHOLE) // 2])
    unreadable = 2 * len(neither) + 1
    bench.spin_until(lambda: bench.node._statistics.unreadable == unreadable, "the count")
    assert not bench.answers, "they are no commands"
    for data in (lengths := list(wrong_lengths())):
        bench.commands.publish(data)
    # Some are commands: other letters in a text, for example.
    done = lambda: bench.node._statistics.unreadable + len(bench.answers) == unreadable + len(lengths)  # noqa: E731
    bench.spin_until(done, "an end of each")
    assert bench.node._statistics.unreadable > len(lengths) / 2
    bench.answers.clear()
    bench.commands.publish(WHOLE)
    bench.spin_until(lambda: bench.answers, "the answer to a whole command")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000 < megabytes + 500
    assert bench.node.callback_errors == 0


def test_commands_stay_in_the_middleware_while_too_many_answers_wait_and_all_else_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor waited for a frozen subscriber of the answers: no image, service or goal of anybody was served."""
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 0)
    bench.commands.publish(WHOLE)
    wait_until(lambda: bench.commands.wait_for_all_acked(Duration(seconds=0)), "its arrival")
    listed = bench.dialogues.call_async(ListDialogues.Request())
    bench.spin_until(listed.done, "the service")
    assert not bench.answers and bench.node._statistics.answers(Segmentation.REJECTED) == 0
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 1)
    bench.spin_until(lambda: bench.answers, "the answer")


def test_goals_are_rejected_without_an_answer_while_too_many_answers_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rejection was one more answer that waited: a flood of goals filled the memory."""
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 0)
    goal = Segment.Goal(command=Command(id="refused", operator_id="ann", text="red"))
    sent = bench.goals.send_goal_async(goal)
    bench.spin_until(sent.done, "the response")
    assert not sent.result().accepted
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 1000)
    goal.command.id = "answered"
    sent = bench.goals.send_goal_async(goal)
    bench.spin_until(lambda: sent.done() and bench.answers, "the answer")
    assert [one.id for one in bench.answers] == ["answered"]
