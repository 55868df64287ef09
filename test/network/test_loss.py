# SPDX-License-Identifier: Apache-2.0
"""An operator behind a network that loses, delays and reorders packets, or is interrupted: one answer per command."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lossy_network import Cable, lossy_network
from paths import ROOT
from ros_harness import Process, scripted_node, started, wait_until

from lisa_ros.demo.processes import node_command
from lisa_ros.msg import Command

pytestmark = pytest.mark.ros
OPERATOR = Path(__file__).with_name("operator_elsewhere.py")


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    """A robot with a camera and a node in the first namespace."""
    with lossy_network() as cable, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds_wireless.xml"))
        camera = node_command("sim_camera", "/", {"width": 320, "height": 240})
        node = scripted_node("-p", "queue_size:=300", "-p", "max_image_age:=0.0")
        with started(_open(cable.on(0, camera))), started(_open(cable.on(0, node))) as process:
            wait_until(lambda: not process.alive or "Ready" in process.output, "the node")
            yield cable


def _open(command: list[str]) -> list[str]:
    """Discovery beyond the machine: a namespace has no way out but the cable."""
    return ["env", "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET", *command]


@contextmanager
def operator(cable: Cable, commands: int, goals: int, outputs: int = 0) -> Iterator[Process]:
    program = [sys.executable, str(OPERATOR), str(commands), str(goals), str(outputs)]
    with started(_open(cable.on(1, program))) as process:
        yield process


def answers_of(process: Process) -> dict[str, Any]:
    assert process.wait(200.0) == 0, process.output
    return dict(json.loads(process.output.splitlines()[-1]))


def check(found: dict[str, Any], commands: int, goals: int) -> None:
    assert found["answers"] == {str(number): 1 for number in range(commands)}
    assert len(found["goals"]) == goals and set(found["goals"]) <= {"OK", "NO_OBJECT"}


@pytest.mark.parametrize(
    ("loss", "delay_s", "jitter_s", "outputs"),
    [
        (0.0, 0.0, 0.0, 0),
        (0.01, 0.02, 0.02, 0),
        pytest.param(0.03, 0.02, 0.02, 0, marks=pytest.mark.slow),
        # Of a mask's 55 packets too many are lost; an answer without masks is two.
        # Slow: on a busy machine it can take more than a minute.
        pytest.param(
            *(0.1, 0.02, 0.02, Command.OUTPUT_NO_MASKS | Command.OUTPUT_NO_FEEDBACK_MASKS), marks=pytest.mark.slow
        ),
    ],
)
def test_every_command_is_answered_once(
    cable: Cable, loss: float, delay_s: float, jitter_s: float, outputs: int
) -> None:
    cable.loss, cable.delay_s, cable.jitter_s = loss, delay_s, jitter_s
    before, lost = cable.carried, cable.lost
    with operator(cable, 40, 3, outputs) as process:
        found = answers_of(process)
    check(found, 40, 3)
    assert cable.carried - before > 100 and (cable.lost > lost) == (loss > 0), "the packets went through the cable"
    print(f"loss {loss:.0%}, delay {1000 * delay_s:.0f} ms: all answered in {found['seconds']:.1f} s")


def test_an_interruption_of_three_seconds_delays_answers_and_loses_none(cable: Cable) -> None:
    cable.loss, cable.delay_s, cable.jitter_s = 0.0, 0.0, 0.0
    with operator(cable, 200, 2) as process:
        wait_until(lambda: "connected" in process.output or not process.alive, "the operator")
        time.sleep(1.0)
        cable.cut = True
        time.sleep(3.0)
        cable.cut = False
        check(answers_of(process), 200, 2)
