# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself once a second, and the counting behind it."""

import math
from pathlib import Path

import pictures
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import probing
from ros_harness import scripted_node, started, wait_at, wait_until

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.diagnostics import Condition, judge
from lisa_ros.nodes.lisa.request import Outcome
from lisa_ros.nodes.lisa.statistics import Statistics, percentile

FINE = {
    "state": "active",
    "model": "m",
    "waiting": 0,
    "queue_size": 4,
    "picture_age_s": 0.1,
    "max_picture_age_s": 5.0,
    "callback_errors": 0,
    "gpu_bytes": 0,
}


@pytest.mark.parametrize(
    ("change", "newest", "level", "says"),
    [
        ({}, None, DiagnosticStatus.OK, "Ready"),
        ({}, Segmentation.NO_OBJECT, DiagnosticStatus.OK, "Ready"),
        ({}, Segmentation.FAILED, DiagnosticStatus.ERROR, "failed"),
        ({"picture_age_s": None}, None, DiagnosticStatus.WARN, "No picture"),
        ({"picture_age_s": 6.0}, None, DiagnosticStatus.WARN, "max_image_age"),
        ({"picture_age_s": 6.0, "max_picture_age_s": 0.0}, None, DiagnosticStatus.OK, "Ready"),
        ({"waiting": 4}, None, DiagnosticStatus.WARN, "full"),
        ({"unwritten_dialogues": 2}, None, DiagnosticStatus.WARN, "cannot be written to dialogue_file"),
        ({"state": "inactive"}, None, DiagnosticStatus.WARN, "inactive"),
    ],
)
def test_levels_mean_something(change: dict[str, object], newest: int | None, level: bytes, says: str) -> None:
    judged, sentence = judge(Condition(**(FINE | change)), newest)  # type: ignore[arg-type]
    assert judged == level and says in sentence


def test_percentiles_by_hand() -> None:
    assert math.isnan(percentile([], 0.5))
    assert percentile([3.0], 0.95) == 3.0
    assert [percentile([5.0, 1.0, 4.0, 2.0, 3.0], share) for share in (0.2, 0.5, 0.95)] == [1.0, 3.0, 5.0]


def test_counts_and_rates() -> None:
    now = [100.0]
    counted = Statistics(lambda: now[0])
    for _ in range(50):
        counted.count_picture()
        now[0] += 0.1
    assert counted.picture_rate_hz() == pytest.approx(10.0, abs=0.5)
    now[0] += 60
    assert counted.picture_rate_hz() == 0.0
    assert counted.newest_status is None
    counted.count_answer(Outcome(Segmentation.NO_OBJECT, total_ms=7.0))
    counted.count_answer(Outcome(Segmentation.REJECTED))
    assert (counted.answers(Segmentation.NO_OBJECT), counted.newest_status) == (1, Segmentation.REJECTED)
    assert counted.total_ms(0.5) == 7.0 and math.isnan(counted.first_mask_ms(0.5))


def test_the_node_tells_how_it_is_doing(tmp_path: Path) -> None:
    heard: list[DiagnosticStatus] = []
    with probing() as probe, started(scripted_node()) as process:
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: heard.extend(m.status), 10)
        probe.wait_for_node(process)
        first = wait_until(lambda: heard[-1:], "diagnostics")[0]
        assert (first.level, first.name) == (DiagnosticStatus.WARN, "lisa: lisa") and "No picture" in first.message
        probe.ask_about(pictures.message("rgb8"), "red")
        probe.ask("")

        def told() -> dict[str, str]:
            return {value.key: value.value for value in heard[-1].values}

        wait_until(lambda: told()["answers REJECTED"] == "1", "the count")
        now = told()
        assert now["model"] == "scripted" and int(now["answers OK"]) >= 1 and now["waiting commands"] == "0"
        assert float(now["first mask p50 (ms)"]) <= float(now["total p95 (ms)"])
        probe.ask("crash")
        wait_until(lambda: heard[-1].level == DiagnosticStatus.ERROR, "the error")
        probe.ask_about(pictures.message("rgb8"), "red")
        wait_until(lambda: heard[-1].level == DiagnosticStatus.OK, "recovery")


def test_it_tells_of_itself_while_it_loads(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    told: list[str] = []

    def hear(message: DiagnosticArray) -> None:
        told.extend(value.value for status in message.status for value in status.values if value.key == "state")

    with probing("loading") as probe:
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 100)
        with started(scripted_node("-r", "__node:=loading", "-p", f"checkpoint:=gate {gate}")) as process:
            wait_at(gate)
            wait_until(lambda: told.count("configuring") > 2, "three times 'configuring'")
            gate.touch()
            probe.wait_for_node(process)
            wait_until(lambda: "active" in told, "'active'")
