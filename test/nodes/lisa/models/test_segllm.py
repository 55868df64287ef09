# SPDX-License-Identifier: Apache-2.0
"""SegLLM in lisa_node: rounds that refer to earlier masks, also after a restart."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import iou
from golden_segllm import GoldenCase, read_golden_case
from node_probe import Probe, pixels, probing
from ros_harness import started
from sensor_msgs.msg import Image

from lisa_ros.models.segllm.hipie.canvas import Canvas
from lisa_ros.msg import Segmentation

CASE = 3


@pytest.fixture(scope="module")
def case(golden_segllm: Path) -> GoldenCase:
    return read_golden_case(golden_segllm, CASE)


def segllm_node(checkpoint: Path, dialogues: Path) -> list[str]:
    values = {"checkpoint": checkpoint, "dialogue_file": dialogues, "device": "cpu", "precision": "fp32"}
    parameters = [part for name, value in values.items() for part in ("-p", f"{name}:='{value}'")]
    return [
        sys.executable,
        "-m",
        "lisa_ros.nodes.lisa.node",
        "--ros-args",
        *parameters,
        "-p",
        "max_image_age:=0.0",
        "-p",
        "split_objects:=never",
        "-r",
        "__node:=segllm",
    ]


def golden_mask(case: GoldenCase, number: int) -> np.ndarray:
    canvas = Canvas.of(case.image)
    logits = torch.from_numpy(case.rounds[number - 1].arrays["mask_logits"])
    return (canvas.in_original(canvas.upsampled(logits)) > 0).numpy()


def assert_answer(answer: Segmentation, case: GoldenCase, number: int, references: list[int]) -> None:
    assert answer.status == Segmentation.OK, answer.detail
    assert (answer.answer, answer.turn, list(answer.references)) == ("[SEG]", number, references)
    assert iou(pixels(answer.objects[0].mask), golden_mask(case, number)) >= 0.99


def image_of(case: GoldenCase) -> Image:
    height, width = case.image.shape[:2]
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=case.image.tobytes())


def test_two_rounds_and_a_restart(golden_segllm: Path, case: GoldenCase, tmp_path: Path) -> None:
    command = segllm_node(golden_segllm, tmp_path / "dialogues.sqlite")
    first, second = (golden.text for golden in case.rounds)
    with probing("segllm") as probe:
        with started(command) as process:
            probe.wait_for_node(process)
            assert_answer(probe.ask_about(image_of(case), first), case, 1, [])
            assert_answer(probe.ask(first, "ben"), case, 1, [])
            assert_answer(probe.ask(second, references=[1]), case, 2, [1])
            refused = probe.ask(second, references=[7])
            assert refused.status == Segmentation.REJECTED and "turn 7" in refused.detail
        with started(command) as process:
            probe.wait_for_node(process)
            show(probe, case)
            assert_answer(probe.ask(second, "ben", references=[1]), case, 2, [1])


def show(probe: Probe, case: GoldenCase) -> None:
    """Until the node has an image: a command with an unknown reference is REJECTED then, and not NO_IMAGE."""
    probe.show_until(image_of(case), "[REF:9]", lambda answer: answer.status == Segmentation.REJECTED)
