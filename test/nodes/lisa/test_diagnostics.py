# SPDX-License-Identifier: Apache-2.0
"""Diagnostics and the statistics in them."""

import math

import camera_images
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import probing
from ros_harness import scripted_node, started, wait_until

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.diagnostics import NodeStatus, level_of
from lisa_ros.nodes.lisa.request import Outcome
from lisa_ros.nodes.lisa.statistics import Statistics, percentile
from lisa_ros.segmentation.interface import DeviceMemory

FINE = {
    "state": "active",
    "model": "m",
    "waiting": 0,
    "queue_size": 4,
    "image_age_s": 0.1,
    "callback_errors": 0,
    "gpu_memory": DeviceMemory(),
}


@pytest.mark.parametrize(
    ("change", "newest", "level", "message"),
    [
        ({}, None, DiagnosticStatus.OK, "Ready"),
        ({}, Segmentation.NO_OBJECT, DiagnosticStatus.OK, "Ready"),
        ({}, Segmentation.FAILED, DiagnosticStatus.ERROR, "failed"),
        ({"image_trouble": "No image has arrived on /image yet."}, None, DiagnosticStatus.WARN, "No image has arrived"),
        ({"depth_trouble": "No camera_info arrives."}, None, DiagnosticStatus.WARN, "No camera_info"),
        ({"depth_trouble": "x", "image_trouble": "No image"}, None, DiagnosticStatus.WARN, "No image"),
        ({"waiting": 4}, None, DiagnosticStatus.WARN, "full"),
        ({"unwritten_dialogues": 2}, None, DiagnosticStatus.WARN, "cannot be written to dialogue_file"),
        ({"model_trouble": "The server cannot be reached."}, None, DiagnosticStatus.WARN, "The server"),
        ({"state": "inactive"}, None, DiagnosticStatus.WARN, "inactive"),
    ],
)
def test_levels_and_messages(change: dict[str, object], newest: int | None, level: bytes, message: str) -> None:
    found, sentence = level_of(NodeStatus(**(FINE | change)), newest)  # type: ignore[arg-type]
    assert found == level and message in sentence


def test_percentiles_by_hand() -> None:
    assert math.isnan(percentile([], 0.5))
    assert percentile([3.0], 0.95) == 3.0
    assert [percentile([5.0, 1.0, 4.0, 2.0, 3.0], share) for share in (0.2, 0.5, 0.95)] == [1.0, 3.0, 5.0]


def test_counts_and_rates() -> None:
    now = [100.0]
    counted = Statistics(lambda: now[0])
    for _ in range(50):
        counted.count_images()
        now[0] += 0.1
    assert counted.image_rate_hz() == pytest.approx(10.0, abs=0.5)
    now[0] += 60
    assert counted.image_rate_hz() == 0.0
    assert counted.newest_status is None
    counted.count_answer(Outcome(Segmentation.NO_OBJECT, total_ms=7.0))
    counted.count_answer(Outcome(Segmentation.REJECTED))
    assert (counted.answers(Segmentation.NO_OBJECT), counted.newest_status) == (1, Segmentation.REJECTED)
    assert counted.total_ms(0.5) == 7.0 and math.isnan(counted.first_mask_ms(0.5))


def test_diagnostics_of_a_running_node() -> None:
    received: list[DiagnosticStatus] = []

    def receive(message: DiagnosticArray) -> None:
        received.extend(status for status in message.status if status.name == "watched: lisa")

    with probing("watched") as probe, started(scripted_node("-r", "__node:=watched")) as process:
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", receive, 10)
        probe.wait_for_node(process)
        wait_until(lambda: received and "No image" in received[-1].message, "diagnostics of the active node")
        assert received[-1].level == DiagnosticStatus.WARN
        probe.ask_about(camera_images.message("rgb8"), "red")
        probe.ask("")

        def values() -> dict[str, str]:
            return {value.key: value.value for value in received[-1].values}

        wait_until(lambda: values()["answers REJECTED"] == "1", "the count")
        now = values()
        assert now["model"] == "scripted" and int(now["answers OK"]) >= 1 and now["waiting commands"] == "0"
        assert float(now["first mask p50 (ms)"]) <= float(now["total p95 (ms)"])
        probe.ask("crash")
        wait_until(lambda: received[-1].level == DiagnosticStatus.ERROR, "the error")
        probe.ask_about(camera_images.message("rgb8"), "red")
        wait_until(lambda: received[-1].level == DiagnosticStatus.OK, "recovery")
