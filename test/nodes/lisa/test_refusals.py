# SPDX-License-Identifier: Apache-2.0
"""Commands that are rejected or fail, and the next command that works, with lisa_node as another process."""

import camera_images
import pytest
from node_probe import Probe
from ros_harness import wait_until

from lisa_ros.msg import Segmentation


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


def test_an_answer_that_cannot_be_published_is_one_failed_answer(probe: Probe) -> None:
    image = camera_images.message("rgb8")
    probe.ask_about(image, "red")
    answer = probe.ask("misplaced")
    assert answer.status == Segmentation.FAILED and "could not be published" in answer.detail
    assert probe.ask_about(image, "red").status == Segmentation.OK


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
