# SPDX-License-Identifier: Apache-2.0
"""The action ~/segment from an action client, with lisa_node as another process."""

import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import camera_images
import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from node_probe import Probe, pixels, probing
from rclpy.action import ActionClient, GoalResponse
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import scripted_node, started, talking_node, wait_at, wait_until

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import SEGMENT_CLIENT_QOS
from lisa_ros.nodes.lisa.commands import segment_action
from lisa_ros.nodes.lisa.commands.segment_action import SegmentAction
from lisa_ros.nodes.lisa.request import Request


@pytest.fixture(scope="module")
def probe(scripted_probe: Probe) -> Iterator[Probe]:
    scripted_probe.ask_about(camera_images.message("rgb8"), "red")
    assert scripted_probe.set_parameter("max_image_age", 0.0).successful
    yield scripted_probe
    assert scripted_probe.set_parameter("max_image_age", 60.0).successful


def test_feedback_has_the_masks_and_the_result_is_the_published_answer(probe: Probe) -> None:
    goal = probe.send_goal("two", "anna", id="mine")
    status, answer = goal.result()
    assert (status, answer.status, answer.id) == (GoalStatus.STATUS_SUCCEEDED, Segmentation.OK, "mine")
    found = wait_until(
        lambda: len(f := [o for feedback in goal.feedback for o in feedback.found]) == 2 and f, "two masks"
    )
    for feedback, complete in zip(found, answer.objects, strict=True):
        assert (pixels(feedback.mask) == pixels(complete.mask)).all()
        assert (feedback.bbox, feedback.span_begin, feedback.span_end) == (
            complete.bbox,
            complete.span_begin,
            complete.span_end,
        )
    assert all(feedback.header == answer.header for feedback in goal.feedback)
    published = probe.answer_to("mine")
    assert published == answer


def test_of_many_goals_that_are_sent_at_once_none_is_lost(probe: Probe) -> None:
    """Of 60, 46 were: by default, a service keeps only its newest ten requests."""
    deep = QoSProfile(depth=1000)
    client = ActionClient(probe.node, Segment, "/lisa/segment", goal_service_qos_profile=deep)
    wait_until(client.server_is_ready, "the action server")
    commands = [Command(id=f"burst-{i}", text="red", operator_id=f"of_many_{i}") for i in range(60)]
    sent: list[Any] = []
    send = lambda: sent.extend(client.send_goal_async(Segment.Goal(command=one)) for one in commands)  # noqa: E731
    assert probe.node.executor is not None
    probe.node.executor.create_task(send)  # from another thread, rclpy itself can miss a response
    wait_until(lambda: len(sent) == 60 and all(one.done() for one in sent), "the goals' acceptance or rejection", 60.0)
    answers = [probe.answer_to(one.id) for one in commands]
    assert {one.status for one in answers} <= {Segmentation.OK, Segmentation.REJECTED}
    client.destroy()


def test_no_object_is_a_success(probe: Probe) -> None:
    goal = probe.send_goal("the unicorn")
    status, answer = goal.result()
    assert (status, answer.status) == (GoalStatus.STATUS_SUCCEEDED, Segmentation.NO_OBJECT)
    (feedback,) = wait_until(lambda: goal.feedback, "the words")
    assert feedback.answer == answer.answer and not feedback.found


def test_a_failure_aborts_the_goal_with_its_reason(probe: Probe) -> None:
    status, answer = probe.send_goal("crash").result()
    assert (status, answer.status) == (GoalStatus.STATUS_ABORTED, Segmentation.FAILED)
    assert "the model broke" in answer.detail


def test_an_invalid_goal_is_rejected_and_the_answer_has_the_reason(probe: Probe) -> None:
    goal = probe.send_goal("", id="empty")
    assert not goal.accepted
    answer = probe.answer_to("empty")
    assert answer.status == Segmentation.REJECTED and "empty" in answer.detail


def test_a_goal_is_executing_from_the_start_of_its_processing_and_not_before(probe: Probe, gate: Path) -> None:
    statuses: list[int] = []
    topic = "/lisa/segment/_action/status"
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    status_of = lambda message: statuses.extend(one.status for one in message.status_list[-1:])  # noqa: E731
    subscription = probe.node.create_subscription(GoalStatusArray, topic, status_of, latched)
    held = probe.send_goal(f"gate {gate}", "gil")
    wait_at(gate)
    wait_until(lambda: statuses[-1:] == [GoalStatus.STATUS_EXECUTING], "the state of the goal at the gate")
    waiting = probe.send_goal("red", "gil")
    wait_until(lambda: statuses[-1:] == [GoalStatus.STATUS_ACCEPTED], "the state of the waiting goal")
    gate.touch()
    assert [goal.result()[0] for goal in (held, waiting)] == [GoalStatus.STATUS_SUCCEEDED] * 2
    probe.node.destroy_subscription(subscription)


def test_what_can_be_refused_at_once_is_not_accepted(probe: Probe, gate: Path) -> None:
    assert not probe.send_goal("red", "hal", references=[7], id="unknown turn").accepted
    assert "turn 7" in probe.answer_to("unknown turn").detail
    held = probe.send_goal(f"gate {gate}", "hal")
    wait_at(gate)
    later = probe.send_goal("red", "hal", references=[1])
    assert later.accepted, "the command before it becomes turn 1"
    assert probe.set_parameter("queue_size", 1).successful
    assert not probe.send_goal("red", "ida").accepted
    assert probe.set_parameter("queue_size", 16).successful
    gate.touch()
    assert [goal.result()[1].status for goal in (held, later)] == [Segmentation.NO_OBJECT, Segmentation.OK]


def test_goals_without_an_image_or_on_request_without_an_object_are_aborted(probe: Probe) -> None:
    assert probe.set_parameter("no_object_is", "abort").successful
    status, answer = probe.send_goal("the unicorn").result()
    assert (status, answer.status) == (GoalStatus.STATUS_ABORTED, Segmentation.NO_OBJECT)
    assert probe.send_goal("red").result()[0] == GoalStatus.STATUS_SUCCEEDED
    assert probe.set_parameter("no_object_is", "success").successful
    assert probe.set_parameter("max_image_age", 0.001).successful
    status, answer = probe.send_goal("red").result()
    assert probe.set_parameter("max_image_age", 0.0).successful
    assert (status, answer.status) == (GoalStatus.STATUS_ABORTED, Segmentation.NO_IMAGE)


def test_cancelling_stops_the_model_and_leaves_no_turn(probe: Probe, gate: Path) -> None:
    goal = probe.send_goal(f"gate {gate}", "carl", id="cancelled")
    wait_at(gate)
    assert goal.cancel() == 1
    status, answer = goal.result()
    assert (status, answer.status, answer.turn) == (GoalStatus.STATUS_CANCELED, Segmentation.CANCELLED, 0)
    assert "cancelled before" in probe.answer_to("cancelled").detail
    assert probe.ask("history", "carl").answer == "History: "


def test_cancelling_a_waiting_goal_answers_it_at_once(probe: Probe, gate: Path) -> None:
    held = probe.send_goal(f"gate {gate}", "dora")
    wait_at(gate)
    waiting = probe.send_goal("red", "dora")
    assert waiting.accepted and waiting.cancel() == 1
    status, answer = waiting.result()
    assert (status, answer.status) == (GoalStatus.STATUS_CANCELED, Segmentation.CANCELLED)
    gate.touch()
    assert held.result()[0] == GoalStatus.STATUS_SUCCEEDED


def test_goals_and_commands_share_a_dialogue(probe: Probe) -> None:
    assert probe.send_goal("red", "emil").result()[1].turn == 1
    assert probe.ask("blue", "emil").turn == 2
    assert probe.send_goal("history", "emil").result()[1].answer == "History: red | blue"


def test_waiting_goals_are_cancelled_when_the_node_ends(gate: Path) -> None:
    with probing("ending") as probe, started(scripted_node("-r", "__node:=ending")) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        goals = [probe.send_goal(f"gate {gate}", "anna"), probe.send_goal("red", "anna")]
        wait_at(gate)
        process.send_signal(signal.SIGINT)
        assert [goal.result()[1].status for goal in goals] == [Segmentation.CANCELLED] * 2


def test_goals_whose_clients_have_gone_are_not_kept() -> None:
    """rclpy accepts such a goal, cannot tell its client, and then does not report that it was accepted."""
    goals: list[weakref.ref[Any]] = []

    def request(message: Command, listener: Any) -> Request:
        goals.append(weakref.ref(listener))
        return Request("1", "ann", message.text, listener=listener)

    commands: Any = SimpleNamespace(request=request, accept=lambda request: True, has_room=lambda: True)
    with talking_node("lonely") as node:
        action = SegmentAction(node, commands, lambda: False)
        messages = [Segment.Goal() for _ in range(5)]
        for message in messages:
            assert action._on_goal(message) == GoalResponse.ACCEPT
        gc.collect()
        assert sum(goal() is not None for goal in goals) == 1
        action.close()


class Answering:
    """Commands that are answered as soon as they are accepted."""

    def has_room(self) -> bool:
        return True

    def request(self, command: Command, listener: Any) -> Any:
        return SimpleNamespace(text=command.text, listener=listener)

    def accept(self, request: Any) -> bool:
        request.listener.on_answer(Segmentation(status=Segmentation.OK, explanation="masks"))
        return True


def test_results_are_dropped_although_the_simulated_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_action, "_DROP_PERIOD_S", 0.1)
    with talking_node("asking") as asking, talking_node("standing") as node:
        node.set_parameters([Parameter("use_sim_time", value=True)])
        node.callback_errors = 0  # type: ignore[attr-defined]
        action = SegmentAction(node, Answering(), lambda: False)  # type: ignore[arg-type]
        client = ActionClient(asking, Segment, "/standing/segment")
        assert client.wait_for_server(30)
        sent = client.send_goal_async(Segment.Goal(command=Command(text="red")))
        wait_until(sent.done, "the goal")
        first = sent.result().get_result_async()
        wait_until(first.done, "the result")
        assert first.result().result.segmentation.explanation == "masks"
        monkeypatch.setattr(segment_action, "_RESULT_KEPT_S", 0.0)

        def again() -> Any:
            result = sent.result().get_result_async()
            wait_until(result.done, "the result")
            return result.result()

        wait_until(lambda: again().status == GoalStatus.STATUS_UNKNOWN, "the end of the result")
        assert again().result.segmentation.explanation == ""
        assert node.callback_errors == 0  # type: ignore[attr-defined]
        client.destroy()
        action.close()


class Held(Answering):
    """Commands that are answered when the test says so."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []

    def accept(self, request: Any) -> bool:
        self.listeners.append(request.listener)
        return True


def test_of_many_results_that_come_at_once_none_is_lost() -> None:
    """Of 30, 20 were: by default, a client keeps only the newest ten responses."""
    commands, busy = Held(), threading.Event()
    with talking_node("asking_much") as asking, talking_node("holding") as node:
        action = SegmentAction(node, commands, lambda: False)  # type: ignore[arg-type]
        client = ActionClient(asking, Segment, "/holding/segment", **SEGMENT_CLIENT_QOS)
        assert client.wait_for_server(30)
        executor: Any = asking.executor
        sent: list[Any] = []
        # By the executor's thread: from another one, rclpy itself can miss a response.
        goals = [Segment.Goal(command=Command(text="red")) for _ in range(30)]
        executor.create_task(lambda: sent.extend(client.send_goal_async(goal) for goal in goals))
        wait_until(lambda: len(commands.listeners) == 30 and all(one.done() for one in sent), "the goals")
        results: list[Any] = []
        executor.create_task(lambda: results.extend(one.result().get_result_async() for one in sent))
        wait_until(lambda: len(results) == 30, "the requests")
        time.sleep(0.5)  # they arrive
        executor.create_task(lambda: busy.wait(60) and None)  # the client is busy while the answers come
        for listener in commands.listeners:
            listener.on_answer(Segmentation(status=Segmentation.OK))
        time.sleep(2.0)
        busy.set()
        wait_until(lambda: all(one.done() for one in results), "the results")
        client.destroy()
        action.close()
