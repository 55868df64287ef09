# SPDX-License-Identifier: Apache-2.0
"""Random messages of all kinds, and restarts after SIGKILL at random moments, with lisa_node as another process."""

import random
import signal
import sys
import time
from pathlib import Path

import camera_images
import pytest
from node_probe import Probe, probing
from paths import PROCESSES
from ros_harness import scripted_node, started, wait_until

from lisa_ros.msg import Segmentation
from lisa_ros.srv import GetDialogue

OPERATORS = ("ann", "ben", "carl")


def test_a_node_survives_3000_random_messages() -> None:
    with started([sys.executable, str(PROCESSES / "fuzzing.py"), "--messages", "3000", "--seed", "7"]) as process:
        assert process.wait(280.0) == 0, process.output


def stored_texts(probe: Probe, name: str, operator: str) -> dict[int, str]:
    """An operator's turns by number; fails unless the numbers are consecutive from 1."""
    client = probe.node.create_client(GetDialogue, f"/{name}/get_dialogue")
    wait_until(client.service_is_ready, "get_dialogue")
    future = client.call_async(GetDialogue.Request(operator_id=operator))
    wait_until(future.done, "get_dialogue")
    turns = future.result().turns
    assert [turn.turn for turn in turns] == list(range(1, len(turns) + 1))
    assert all(len(turn.objects) == 2 and turn.answer for turn in turns), "a turn is stored as a whole"
    return {turn.turn: turn.text for turn in turns}


def kill_and_restart(folder: Path, rounds: int) -> None:
    """Operators send commands; the node is killed at a random moment and restarted; no answered turn may be lost."""
    chance, file = random.Random(11), folder / "dialogues.sqlite"
    arguments = ("-r", "__node:=killed", "-p", f"dialogue_file:={file}", "-p", "max_turns:=100")
    answered: dict[str, dict[int, str]] = {operator: {} for operator in OPERATORS}
    for round_number in range(rounds + 1):
        with probing("killed") as probe, started(scripted_node(*arguments)) as process:
            probe.wait_for_node(process)
            for operator in OPERATORS:
                stored = stored_texts(probe, "killed", operator)
                assert answered[operator].items() <= stored.items(), f"round {round_number}, {operator}"
                answered[operator] = stored if len(stored) < 60 else {}
                if len(stored) >= 60:
                    probe.reset(operator)
            probe.show_until(camera_images.message("rgb8"), "two", lambda a: a.status == Segmentation.OK)
            before = len(probe.answers)
            for number in range(8):
                for operator in OPERATORS:
                    probe.send(f"two {round_number} {number}", operator)
            time.sleep(chance.uniform(0.0, 0.06))
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.2)  # answers that were sent before the end arrive
            for answer in probe.answers[before:]:
                if answer.status == Segmentation.OK and answer.operator_id in answered:
                    answered[answer.operator_id][answer.turn] = answer.text


def test_dialogues_are_complete_after_10_kills(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, 10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_dialogues_are_complete_after_200_kills(tmp_path: Path) -> None:
    kill_and_restart(tmp_path, 200)
