# SPDX-License-Identifier: Apache-2.0
"""The action ~/segment from an action client, with lisa_node as another process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import camera_images
import pytest
from action_msgs.msg import GoalStatus
from node_probe import Probe, pixels, probing
from ros_harness import scripted_node, started, wait_at, wait_until

from lisa_ros.msg import Segmentation


@pytest.fixture(scope="module")
def probe(scripted_probe: Probe) -> Iterator[Probe]:
    scripted_probe.ask_about(camera_images.message("rgb8"), "red")
    assert scripted_probe.set_parameter("max_image_age", 0.0).successful
    yield scripted_probe
    assert scripted_probe.set_parameter("max_image_age", 5.0).successful


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
