# SPDX-License-Identifier: Apache-2.0
"""Spoken answers."""

import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.speaking import Speaker, answer_sentence, spoken_distance


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_sentence_is_the_explanation_or_made_of_the_answer() -> None:
    assert answer_sentence("It is red. The red mug holds tea.", [0.4], [10.0]) == "It is red. The red mug holds tea."
    assert answer_sentence("Sure, .", [0.4, 0.7], [50.0, 10.0]) == ("I found two, the left one is 70 centimetres away.")
    assert answer_sentence("", [0.4], [50.0]) == "I found it, it is 40 centimetres away."
    assert answer_sentence("Sure.", [None, None, None], [1.0, 2.0, 3.0]) == "I found three."
    assert answer_sentence("", [], []) == "I found nothing."
    assert answer_sentence("There is no mug here.", [], []) == "There is no mug here."
    assert [spoken_distance(metres) for metres in (0.01, 0.996, 1.0, 2.25)] == [
        "1 centimetre",
        "1 metre",
        "1 metre",
        "2.2 metres",
    ]


def test_sentences_are_spoken_one_after_the_other_and_can_be_stopped(tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    script = tmp_path / "speaker.py"
    script.write_text(
        "import sys, time\n"
        "text = sys.stdin.read().strip()\n"
        f"open({str(said)!r}, 'a').write(text + '\\n')\n"
        "time.sleep(60 if text == 'long' else 0)\n"
    )
    faults: list[str] = []
    speaker = Speaker("command", f"{sys.executable} {script}", faults.append)
    speaker.say("Two   words\nand more.")
    until(lambda: said.exists() and said.read_text() == "Two words and more.\n")
    until(lambda: not speaker.speaking)
    speaker.say("long")
    until(lambda: said.read_text().endswith("long\n"))
    assert speaker.speaking
    speaker.say("never said")
    speaker.hush()
    until(lambda: not speaker.speaking)
    assert "never" not in said.read_text()
    assert not any(faults)
    speaker.close()


def test_a_program_that_fails_is_reported() -> None:
    faults: list[str] = []
    code = "import sys; print('no sound card', file=sys.stderr); sys.exit(3)"
    speaker = Speaker("command", f"{sys.executable} -c {code!r}", faults.append)
    speaker.say("Hello.")
    until(lambda: faults)
    assert faults[0].endswith("could not speak: no sound card.")
    speaker.close()


def test_a_sentence_or_a_complaint_that_is_no_utf_8_does_not_end_speaking() -> None:
    """The thread ended, and the robot took itself for speaking and listened no more."""
    faults: list[str] = []
    code = "import sys; sys.stderr.buffer.write(b'kein Ger\\xe4t'); sys.exit(3)"
    speaker = Speaker("command", f"{sys.executable} -c {shlex.quote(code)}", faults.append)
    for sentence in ("Hello.", "A lone \ud800 surrogate."):
        speaker.say(sentence)
        until(lambda: faults and not speaker.speaking)
        assert "kein Ger\ufffdt" in faults[0]
        faults.clear()
    speaker.close()


def test_a_sentence_is_stopped_while_its_program_is_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    real = subprocess.Popen

    def slow(*arguments: Any, **options: Any) -> Any:
        begun.set()
        goes_on.wait(60)
        return real(*arguments, **options)

    speaker = Speaker("command", f"{sys.executable} -c {shlex.quote('import time; time.sleep(60)')}")
    monkeypatch.setattr(subprocess, "Popen", slow)
    speaker.say("Hello.")
    assert begun.wait(60)
    speaker.hush()
    goes_on.set()
    begun_s = time.monotonic()
    until(lambda: not speaker.speaking)
    assert time.monotonic() - begun_s < 30
    speaker.close()


def test_a_fault_ends_with_the_next_sentence_that_is_spoken(tmp_path: Path) -> None:
    faults: list[str] = []
    code = f"import pathlib, sys; sys.exit(3 * pathlib.Path({str(tmp_path / 'unplugged')!r}).exists())"
    speaker = Speaker("command", f"{sys.executable} -c {shlex.quote(code)}", faults.append)
    (tmp_path / "unplugged").touch()
    speaker.say("Hello.")
    until(lambda: faults)
    (tmp_path / "unplugged").unlink()
    speaker.say("Hello again.")
    until(lambda: len(faults) > 1)
    speaker.close()
    assert "could not speak" in faults[0] and faults[1] == ""


def test_a_program_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SpeechError, match="'espeak-ng', which is to speak the answers, is not installed; type: sudo"):
        Speaker("espeak-ng")
    with pytest.raises(SpeechError, match="say_command must name a program"):
        Speaker("command", "  ")
    with pytest.raises(SpeechError, match=r"Parameter say_command is .*'x.*, and cannot be read: No closing quotation"):
        Speaker("command", "espeak 'x")
    threads = threading.active_count()
    Speaker("none").say("Nothing happens.")
    assert threading.active_count() == threads
