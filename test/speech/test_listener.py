# SPDX-License-Identifier: Apache-2.0
"""Sound of many kinds to understood utterances, with the built-in recogniser; and when parts are recognised."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from spoken import said

from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.audio.utterances import Utterances
from lisa_ros.speech.audio.voice_activity import SileroActivity
from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.phrases import Meaning
from lisa_ros.speech.language.understanding import Understanding, Understood
from lisa_ros.speech.language.vocabulary import Vocabulary, model_vocabulary
from lisa_ros.speech.listener import Event, Final, Listener, Partial
from lisa_ros.speech.options import ALWAYS, PUSH_TO_TALK, Rules
from lisa_ros.speech.recognition.loading import load_recognizer
from lisa_ros.speech.recognition.recognizer import Recognition, Recognizer

_BLOCK = RATE // 20
COMMAND = "Where is the yellow ring?"


class Counting:
    """A recogniser that hears the same words in every sound, and counts its calls."""

    name = "counting"

    def __init__(self, text: str = COMMAND) -> None:
        self.text, self.calls = text, 0

    def recognize(self, samples: Samples) -> Recognition:
        self.calls += 1
        return Recognition(self.text)

    def close(self) -> None:
        pass


class Loudness:
    """A voice activity that takes every loud window for speech."""

    def probability(self, window: Samples) -> float:
        return float(np.abs(window).max() > 0.1)

    def reset(self) -> None:
        pass


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    loaded = load_recognizer()
    yield loaded
    loaded.close()


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def listening(recognizer: Recognizer, rules: Rules) -> Listener:
    understanding = Understanding(rules, Corrector(model_vocabulary(embedded_checkpoint())))
    return Listener(recognizer, Utterances(SileroActivity()), understanding)


def understood(recognizer: Recognizer, sound: Samples, rules: Rules | None = None) -> list[Understood]:
    """What an open microphone understands; silence before and after."""
    listener = listening(recognizer, rules or Rules(listen=ALWAYS))
    whole = np.concatenate([silence(0.5), sound, silence(1.0)])
    blocks = (listener.feed(whole[i : i + _BLOCK], RATE, 0) for i in range(0, len(whole), _BLOCK))
    return [event.understood for event in itertools.chain(*blocks) if isinstance(event, Final)]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("clipped", lambda sound: np.clip(20 * sound, -1, 1)),
        ("with a constant offset", lambda sound: sound * 0.5 + 0.3),
        ("very quiet", lambda sound: sound * 0.02),
    ],
)
def test_bad_sound_is_understood(recognizer: Recognizer, kind: str, change: object) -> None:
    (heard,) = understood(recognizer, change(said(COMMAND, "slt")))  # type: ignore[operator]
    assert (heard.meaning, heard.used) == (Meaning.COMMAND, COMMAND), kind


def test_two_commands_with_a_short_pause_are_two(recognizer: Recognizer) -> None:
    sound = np.concatenate([said(COMMAND, "slt"), silence(0.7), said("Show me the red cube.", "slt")])
    assert [one.used for one in understood(recognizer, sound)] == [COMMAND, "Show me the red cube."]


@pytest.mark.parametrize("voice", ["slt", "rms"])
def test_a_wake_phrase_alone_and_the_command_after_it(recognizer: Recognizer, voice: str) -> None:
    """Alone it is heard as "Aye, robot." and "He rode butt."; played at another speed it is understood."""
    sound = np.concatenate([said("Hey robot.", voice), silence(1.0), said(COMMAND, voice)])
    first, second = understood(recognizer, sound, Rules())
    assert first.meaning is Meaning.WAKE
    assert (second.meaning, second.used) == (Meaning.COMMAND, COMMAND)


def test_names_like_the_wake_phrase_do_not_wake(recognizer: Recognizer) -> None:
    sound = np.concatenate(
        [np.concatenate([said(name, "slt"), silence(1.0)]) for name in ("Hey Robert.", "The robot.")]
    )
    assert {one.meaning for one in understood(recognizer, sound, Rules())} == {Meaning.IGNORED}


def test_a_wake_phrase_may_be_split_by_pauses(recognizer: Recognizer) -> None:
    for parts in (["Hey robot.", COMMAND], ["Hey", "robot,", COMMAND]):
        pauses = [silence(0.3 if len(parts) == 2 else 0.2)] * len(parts)
        sound = np.concatenate(
            [part for pair in zip((said(one, "slt") for one in parts), pauses, strict=True) for part in pair]
        )
        (woken,) = understood(recognizer, sound, Rules())
        assert (woken.meaning, woken.used.lower()) == (Meaning.COMMAND, COMMAND.lower())


def fed(listener: Listener, sound: Samples, *, behind: bool = False) -> list[Event]:
    blocks = (sound[i : i + _BLOCK] for i in range(0, len(sound), _BLOCK))
    return [event for block in blocks for event in listener.feed(block, RATE, 0, behind=behind)]


def counted(recognizer: Counting, vocabulary: Vocabulary | None = None) -> Listener:
    known = vocabulary or Vocabulary()
    return Listener(recognizer, Utterances(Loudness()), Understanding(Rules(listen=ALWAYS), Corrector(known)))


def test_nothing_but_the_whole_is_recognised_while_sound_waits() -> None:
    recognizer = Counting()
    listener = counted(recognizer)
    sound = np.full(4 * RATE, 0.5, np.float32)
    events = fed(listener, np.concatenate([sound, silence(1.0)]), behind=True)
    assert [type(event) for event in events] == [Final]
    assert recognizer.calls == 1
    assert any(isinstance(event, Partial) for event in fed(listener, sound))


def test_the_text_is_there_before_the_silence_has_ended_the_utterance() -> None:
    recognizer = Counting("where is the ringg")
    words = Vocabulary.of_phrases(["where is the yellow bottle"], closed=True)
    listener = counted(recognizer, words)
    fed(listener, np.concatenate([np.full(RATE // 2, 0.5, np.float32), silence(0.5)]))
    # The text does not fit the vocabulary: all three readings were made meanwhile.
    assert recognizer.calls == 3
    (final,) = fed(listener, silence(0.3))
    assert isinstance(final, Final)
    assert recognizer.calls == 3


def test_a_slow_recogniser_gets_few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def later(samples: Samples) -> Recognition:
        nonlocal now_s
        recognizer.calls += 1
        now_s += cost_s
        return Recognition(COMMAND)

    monkeypatch.setattr("lisa_ros.speech.listener.time.perf_counter", lambda: now_s)
    recognizer = Counting()
    monkeypatch.setattr(recognizer, "recognize", later)
    parts = {}
    for cost_s in (0.05, 1.0):
        listener = counted(recognizer)
        parts[cost_s] = sum(isinstance(event, Partial) for event in fed(listener, np.full(9 * RATE, 0.5, np.float32)))
    # 15 % of nine seconds.
    assert 15 <= parts[0.05] <= 27
    assert parts[1.0] == 1


class Failing(Counting):
    """A recogniser that is out of order."""

    def recognize(self, samples: Samples) -> Recognition:
        self.calls += 1
        raise SpeechError("out of order")


def test_an_utterance_that_cannot_be_recognised_is_given_up() -> None:
    """It was kept with all sound after it, and recognised again with each window."""
    recognizer = Failing()
    listener = counted(recognizer)
    fed(listener, np.full(RATE, 0.5, np.float32), behind=True)
    with pytest.raises(SpeechError):
        fed(listener, silence(1.0), behind=True)
    fed(listener, silence(3.0), behind=True)
    assert recognizer.calls == 1 and len(listener._utterances._windows) * 512 < RATE


def test_a_button_is_released_also_where_the_recogniser_fails() -> None:
    """All that was said after it counted as said while it was held, and needed no wake phrase."""
    known = Understanding(Rules(listen=PUSH_TO_TALK), Corrector(Vocabulary()))
    listener = Listener(Failing(), Utterances(Loudness()), known)
    listener.press()
    fed(listener, np.full(RATE, 0.5, np.float32), behind=True)
    with pytest.raises(SpeechError):
        list(listener.release())
    listener._recognizer = Counting()
    (final,) = fed(listener, np.concatenate([np.full(RATE, 0.5, np.float32), silence(1.0)]), behind=True)
    assert isinstance(final, Final) and final.understood.meaning is Meaning.IGNORED
