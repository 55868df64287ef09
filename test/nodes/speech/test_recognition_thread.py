# SPDX-License-Identifier: Apache-2.0
"""The thread that recognises all operators' sound: buttons that are held too long, and what waits."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from ros_harness import wait_until

from lisa_ros.nodes.speech import recognition_thread
from lisa_ros.nodes.speech.recognition_thread import (
    LISTENING,
    PUSH_TO_TALK,
    RELEASED,
    Block,
    RecognitionThread,
    Settings,
    Text,
)
from lisa_ros.speech.audio.samples import NO_SOUND, RATE, Samples
from lisa_ros.speech.audio.utterances import Timing
from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.language.phrases import Meaning
from lisa_ros.speech.language.vocabulary import Vocabulary
from lisa_ros.speech.listener import Event, Final
from lisa_ros.speech.options import Rules
from lisa_ros.speech.recognition.recognizer import Recognition

TIMING = Timing(end_silence_s=0.3, longest_s=2.0)
CUT = "The button counts as released after 2 seconds of speech; press it again to go on."


class Loudness:
    """A voice activity that takes every loud window for speech."""

    def probability(self, window: Samples) -> float:
        return float(np.abs(window).max() > 0.1)

    def reset(self) -> None:
        pass


class Gated:
    """A recogniser that hears the same in every sound, and works only while its gate is open."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.longest = 0

    def recognize(self, samples: Samples) -> Recognition:
        self.gate.wait(120)
        self.longest = max(self.longest, len(samples))
        return Recognition("Where is the mug?")

    def close(self) -> None:
        pass


class Hearing:
    """A thread and what it reports."""

    def __init__(self, **settings: float) -> None:
        self.recognizer, self.reported = Gated(), list[tuple[str, Event]]()
        rules = Rules("push_to_talk")
        self.thread = RecognitionThread(
            self.recognizer,
            Settings(rules, TIMING, Vocabulary(), **settings),
            lambda operator, event: self.reported.append((operator, event)),
            lambda sentence: None,
        )

    def send(self, seconds: float, level: float, mode: int) -> None:
        for _ in range(round(seconds / 0.05)):
            wait_until(lambda: len(self.thread._waiting) < 20, "room for a block")
            self.thread.add(Block("ann", "audio", mode, np.full(RATE // 20, level, np.float32), RATE, 0))

    def release(self) -> None:
        self.thread.add(Block("ann", "audio", RELEASED, NO_SOUND, RATE, 0))

    def finals(self) -> list[Final]:
        """Those of all that was sent."""
        ends = lambda: sum(operator == "end" for operator, _ in self.reported)  # noqa: E731
        before = ends()
        self.thread.add(Text("end", Recognition("stop"), 0))
        wait_until(lambda: ends() > before, "the end of what waits")
        return [event for operator, event in self.reported if operator == "ann" and isinstance(event, Final)]


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hearing]:
    monkeypatch.setattr(recognition_thread, "SileroActivity", Loudness)
    monkeypatch.setattr(recognition_thread, "_END_S", 60.0)
    hearing = Hearing(longest_hold_s=5.0)
    yield hearing
    hearing.recognizer.gate.set()
    assert hearing.thread.close()


def test_a_button_that_is_held_for_five_minutes_makes_one_command(hearing: Hearing) -> None:
    """Of each two seconds one more command was made, as long as it was held."""
    hearing.send(300.0, 0.5, PUSH_TO_TALK)
    hearing.send(0.5, 0.0, PUSH_TO_TALK)
    hearing.release()
    (final, *others) = hearing.finals()
    assert (final.understood.meaning, final.understood.detail) == (Meaning.COMMAND, CUT)
    assert final.ended_hold
    # What follows is as said to an open microphone: no command, with push_to_talk.
    assert {other.understood.meaning for other in others} <= {Meaning.IGNORED}
    assert hearing.recognizer.longest <= 2.3 * RATE
    hearing.send(1.0, 0.5, PUSH_TO_TALK)
    hearing.release()
    last = hearing.finals()[-1].understood
    assert (last.meaning, last.detail) == (Meaning.COMMAND, "")


def test_who_released_a_button_is_told_that_the_recogniser_failed(
    hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(samples: Samples) -> Recognition:
        raise SpeechError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(hearing.recognizer, "recognize", fail)
        hearing.send(1.0, 0.5, PUSH_TO_TALK)
        hearing.release()
        (final,) = hearing.finals()
    assert (final.understood.meaning, final.understood.detail) == (Meaning.IGNORED, "out of order")


def test_a_button_that_is_held_in_silence_counts_as_released(hearing: Hearing) -> None:
    """Somebody who spoke an hour later would have given a command."""
    hearing.send(6.0, 0.0, PUSH_TO_TALK)
    (final,) = hearing.finals()
    why = "No words were heard. The button was held for more than 5 seconds and counts as released."
    assert (final.understood.meaning, final.understood.detail) == (Meaning.IGNORED, why)
    assert final.ended_hold
    hearing.send(1.0, 0.5, PUSH_TO_TALK)
    hearing.send(0.5, 0.0, LISTENING)
    (_, ignored) = hearing.finals()
    assert ignored.understood.meaning is Meaning.IGNORED
    assert "No button was held" in ignored.understood.detail
    hearing.send(1.0, 0.5, PUSH_TO_TALK)
    hearing.release()
    assert [one.understood.meaning for one in hearing.finals()[2:]] == [Meaning.COMMAND]


def test_a_sender_whose_sound_waits_for_a_slow_recogniser_still_holds_the_button(
    hearing: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another operator's utterance took longer than the silence after which a button counts as released."""
    hearing.send(0.5, 0.5, PUSH_TO_TALK)
    hearing.finals()
    monkeypatch.setattr(recognition_thread, "_LOST_S", 0.2)
    hearing.recognizer.gate.clear()
    hearing.thread.add(Block("ben", "audio", RELEASED, np.full(RATE, 0.5, np.float32), RATE, 0))
    hearing.send(0.5, 0.5, PUSH_TO_TALK)
    hearing.release()
    time.sleep(0.3)
    hearing.recognizer.gate.set()
    (final,) = hearing.finals()
    assert (final.understood.meaning, final.understood.detail) == (Meaning.COMMAND, "")


def test_what_waits_for_a_slow_recogniser_is_bounded(hearing: Hearing) -> None:
    """Blocks without sound, texts and sound of an impossible rate needed memory without bound."""
    hearing.recognizer.gate.clear()
    hearing.send(0.5, 0.5, PUSH_TO_TALK)
    hearing.release()
    for rate in (0, 4_000_000_000):
        for _ in range(1000):
            hearing.thread.add(Block("ben", "audio", PUSH_TO_TALK, np.zeros(RATE, np.float32), rate, 0))
    assert sum(one.samples.nbytes for one in hearing.thread._waiting if isinstance(one, Block)) < 50_000_000
    for _ in range(20_000):
        hearing.thread.add(Block("ann", "audio", PUSH_TO_TALK, NO_SOUND, RATE, 0))
        hearing.thread.add(Text("ann", Recognition("stop"), 0))
        hearing.thread.add_phrases("ann", ["the mug"])
    assert len(hearing.thread._waiting) <= 4000
