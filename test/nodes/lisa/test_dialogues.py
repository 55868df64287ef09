# SPDX-License-Identifier: Apache-2.0
"""Operators' dialogues: turns, limits, reset and restart, with lisa_node as another process."""

import signal
from pathlib import Path

import camera_images
from node_probe import Probe, probing
from ros_harness import scripted_node, started, wait_at, wait_until

from lisa_ros.msg import Segmentation


def test_a_text_without_an_operator_is_a_command_of_the_default_operator(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "green")
    probe.send_text("the green one, as plain text")
    answer = wait_until(
        lambda: next((a for a in list(probe.answers) if a.text == "the green one, as plain text"), None), "the answer"
    )
    assert (answer.status, answer.operator_id) == (Segmentation.OK, "default")
    assert answer.id


def test_interleaved_operators_have_separate_dialogues(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    operators = ("ada", "bob", "cem", "Ünal")
    sent = [
        (operator, number, probe.send(f"history {operator} {number}", operator))
        for number in range(6)
        for operator in operators
    ]
    for operator, number, identity in sent:
        answer = probe.answer_to(identity)
        history = " | ".join(f"history {operator} {earlier}" for earlier in range(number))
        assert (answer.answer, answer.turn, answer.operator_id) == (f"History: {history}", number + 1, operator)


def test_old_turns_are_dropped_and_the_others_keep_their_numbers(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    assert probe.set_parameter("max_turns", 2).successful
    assert [probe.ask(f"unicorn {i}", "dana").turn for i in (1, 2, 3)] == [1, 2, 3]
    assert probe.ask("references", "dana", references=[3]).answer == "References [3]."
    refused = probe.ask("references", "dana", references=[1])
    assert refused.status == Segmentation.REJECTED and "turn 1" in refused.detail
    assert probe.set_parameter("max_turns", 8).successful


def test_only_answered_commands_become_turns(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    for text in ("", "crash", "forbidden", "the red part"):
        probe.ask(text, "eva")
    assert probe.ask("history", "eva").answer == "History: the red part"


def test_reset_deletes_one_operators_dialogue(probe: Probe) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    for operator in ("fred", "gina"):
        probe.ask("red", operator)
    response = probe.reset("fred")
    assert (response.success, response.turns) == (True, 1)
    assert probe.ask("history", "fred").answer == "History: "
    assert probe.ask("history", "gina").answer == "History: red"
    refused = probe.reset("x" * 65)
    assert not refused.success and "64" in refused.message


def test_an_answer_in_progress_at_a_reset_does_not_become_a_turn(probe: Probe, gate: Path) -> None:
    probe.ask_about(camera_images.message("rgb8"), "red")
    probe.ask("red", "hans")
    held = probe.send(f"gate {gate}", "hans")
    wait_at(gate)
    assert probe.reset("hans").turns == 1
    gate.touch()
    answer = probe.answer_to(held)
    assert (answer.status, answer.turn) == (Segmentation.NO_OBJECT, 0)
    assert probe.ask("history", "hans").answer == "History: "


def test_a_killed_node_continues_its_dialogues_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new" / "dialogues.sqlite"
    arguments = ("-r", "__node:=stored", "-p", f"dialogue_file:={file}")
    with probing("stored") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        assert probe.ask_about(camera_images.message("rgb8"), "two").turn == 1
        assert probe.ask("red", "anna").turn == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    with probing("stored") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        listed = probe.dialogues()
        assert {name: (one.turns, one.last_turn) for name, one in listed.items()} == {"default": (1, 1), "anna": (1, 1)}
        assert listed["anna"].idle_s >= 0
        answer = probe.ask_about(camera_images.message("rgb8"), "history")
        assert answer.answer.startswith("History: two") and answer.turn >= 2
