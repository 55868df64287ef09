# SPDX-License-Identifier: Apache-2.0
"""LIRA in lisa_node: one command with two objects, and feedback for each of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from golden_lira import read_case
from node_probe import Probe, pixels, probing
from numpy.typing import NDArray
from ros_harness import started, wait_until
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message

SIDE = 240
GREY, RED, GREEN = (96, 104, 92), (220, 30, 30), (30, 180, 60)


def square() -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[30:101, 30:101] = True
    return mask


def circle() -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside: NDArray[np.bool_] = (rows - 170) ** 2 + (columns - 170) ** 2 <= 40**2
    return inside


def image_of_both() -> NDArray[np.uint8]:
    """A red square and a green circle."""
    image = np.full((SIDE, SIDE, 3), GREY, dtype=np.uint8)
    image[square()], image[circle()] = RED, GREEN
    return image


@pytest.fixture(scope="module")
def probe(converted_lira: Path) -> Iterator[Probe]:
    arguments = {"checkpoint": str(converted_lira), "device": "cpu", "dialogue_file": "''", "max_image_age": "0.0"}
    parameters = [part for name, value in arguments.items() for part in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "lisa_ros.nodes.lisa.node", "--ros-args", "-r", "__node:=lira", *parameters]
    with probing("lira") as probe, started(command) as process:
        probe.wait_for_node(process)
        yield probe


def test_one_command_two_objects(probe: Probe, golden_lira: Path) -> None:
    question = read_case(golden_lira, 3).question  # "... with interleaved segmentation masks ..."
    message = to_image_message(image_of_both(), "rgb8", Header())
    probe.ask_about(message, "Please segment the red square.")
    goal = probe.send_goal(question, "anna", id="both")
    status, answer = goal.result()
    assert (status, answer.status) == (GoalStatus.STATUS_SUCCEEDED, Segmentation.OK)
    assert answer.answer == "[SEG]<image_id> <p> red square </p> [SEG] and [SEG]<image_id> <p> green circle </p> [SEG]."
    assert answer.explanation == "① red square and ② green circle."
    assert [one.phrase for one in answer.objects] == ["red square", "green circle"]
    for one, truth in zip(answer.objects, (square(), circle()), strict=True):
        mask = pixels(one.mask)
        assert np.count_nonzero(mask & truth) / np.count_nonzero(mask | truth) > 0.85
        assert answer.answer[one.span_begin : one.span_end] == "[SEG]"
    # The feedback of a mask has the answer up to this mask.
    wait_until(lambda: sum(len(feedback.found) for feedback in goal.feedback) == 2, "both masks")
    with_mask = [feedback for feedback in goal.feedback if feedback.found]
    assert [feedback.answer for feedback in with_mask] == [answer.answer[: one.span_end] for one in answer.objects]
    for feedback, one in zip(with_mask, answer.objects, strict=True):
        assert (pixels(feedback.found[0].mask) == pixels(one.mask)).all()


def test_a_second_turn(probe: Probe) -> None:
    probe.ask_about(to_image_message(image_of_both(), "rgb8", Header()), "Please segment the red square.")
    first = probe.ask("Please segment the red square.", "emil")
    second = probe.ask("Please segment the green circle.", "emil")
    assert (first.turn, second.turn) == (1, 2)
    assert first.objects and second.answer
