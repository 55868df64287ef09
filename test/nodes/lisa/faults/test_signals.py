# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGINT at each stage of a command: one answer, and the end within ten seconds."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import camera_images
import pytest
from node_probe import Probe, probing
from ros_harness import scripted_node, started, wait_at

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.process import MAX_END_S

SOON_S = 5 * MAX_END_S
"""MAX_END_S, which test_process.py compares with ten seconds, on a machine that does nothing else."""


def at_the_gate(probe: Probe, gate: Path) -> list[str]:
    sent = [probe.send(f"gate {gate}", "ann")]
    wait_at(gate)
    return sent


def stuck(probe: Probe, gate: Path) -> list[str]:
    sent = [probe.send(f"stuck {gate}", "ann")]
    wait_at(gate)
    return sent


def stuck_goal(probe: Probe, gate: Path) -> list[str]:
    """And a command: both are answered after rclpy's executor has ended."""
    probe.send_goal(f"stuck {gate}", "ann", id="goal")
    wait_at(gate)
    other = gate.with_name("other")
    sent = ["goal", probe.send(f"stuck {other}", "ben")]
    wait_at(other)
    return sent


def queued(probe: Probe, gate: Path) -> list[str]:
    sent = at_the_gate(probe, gate)
    sent += [probe.send("two", "ann") for _ in range(5)]
    probe.wait_for_arrival()
    return sent


def publishing(probe: Probe, gate: Path) -> list[str]:
    """Many answers with masks are on their way."""
    sent = [probe.send("two", f"operator {number % 4}") for number in range(60)]
    probe.wait_for_arrival()
    return sent


STAGES: dict[str, Callable[[Probe, Path], list[str]]] = {
    "the model runs": at_the_gate,
    "the model hangs": stuck,
    "a goal's model hangs": stuck_goal,
    "commands wait": queued,
    "answers are published": publishing,
}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_that_asks_to_end(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    with probing("ended") as probe, started(scripted_node("-r", "__node:=ended", "-p", "queue_size:=300")) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        before = len(probe.answers)
        sent = STAGES[stage](probe, tmp_path / "gate")
        process.send_signal(number)
        assert process.wait(SOON_S) == 0
        for identity in sent:
            assert probe.answer_to(identity).status in (Segmentation.CANCELLED, Segmentation.OK)
        time.sleep(0.2)  # a second answer would have arrived
        assert Counter(answer.id for answer in probe.answers[before:]) == Counter(sent)
        assert "Traceback" not in process.output
