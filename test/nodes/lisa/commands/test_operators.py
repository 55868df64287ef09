# SPDX-License-Identifier: Apache-2.0
"""Topics of single operators, and limits that keep one operator from starving others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import camera_images
import pytest
from node_probe import Probe, probing
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_harness import scripted_node, started, wait_at, wait_until

from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.lisa.commands.operator_topics import operator_ids
from lisa_ros.nodes.lisa.parameters import ParameterError

LATCHED = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Own:
    """One operator at their own topics."""

    def __init__(self, probe: Probe, operator: str) -> None:
        self.answers: list[Segmentation] = []
        place = f"/guarded/operators/{operator}"
        self._command = probe.node.create_publisher(Command, f"{place}/command", 10)
        probe.node.create_subscription(Segmentation, f"{place}/answer", self.answers.append, LATCHED)
        wait_until(self._command.get_subscription_count, place)
        wait_until(lambda: probe.node.count_publishers(f"{place}/answer"), place)

    def ask(self, text: str, identity: str, operator: str = "") -> Segmentation:
        self._command.publish(Command(id=identity, operator_id=operator, text=text))
        return wait_until(lambda: next((a for a in self.answers if a.id == identity), None), identity)


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Probe, Own, Own]]:
    """A node that takes commands of two operators only, each on their own topic."""
    settings = ("-p", "operators:=ann, ben", "-p", "shared_command:=false", "-p", "max_image_age:=0.0")
    with probing("guarded") as probe, started(scripted_node("-r", "__node:=guarded", *settings)):
        yield probe, Own(probe, "ann"), Own(probe, "ben")


def test_an_operator_speaks_and_hears_on_their_own_topic_alone(guarded: tuple[Probe, Own, Own]) -> None:
    probe, ann, ben = guarded
    image = camera_images.message("rgb8")

    def shown() -> bool:
        probe.show(image)
        return ann.ask("two", f"first {len(ann.answers)}").status == Segmentation.OK

    wait_until(shown, "the image")
    assert ben.ask("history", "b1").answer == "History: "
    assert ann.ask("history", "a1", "ann").answer.startswith("History: two")
    assert {answer.operator_id for answer in ann.answers} == {"ann"}
    assert {answer.operator_id for answer in ben.answers} == {"ben"}
    wait_until(lambda: {"a1", "b1"} <= {answer.id for answer in probe.answers}, "the answers on ~/segmentation, too")


def test_a_command_in_another_operators_name_is_rejected(guarded: tuple[Probe, Own, Own]) -> None:
    _, ann, ben = guarded
    answer = ben.ask("red", "forged", "ann")
    assert (answer.status, answer.operator_id) == (Segmentation.REJECTED, "ben")
    assert answer.detail == "This topic is ben's; the command names another operator."
    assert "forged" not in [one.id for one in ann.answers]


def test_the_shared_ways_to_command_are_off(guarded: tuple[Probe, Own, Own]) -> None:
    probe, _, _ = guarded
    for topic in ("/guarded/command", "/guarded/command_text"):
        assert probe.node.count_subscribers(topic) == 0
    assert not probe._segment.server_is_ready()


@pytest.mark.parametrize("wrong", ["ann, ann", "a/b", "9lives", "ann,", "x" * 65, "\u00fcnal"])
def test_ids_that_are_no_topic_names_end_the_node(wrong: str) -> None:
    with pytest.raises(ParameterError, match="Parameter operators"):
        operator_ids(wrong)


def test_the_rate_of_one_operator_is_limited_and_others_are_not(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    assert probe.set_parameter("max_operator_rate", 5).successful
    statuses = [probe.ask("red", "fast") for _ in range(7)]
    assert [one.status for one in statuses] == [Segmentation.OK] * 5 + [Segmentation.REJECTED] * 2
    assert "5 commands within a minute (max_operator_rate)" in statuses[-1].detail
    assert probe.ask("red", "slow").status == Segmentation.OK
    assert probe.set_parameter("max_operator_rate", 0).successful
    assert probe.ask("red", "fast").status == Segmentation.OK


def test_one_operator_cannot_fill_the_queue(probe: Probe, gate: Path) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    assert probe.set_parameter("max_operator_queue", 3).successful
    held = probe.send(f"gate {gate}", "greedy")
    wait_at(gate)
    sent = [probe.send("red", "greedy") for _ in range(6)]
    refused = [probe.answer_to(one) for one in sent[3:]]
    assert {one.status for one in refused} == {Segmentation.REJECTED} and "max_operator_queue" in refused[0].detail
    assert probe.ask("red", "modest").status == Segmentation.OK
    gate.touch()
    assert [probe.answer_to(one).status for one in (held, *sent[:3])] == [
        Segmentation.NO_OBJECT,
        *[Segmentation.OK] * 3,
    ]
    assert probe.set_parameter("max_operator_queue", 0).successful
