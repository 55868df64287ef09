# SPDX-License-Identifier: Apache-2.0
"""`lisa chat` typed in a terminal: streaming, commands, completion, history, Ctrl-C and Ctrl-D."""

import json
import signal
import sys
from pathlib import Path

import camera_images
import cv2
import numpy as np
import pytest
from node_probe import probing
from ros_harness import scripted_node, started, wait_at
from terminal import ASKS, START_S, Terminal, terminal

from lisa_ros.simulation.tabletop import Tabletop

pytest.importorskip("prompt_toolkit", reason="the extra `chat` is not installed")
pytestmark = pytest.mark.ros

CHAT = (sys.executable, "-m", "lisa_ros.cli", "chat")
UP, TAB, ENTER, CTRL_C, CTRL_D = "\x1b[A", "\t", "\r", "\x03", "\x04"


def say(shown: Terminal, line: str, answer: str) -> None:
    """Types a line once the chat asks for one, and waits for the answer."""
    shown.wait_for(ASKS)
    shown.type(line + ENTER)
    shown.wait_for(answer)


def test_a_person_types_in_a_terminal(tmp_path: Path) -> None:
    images, state, output = tmp_path / "images", tmp_path / "state", tmp_path / "out"
    images.mkdir()
    with Tabletop(92, width=320, height=240) as table:
        cv2.imwrite(str(images / "a.png"), cv2.cvtColor(table.render().rgb, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(images / "b.png"), np.full((48, 64, 3), 90, np.uint8))
    history = state / "lisa_ros" / "chat_history"
    history.parent.mkdir(parents=True)
    history.write_text("\n# 2026-01-01 00:00:00\n+the blue bottle\n")  # of an earlier chat
    arguments = ("--image", str(images), "--output", str(output))
    with terminal(*CHAT, *arguments, XDG_STATE_HOME=str(state), COLORTERM="truecolor") as shown:
        shown.wait_for("/help shows the commands", START_S)
        shown.wait_for("▀")  # the image, in half blocks
        shown.wait_for(ASKS)
        # This process reads all parts at once where it waited for a processor meanwhile.
        for question in (UP, *["the blue bottle"] * 9):
            before = len(shown.parts)
            shown.type(question + ENTER)
            shown.wait_for("The blue bottle.")
            shown.wait_for("1: blue bottle, ")
            words = (b"The", b" blue", b"bottle.")
            if sum(any(word in part for word in words) for part in shown.parts[before:]) > 1:
                break
            say(shown, "/undo", "Turn 1 is deleted: the blue bottle")
            shown.wait_for(ASKS)
        else:
            raise AssertionError("the text came in one piece")
        shown.wait_for(ASKS)
        shown.type("/image b")
        shown.wait_for("/image b.png")  # the menu of completions
        shown.type(TAB)
        shown.wait_for(".png")
        shown.type(ENTER)
        shown.wait_for("Image: b.png, 64 x 48 pixels")
        say(shown, "/undo", "Turn 1 is deleted: the blue bottle")
        say(shown, "/help", "writes masks, overlays and chat.json")
        say(shown, "/save", "chat.json")
        shown.wait_for(ASKS)
        shown.type("half a line" + CTRL_C)
        say(shown, "/nothing", "! there is no command /nothing")
        shown.wait_for(ASKS)
        shown.type(CTRL_D)
        assert shown.wait() == 0 and "Traceback" not in shown.text and "CPR" not in shown.text
    assert json.loads((output / "chat.json").read_text())["turns"][0]["text"] == "the blue bottle"
    typed = [line for line in history.read_text().splitlines() if line.startswith("+")]
    assert "+/image b.png" in typed and typed[-1] == "+/nothing" and "+half a line" not in typed


def test_ctrl_c_cancels_an_answer_and_not_the_chat_which_sigterm_ends(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    # one image is sent, and the terminal may take seconds to start
    node = scripted_node("-p", "max_image_age:=0.0")
    with probing("lisa") as probe, started(node) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "red")
        with terminal(*CHAT, "--ros", "--output", str(tmp_path), XDG_STATE_HOME=str(tmp_path)) as shown:
            shown.wait_for("/help shows the commands", START_S)
            shown.wait_for(ASKS)
            shown.type(f"gate {gate}{ENTER}")
            wait_at(gate)
            shown.type(CTRL_C)
            shown.wait_for("ancelled")
            say(shown, "history", "History: ")
            shown.wait_for(ASKS)
            shown.type(CTRL_D)
            assert shown.wait() == 0 and "Traceback" not in shown.text
        with terminal(*CHAT, "--ros", "--output", str(tmp_path), XDG_STATE_HOME="/dev/null") as shown:
            shown.wait_for(ASKS, START_S)  # without a history of earlier chats
            shown.send_signal(signal.SIGTERM)
            assert shown.wait() != 0 and "Traceback" not in shown.text
