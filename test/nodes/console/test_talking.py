# SPDX-License-Identifier: Apache-2.0
"""A voice in a browser's microphone -> console -> speech -> lisa_node -> mask on the page; each a process."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from console_page import Operator, chromium, console
from paths import ROOT
from playwright.sync_api import Browser
from ros_harness import started, talking_node
from spoken import said

from lisa_ros.msg import Command
from lisa_ros.speech.audio.samples import RATE, write_wav

SENTENCE = "Where is the yellow ring?"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    silence = np.zeros(RATE // 2, np.float32)
    return np.concatenate([silence, said(SENTENCE, "slt"), *[silence] * 8])  # a slow person does not hear it twice


@pytest.fixture(scope="module")
def browser(sound: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its microphone plays the sentence again and again, from the moment at which it is opened."""
    file = tmp_path_factory.mktemp("sound") / "said.wav"
    write_wav(file, sound)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    )
    with chromium(*flags, f"--use-file-for-fake-audio-capture={file}") as browser:
        yield browser


def program(name: str, *parameters: str) -> list[str]:
    words = [word for one in parameters for word in ("-p", one)]
    return [sys.executable, str(ROOT / "scripts" / name), "--ros-args", *words]


def state(operator: Operator) -> str:
    return operator.page.get_attribute("#talk", "data-state") or "idle"


def test_an_operator_speaks_to_the_page_and_sees_the_mask(browser: Browser, sound: np.ndarray, tmp_path: Path) -> None:
    camera = program("sim_camera", "seed:=92", "rate_hz:=4.0")
    lisa = program("lisa_node", "dialogue_file:=''")
    speech = program("speech", "audio:=topic", "listen:=push_to_talk")
    with started(camera), started(lisa), console() as address, talking_node("planner") as planner:
        planner.commands = []
        planner.create_subscription(Command, "/speech/command", planner.commands.append, 10)
        ann = Operator(browser, address, "ann")
        ann.page.add_init_script("window.spoken = []; window.speechSynthesis.speak = (one) => spoken.push(one.text);")
        ann.page.reload()
        ann.wait_for_camera()
        assert ann.page.is_disabled("#talk") and "is not running" in ann.page.inner_text("#talk-help")
        with started(speech):
            ann.until(lambda: ann.page.is_enabled("#talk"), "the speech node", 120)
            ann.page.check("#aloud")
            button = ann.page.locator("#talk")
            button.hover()
            before_s = time.time()
            ann.page.mouse.down()
            ann.until(lambda: state(ann) == "speaking", "the microphone")
            began_s, sentence_s = time.time(), len(sound) / RATE - 4.5
            ann.page.wait_for_timeout(1000 * (0.5 + sentence_s + 1.0))
            ann.page.mouse.up()
            ann.until(lambda: ann.log() and ann.log()[-1]["state"] == "done", "the answer")
            assert (ann.log()[-1]["text"], ann.log()[-1]["status"]) == (SENTENCE, "OK")
            # The answer is the node's and this the speech node's: which comes first is not known.
            ann.until(lambda: "heard: " in ann.log()[-1]["about"], "what was heard")
            ann.until(lambda: "Heard: " in ann.page.inner_text("#heard"), "what was heard, below the command")
            ann.until(lambda: ann.drawn()["masks"] == 1 and ann.drawn()["image"], "the mask on its frame")
            assert ann.page.evaluate("() => window.spoken") == [ann.log()[-1]["answer"]]
            (command,) = planner.commands
            stamp_s = command.stamp.sec + command.stamp.nanosec / 1e9
            # The utterance's begin, half a second after the microphone's, and not its end.
            assert before_s - 0.6 < stamp_s < began_s + 0.3 + sentence_s
            thrown_away(ann)
            ann.page.screenshot(path=str(tmp_path / "spoken.png"))
            assert ann.faults == []
        ann.until(lambda: ann.page.is_disabled("#talk"), "the end of the speech node")
        ann.close()


def thrown_away(ann: Operator) -> None:
    """The keyboard's short press holds the button; Escape discards the recording; no microphone, no recording."""
    count = len(ann.log())
    ann.page.focus("#talk")
    ann.page.keyboard.press("Enter")
    ann.until(lambda: state(ann) == "speaking", "the microphone")
    assert ann.page.get_attribute("#talk", "aria-pressed") == "true"
    ann.page.wait_for_timeout(1500)
    ann.page.keyboard.press("Escape")
    ann.until(lambda: state(ann) == "idle", "the end")
    refuse = "(name) => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', name); }; }"
    for name, sentence in (("NotAllowedError", "did not allow the microphone"), ("NotFoundError", "has no microphone")):
        ann.page.evaluate(refuse, name)
        ann.page.keyboard.press("Enter")
        ann.until(lambda sentence=sentence: sentence in ann.alarms(), "the sentence")
    ann.page.wait_for_timeout(1500)
    assert len(ann.log()) == count
