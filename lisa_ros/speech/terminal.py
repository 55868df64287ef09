# SPDX-License-Identifier: Apache-2.0
"""Listening in a terminal: a level meter, the text as it comes, or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time

from lisa_ros.speech.audio.backlog import Backlog, Dropped
from lisa_ros.speech.audio.microphone import Microphone, device_list
from lisa_ros.speech.audio.samples import RATE, Samples, level_db, read_wav
from lisa_ros.speech.audio.utterances import Utterances
from lisa_ros.speech.audio.voice_activity import SileroActivity
from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.understanding import Understanding
from lisa_ros.speech.language.vocabulary import VocabularyError, model_vocabulary, read_vocabulary
from lisa_ros.speech.listener import Final, Listener, Partial
from lisa_ros.speech.options import ALWAYS, WAKE_PHRASE, Rules
from lisa_ros.speech.recognition.loading import load_recognizer

_BLOCK = RATE // 20
_METER_WIDTH = 20
_QUIETEST_DB = -60.0
_SHOWN_LETTERS = 90


def listen(options: argparse.Namespace) -> int:
    """Runs `lisa listen` with its parsed options; returns the exit status.

    Raises:
        SpeechError: a package, the model, the file or the vocabulary cannot be used.
    """
    if options.device == "list":
        print("\n".join(device_list()) or "This machine has no microphone.")
        return 0
    # A wrong file is reported before the model is loaded.
    samples = None if options.wav is None else read_wav(options.wav)
    show = _Json() if options.json else _Lines(sys.stdout.isatty())
    listener = _listener(options)
    if samples is not None:
        return _from_wav(samples, listener, show)
    return _from_microphone(options.device, listener, show)


def _listener(options: argparse.Namespace) -> Listener:
    vocabulary = model_vocabulary(options.checkpoint)
    for file in options.vocabulary or ():
        vocabulary |= read_vocabulary(file)
    rules = Rules(WAKE_PHRASE if options.wake_phrase else ALWAYS, options.wake_phrase)
    try:
        understanding = Understanding(rules, Corrector(vocabulary))
    except ValueError as error:
        raise VocabularyError(str(error)) from error
    recognizer = load_recognizer(options.asr_model, options.asr_language, options.asr_device)
    return Listener(recognizer, Utterances(SileroActivity()), understanding)


def _from_wav(samples: Samples, listener: Listener, show: _Lines) -> int:
    said = False
    for start in range(0, len(samples), _BLOCK):
        for event in listener.feed(samples[start : start + _BLOCK], RATE, round(start * 1e9 / RATE)):
            said |= isinstance(event, Final)
            show.event(event)
    for event in listener.release():
        said |= isinstance(event, Final)
        show.event(event)
    if not said:
        print("lisa: nobody speaks in this file", file=sys.stderr)
    return 0 if said else 1


def _from_microphone(device: str, listener: Listener, show: _Lines) -> int:
    backlog = Backlog()
    microphone = Microphone(device, backlog.add, backlog.say)
    try:
        while True:
            item = backlog.take()
            if isinstance(item, str):
                show.trouble(item)
            elif isinstance(item, Dropped):
                listener.drop()  # what was begun before the gap does not go on behind it
                show.trouble(f"The recogniser is too slow: {item.seconds:.0f} s of sound were dropped.")
            else:
                show.level(item.samples, speaking=listener.speaking)
                for event in listener.feed(item.samples, item.rate, item.start_ns, behind=bool(backlog)):
                    show.event(event)
    finally:
        microphone.close()
        show.end()


class _Lines:
    """For people: one line that changes with the level and the text so far, and a line for each utterance."""

    def __init__(self, is_terminal: bool) -> None:
        """Only a terminal gets the changing line."""
        self._is_terminal = is_terminal
        self._text = ""
        self._shown_s = 0.0

    def level(self, samples: Samples, *, speaking: bool) -> None:
        """A block's level; shown ten times a second."""
        if not self._is_terminal or time.monotonic() - self._shown_s < 0.1:
            return
        self._shown_s = time.monotonic()
        share = max(0.0, 1.0 - level_db(samples) / _QUIETEST_DB)
        bar = "#" * round(share * _METER_WIDTH)
        print(f"\r\x1b[K[{bar:<{_METER_WIDTH}}] {'*' if speaking else ' '} {self._text}", end="", flush=True)

    def event(self, event: Partial | Final) -> None:
        """A text."""
        if isinstance(event, Partial):
            self._text = event.text[-_SHOWN_LETTERS:]
            return
        self._text = ""
        understood = event.understood
        text = understood.used or understood.heard
        heard = f" (heard: {understood.heard})" if understood.used and understood.used != understood.heard else ""
        self._line(
            f"{understood.meaning.value} {understood.confidence:.2f}: {text}{heard} {understood.detail}".rstrip()
        )

    def trouble(self, sentence: str) -> None:
        """What is wrong with the microphone; "": nothing any more."""
        self._line(sentence or "The microphone records.")

    def end(self) -> None:
        """Leaves the changing line."""
        if self._is_terminal:
            print()

    def _line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._is_terminal else text, flush=True)


class _Json(_Lines):
    """For programs: a line of JSON for each utterance."""

    def __init__(self) -> None:
        """Shows no level."""
        super().__init__(is_terminal=False)

    def event(self, event: Partial | Final) -> None:
        """See _Lines."""
        if isinstance(event, Final):
            one = event.understood
            described = {
                "heard": one.heard,
                "used": one.used,
                "confidence": round(one.confidence, 3),
                "meaning": one.meaning.value,
                "start_s": round(event.start_ns / 1e9, 3),
                "detail": one.detail,
            }
            print(json.dumps(described), flush=True)

    def trouble(self, sentence: str) -> None:
        """Goes to standard error."""
        if sentence:
            print(f"lisa: {sentence}", file=sys.stderr, flush=True)
