# SPDX-License-Identifier: Apache-2.0
"""The services of dialogues, and commands with points and boxes, with lisa_node as another process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import camera_images
import pytest
from geometry_msgs.msg import Point
from node_probe import Probe, probing
from rclpy.qos import QoSProfile
from ros_harness import scripted_node, started, wait_until
from sensor_msgs.msg import RegionOfInterest

from lisa_ros.dialogue.dialogues import DialogueLimits
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.dialogue_services import open_dialogues
from lisa_ros.segmentation.turns import Turn
from lisa_ros.srv import GetDialogue, ResetDialogue, UndoDialogue


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing("services") as probe, started(scripted_node("-r", "__node:=services")) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        yield probe


def call(probe: Probe, kind: Any, name: str, **fields: Any) -> Any:
    client = probe.node.create_client(kind, f"/services/{name}")
    wait_until(client.service_is_ready, name)
    future = client.call_async(kind.Request(**fields))
    wait_until(future.done, name)
    return future.result()


def commands(probe: Probe, operator: str) -> list[tuple[int, str]]:
    response = call(probe, GetDialogue, "get_dialogue", operator_id=operator)
    assert response.success
    return [(turn.turn, turn.text) for turn in response.turns]


def test_a_dialogue_is_returned_with_its_masks_and_to_its_operator_only(probe: Probe) -> None:
    answer = probe.ask("two", "ann")
    probe.ask("red", "ann")
    (first, second) = call(probe, GetDialogue, "get_dialogue", operator_id="ann").turns
    assert (first.turn, first.text, first.explanation) == (1, "two", answer.explanation)
    assert [one.mask.data for one in first.objects] == [one.mask.data for one in answer.objects]
    assert [one.name for one in first.objects] == [one.name for one in answer.objects] != ["object"]
    assert (second.turn, second.text) == (2, "red")
    assert commands(probe, "ben") == []
    refused = call(probe, GetDialogue, "get_dialogue", operator_id="x" * 65)
    assert not refused.success and "64" in refused.message


def test_of_many_calls_at_once_none_is_lost(probe: Probe) -> None:
    client = probe.node.create_client(ResetDialogue, "/services/reset_dialogue", qos_profile=QoSProfile(depth=1000))
    wait_until(client.service_is_ready, "reset_dialogue")
    calls: list[Any] = []
    requests = [ResetDialogue.Request(operator_id=f"of_many_{i}") for i in range(100)]
    assert probe.node.executor is not None
    probe.node.executor.create_task(lambda: calls.extend(map(client.call_async, requests)))
    wait_until(lambda: len(calls) == 100 and all(one.done() for one in calls), "the responses", 30.0)


def test_a_reset_and_a_turn_can_be_undone(probe: Probe) -> None:
    for text in ("red", "two"):
        probe.ask(text, "cleo")
    assert probe.reset("cleo").turns == 2
    undone = call(probe, UndoDialogue, "undo_dialogue", operator_id="cleo")
    assert (undone.success, undone.turns) == (True, 2)
    assert probe.ask("history", "cleo").answer == "History: red | two"
    newest = call(probe, UndoDialogue, "undo_dialogue", operator_id="cleo", change=UndoDialogue.Request.TURN)
    assert (newest.success, newest.turns) == (True, 2)
    assert commands(probe, "cleo") == [(1, "red"), (2, "two")]
    again = call(probe, UndoDialogue, "undo_dialogue", operator_id="cleo")
    assert not again.success and "new turns" in again.message
    unknown = call(probe, UndoDialogue, "undo_dialogue", operator_id="cleo", change=7)
    assert not unknown.success and "7" in unknown.message


def test_limits_that_are_changed_count_at_once_and_not_from_the_next_command_on(probe: Probe) -> None:
    for text in ("red", "two"):
        probe.ask(text, "emil")
    assert probe.set_parameter("max_turns", 1).successful
    assert commands(probe, "emil") == [(2, "two")]
    assert probe.set_parameter("max_turns", 0).successful
    assert probe.dialogues() == {}
    assert probe.set_parameter("max_turns", 8).successful


def test_points_and_boxes_reach_the_model_and_are_checked(probe: Probe) -> None:
    box = RegionOfInterest(x_offset=1, y_offset=2, width=3, height=4)
    answer = probe.ask("pointing", "dora", points=[Point(x=5.5, y=6.0)], boxes=[box])
    assert answer.answer == "Points ((5.5, 6.0),), boxes ((1, 2, 3, 4),)."
    for fields, reason in (
        ({"points": [Point(x=-1.0, y=0.0)]}, "outside the image"),
        ({"points": [Point(x=float("nan"), y=0.0)]}, "outside the image"),
        ({"points": [Point()] * 17}, "at most 16 points"),
        ({"boxes": [box, box]}, "1 box"),
        ({"boxes": [RegionOfInterest(width=9999, height=1)]}, "not inside the image"),
        ({"boxes": [RegionOfInterest()]}, "is empty"),
    ):
        refused = probe.ask("red", "dora", **fields)
        assert refused.status == Segmentation.REJECTED and reason in refused.detail


def test_a_restarted_node_keeps_what_its_limits_say(tmp_path: Path) -> None:
    """More than the defaults of 8 turns and 16 operators must survive a restart."""
    limits = DialogueLimits(max_turns=12, max_operators=18)
    file = str(tmp_path / "dialogues.sqlite")
    for expected in (0, 12):
        dialogues = open_dialogues(file, "/lisa", limits)
        assert sum(one.turns for one in dialogues.summaries()) == 18 * expected
        for operator in range(18):
            for number in range(12 - expected):
                dialogues.append(f"operator {operator}", Turn(f"command {number}", "Sure."))
        dialogues.close()
