# SPDX-License-Identifier: Apache-2.0
"""The action ~/segment, as an action client sees it, with lisa_node as another process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pictures
import pytest
from action_msgs.msg import GoalStatus
from node_probe import Probe, pixels, probing
from ros_harness import scripted_node, started, wait_at, wait_until

from lisa_ros.msg import Segmentation


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing() as probe, started(scripted_node()) as process:
        probe.wait_for_node(process)
        probe.ask_about(pictures.message("rgb8"), "red")
        assert probe.set_parameter("max_image_age", 0.0).successful
        yield probe


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_masks_come_before_the_result_which_is_the_published_answer(probe: Probe) -> None:
    goal = probe.send_goal("two", "anna", id="mine")
    status, answer = goal.result()
    assert (status, answer.status, answer.id) == (GoalStatus.STATUS_SUCCEEDED, Segmentation.OK, "mine")
    found = wait_until(lambda: len(f := [o for told in goal.heard for o in told.found]) == 2 and f, "two masks")
    for told, whole in zip(found, answer.objects, strict=True):
        assert (pixels(told.mask) == pixels(whole.mask)).all()
        assert (told.bbox, told.span_begin, told.span_end) == (whole.bbox, whole.span_begin, whole.span_end)
    assert all(told.header == answer.header for told in goal.heard)
    published = probe.answer_to("mine")
    assert published == answer


def test_no_object_is_a_success(probe: Probe) -> None:
    goal = probe.send_goal("the unicorn")
    status, answer = goal.result()
    assert (status, answer.status) == (GoalStatus.STATUS_SUCCEEDED, Segmentation.NO_OBJECT)
    (told,) = wait_until(lambda: goal.heard, "the words")
    assert told.answer == answer.answer and not told.found


def test_a_failure_aborts_the_goal_with_its_reason(probe: Probe) -> None:
    status, answer = probe.send_goal("crash").result()
    assert (status, answer.status) == (GoalStatus.STATUS_ABORTED, Segmentation.FAILED)
    assert "the model broke" in answer.detail


def test_a_goal_that_cannot_be_asked_is_rejected_and_the_answer_says_why(probe: Probe) -> None:
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
    assert "taken back" in probe.answer_to("cancelled").detail
    assert probe.ask("history", "carl").answer == "I was told: "


def test_cancelling_what_waits_answers_it_at_once(probe: Probe, gate: Path) -> None:
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
    assert probe.send_goal("history", "emil").result()[1].answer == "I was told: red | blue"


def test_goals_that_wait_hear_of_the_nodes_end(gate: Path) -> None:
    with probing("ending") as probe, started(scripted_node("-r", "__node:=ending")) as process:
        probe.wait_for_node(process)
        probe.ask_about(pictures.message("rgb8"), "red")
        goals = [probe.send_goal(f"gate {gate}", "anna"), probe.send_goal("red", "anna")]
        wait_at(gate)
        process.send_signal(signal.SIGINT)
        assert [goal.result()[1].status for goal in goals] == [Segmentation.CANCELLED] * 2
