# SPDX-License-Identifier: Apache-2.0
"""One operator's sound to understood utterances: resampling, voice activity, recognition, correction, meaning."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from lisa_ros.speech.audio.samples import RATE, Resampler, Samples
from lisa_ros.speech.audio.utterances import Utterance, Utterances
from lisa_ros.speech.extra import optional
from lisa_ros.speech.language.understanding import Understanding, Understood
from lisa_ros.speech.recognition.recognizer import Recognition, Recognizer

_SPEEDS = (1.0, 0.91, 1.1)
"""A recogniser reports one text. Played a little slower and faster, the same sound gives it other readings."""

_PART_SHARE = 0.1
"""Recognising parts of an utterance may take this share of the time that it has lasted: a machine that is slow or busy
shows fewer of them, and is free when the utterance ends."""


@dataclass(frozen=True)
class Partial:
    """The text so far of an utterance that is still being spoken.

    Attributes:
        start_ns: time of the utterance's first sample, nanoseconds.
    """

    text: str
    start_ns: int


@dataclass(frozen=True)
class Final:
    """A whole utterance.

    Attributes:
        start_ns: time of the utterance's first sample, nanoseconds.
        samples: its sound, 16 kHz, trimmed.
        ended_hold: a held button counts as released from now on, because of the time for which it is held.
    """

    understood: Understood
    start_ns: int
    samples: Samples
    ended_hold: bool = False


Event = Partial | Final


class Listener:
    """Listens to one operator. Not for several threads at once."""

    def __init__(self, recognizer: Recognizer, utterances: Utterances, understanding: Understanding) -> None:
        """Takes utterances and an understanding of this operator's own; the recogniser may be shared."""
        self._recognizer, self._utterances, self.understanding = recognizer, utterances, understanding
        self._resampler: Resampler | None = None
        self._origin_ns = 0
        self._held = False
        self._due: Utterance | None = None
        self._ahead: _Readings | None = None
        self._spent_s = self._last_s = 0.0

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun."""
        return self._utterances.speaking

    def press(self) -> None:
        """A button is held from now on: all that follows is one command."""
        self._utterances.press()
        self._held = True

    def feed(self, samples: Samples, rate: int, start_ns: int, *, behind: bool = False) -> Iterator[Event]:
        """The next block of sound.

        Args:
            samples: one channel, -1 to 1.
            rate: samples a second.
            start_ns: time of the first sample, nanoseconds.
            behind: more sound waits already; only whole utterances are recognised, parts of them when none waits.

        Raises:
            SpeechError: the sound cannot be used, or the recogniser failed.
        """
        if self._resampler is None or self._resampler.rate != rate:
            self._resampler = Resampler(rate)
        resampled = self._resampler.resample(samples)
        self._origin_ns = start_ns - round(self._utterances.received * 1e9 / RATE)
        for utterance in self._utterances.feed(resampled):
            if utterance.state == "final":
                yield self._final(utterance)
            else:
                self._due = utterance
        if not behind:
            yield from self._part()

    def release(self) -> Iterator[Event]:
        """The button is released, or the sound ends: what was said is understood at once."""
        utterance = self._utterances.release()
        try:
            if utterance is not None:
                yield self._final(utterance)
        finally:  # also where the recogniser failed: what is said from now on is not said while a button is held
            self._forget()
            self._held = False

    def drop(self) -> None:
        """Forgets the utterance that has begun."""
        self._utterances.drop()
        self._forget()
        self._held = False

    def _final(self, utterance: Utterance) -> Final:
        readings = self._ahead
        if readings is None or not readings.are_of(utterance):
            readings = _Readings(self._recognizer, utterance)
        try:
            understood = self.understanding.understand(iter(readings), held=self._held)
        finally:
            self._forget()
        return Final(understood, self._start_ns(utterance), utterance.samples)

    def _part(self) -> Iterator[Partial]:
        """Recognises the part of an utterance that was offered last, where there is time for it."""
        due, self._due = self._due, None
        began_s = time.perf_counter()
        if due is None:
            if self._ahead is not None and self._utterances.pausing:
                self._read_on(self._ahead)
            return
        if due.state == "partial" and self._spent_s + self._last_s > _PART_SHARE * len(due.samples) / RATE:
            return
        readings = _Readings(self._recognizer, due)
        text = next(iter(readings)).text
        if due.state == "ending":
            # Silence adds nothing: should it last, this is the text.
            self._ahead = readings
        self._last_s = time.perf_counter() - began_s
        self._spent_s += self._last_s
        # What people say to each other is not reported.
        if self.understanding.is_addressed(text, held=self._held):
            yield Partial(text, self._start_ns(due))

    def _read_on(self, readings: _Readings) -> None:
        """While the silence at the end lasts: one more reading, where those so far do not do."""
        if self.understanding.wants_another(readings.made, held=self._held):
            readings.make_another()

    def _forget(self) -> None:
        self._due = self._ahead = None
        self._spent_s = 0.0

    def _start_ns(self, utterance: Utterance) -> int:
        return self._origin_ns + round(utterance.start * 1e9 / RATE)


class _Readings:
    """The recogniser's texts of one sound; each is made once, when it is asked for."""

    def __init__(self, recognizer: Recognizer, utterance: Utterance) -> None:
        self._recognizer, self._utterance = recognizer, utterance
        self.made: list[Recognition] = []

    def __iter__(self) -> Iterator[Recognition]:
        for i in range(len(_SPEEDS)):
            if i == len(self.made):
                self.make_another()
            yield self.made[i]

    def make_another(self) -> None:
        """Recognises the sound at the next speed, where there is one."""
        if len(self.made) < len(_SPEEDS):
            sound = at_speed(self._utterance.samples, _SPEEDS[len(self.made)])
            self.made.append(self._recognizer.recognize(sound))

    def are_of(self, utterance: Utterance) -> bool:
        """Whether they are of this utterance's sound."""
        mine = self._utterance
        return (mine.start, len(mine.samples)) == (utterance.start, len(utterance.samples))


def at_speed(samples: Samples, speed: float) -> Samples:
    """The sound played faster (above 1) or slower, its pitch with it."""
    if speed == 1.0:
        return samples
    resampled: Samples = optional("soxr").resample(samples, RATE * speed, RATE)
    return resampled
