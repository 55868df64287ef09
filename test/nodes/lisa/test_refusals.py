# SPDX-License-Identifier: Apache-2.0
"""Commands that are rejected or fail, and the next command that works, with lisa_node as another process."""

from pathlib import Path

import camera_images
import numpy as np
import pytest
from node_probe import Probe, probing
from ros_harness import scripted_node, started, wait_until
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.commands.refusals import refusal_of
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.nodes.lisa.request import Request


@pytest.mark.parametrize(
    ("text", "operator", "reason"),
    [
        ("", "ina", "empty"),
        (" \n\t ", "ina", "empty"),
        ("\u200b\u2060\ufeff", "ina", "empty"),
        ("\x07 \x1b", "ina", "empty"),
        ("x" * 501, "ina", "501 characters; max_text_length allows 500"),
        ("red", "x" * 65, "1 to 64 printable"),
        ("red", "a\nb", "1 to 64 printable"),
        ("forbidden", "ina", "does not take this word"),
        ("surrogate", "ina", "does not take ?."),
    ],
)
def test_an_invalid_command_is_rejected(probe: Probe, text: str, operator: str, reason: str) -> None:
    before = probe.ask_about(camera_images.message("rgb8"), "red")
    answer = probe.ask(text, operator)
    assert answer.status == Segmentation.REJECTED and reason in answer.detail
    assert (answer.text, answer.operator_id, answer.turn, len(answer.objects)) == (text, operator, 0, 0)
    next_one = probe.ask_about(camera_images.message("rgb8"), "red")
    assert next_one.status == Segmentation.OK
    wait_until(lambda: next_one.header in [mask.header for mask in list(probe.masks)], "the next mask")
    # A command that the model rejects has the header of the image of `before`, which has only the mask of `before`.
    assert [mask.header for mask in probe.masks].count(answer.header) == int(answer.header == before.header)


def test_an_error_of_the_model_is_answered_and_the_next_command_works(probe: Probe) -> None:
    image = camera_images.message("rgb8")
    answer = probe.ask_about(image, "crash")
    assert (answer.status, answer.header) == (Segmentation.FAILED, image.header)
    assert answer.detail == "The model failed: RuntimeError: the model broke"
    assert probe.ask("crash badly").detail == "The model failed: RuntimeError: the model broke ?"
    assert probe.ask_about(image, "red").status == Segmentation.OK


def test_masks_of_another_size_than_the_image_fail_and_leave_no_turn(probe: Probe) -> None:
    image = camera_images.message("rgb8")
    probe.ask_about(image, "red")
    answer = probe.ask("misshapen", "otto")
    assert (answer.status, answer.header, answer.turn) == (Segmentation.FAILED, image.header, 0)
    assert "a mask of shape (3, 5)" in answer.detail
    assert f"({camera_images.HEIGHT}, {camera_images.WIDTH})" in answer.detail
    assert probe.ask("history", "otto").answer == "History: "


@pytest.mark.parametrize("text", ["misplaced", "red, negative"])
def test_an_answer_that_cannot_be_published_is_one_failed_answer_and_no_turn(probe: Probe, text: str) -> None:
    image = camera_images.message("rgb8")
    probe.ask_about(image, "red")
    answer = probe.ask(text, "pia")
    assert answer.status == Segmentation.FAILED and "The model failed: ValueError: the model's span" in answer.detail
    assert probe.ask("history", "pia").answer == "History: "
    assert probe.ask_about(image, "red").status == Segmentation.OK
    assert probe.reset("pia").turns == 1


def test_an_exception_that_is_no_exception_ends_the_command_and_not_the_worker(probe: Probe) -> None:
    """More of them than there are worker threads."""
    probe.ask_about(camera_images.message("rgb8"), "red")
    for kind in ("system", "keyboard", "generator") * 2:
        answer = probe.ask(f"exit {kind}", "quentin")
        assert answer.status == Segmentation.FAILED and answer.detail.startswith("The model failed: ")
    assert probe.ask("red", "quentin").status == Segmentation.OK


@pytest.mark.parametrize("size", [(480, 1), (1, 500)])
def test_a_narrow_strip_is_no_image(probe: Probe, size: tuple[int, int]) -> None:
    strip = to_image_message(np.zeros((*size, 3), dtype=np.uint8), "rgb8", Header())
    answer = probe.show_until(strip, "red", lambda a: a.status == Segmentation.NO_IMAGE)
    assert f"an image of {size[1]} x {size[0]} pixels is too narrow a strip" in answer.detail
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK


def test_a_command_that_exceeds_answer_timeout_fails_and_the_node_ends_when_all_threads_are_stuck(
    tmp_path: Path,
) -> None:
    arguments = ("-r", "__node:=stuck", "-p", "concurrent_commands:=2", "-p", "answer_timeout:=0.5")
    with probing("stuck") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        assert probe.set_parameter("max_image_age", 0.0).successful
        answer = probe.ask(f"stuck {tmp_path / 'gate'}", "rosa")
        assert answer.status == Segmentation.FAILED
        assert answer.detail == "The model did not answer within 0.5 s (answer_timeout)."
        assert probe.set_parameter("answer_timeout", 0.0).successful  # a busy machine may take longer for these
        assert [probe.ask("red", "rosa").status for _ in range(3)] == [Segmentation.OK] * 3
        assert probe.ask("history", "rosa").answer == "History: red | red | red"
        assert probe.set_parameter("answer_timeout", 0.5).successful
        assert probe.ask(f"stuck {tmp_path / 'gate'}", "rosa").status == Segmentation.FAILED
        assert process.wait() == 1, "respawn starts it again"
        assert "exceeded answer_timeout" in process.output


def test_parameters_are_checked_while_the_node_runs(probe: Probe) -> None:
    assert not probe.set_parameter("queue_size", 0).successful
    assert not probe.set_parameter("queue_size", "many").successful
    assert not probe.set_parameter("max_image_age", float("nan")).successful
    assert not probe.set_parameter("max_image_age", float("inf")).successful
    assert not probe.set_parameter("quantization", "8bit").successful
    assert probe.ask_about(camera_images.message("rgb8"), "red").status == Segmentation.OK
    assert probe.set_parameter("max_text_length", 5).successful
    assert probe.ask("the red one").status == Segmentation.REJECTED
    assert probe.set_parameter("max_text_length", 500).successful


def test_a_parameter_that_does_not_exist_is_named(probe: Probe) -> None:
    assert probe.set_parameter("max_turn", 5).reason == "There is no parameter 'max_turn'; is 'max_turns' meant?"
    assert "There is no parameter ''." in probe.set_parameter("", 5).reason


def test_more_references_than_a_dialogue_has_turns_are_refused() -> None:
    parameters = NodeParameters(max_turns=3)
    assert refusal_of(Request("1", "ann", "this", references=(1, 2, 3)), parameters) is None
    many = refusal_of(Request("1", "ann", "this", references=(1,) * 1_000_000), parameters)
    assert many == "The command has 1000000 references; max_turns is 3."
