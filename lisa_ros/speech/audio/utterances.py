# SPDX-License-Identifier: Apache-2.0
"""A stream of sound cut into utterances: their begin, their end, and silence trimmed on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lisa_ros.speech.audio.samples import RATE, Samples
from lisa_ros.speech.audio.voice_activity import WINDOW, VoiceActivity

_MARGIN = round(0.2 * RATE)
"""Samples kept before the first and after the last window with speech. More leading silence makes Moonshine hear a
"you" at the start, and less cuts soft consonants off."""

_PARTIAL, _PARTIAL_STEP = RATE, RATE // 2
"""Samples of speech after which the part so far is offered, first and again."""

_ADVANCE = round(0.24 * RATE)
"""Silence after which an utterance is offered as probably complete, so that it can be recognised before it ends."""


@dataclass(frozen=True)
class Timing:
    """When an utterance begins and ends.

    Attributes:
        begin: probability of speech from which an utterance begins.
        silence: probability below which a window counts as silence.
        end_silence_s: silence that ends an utterance, seconds.
        least_speech_s: utterances with less speech are dropped as noise, seconds.
        longest_s: an utterance is ended at this length, seconds.
    """

    begin: float = 0.5
    silence: float = 0.35
    end_silence_s: float = 0.6
    least_speech_s: float = 0.13
    longest_s: float = 15.0


@dataclass(frozen=True)
class Utterance:
    """Speech of one utterance, or of its part so far.

    Attributes:
        samples: 16 kHz, trimmed.
        start: its first sample, counted from the stream's begin.
        state: "partial" while it is spoken, "ending" where silence has begun, "final".
        forced: ended by its length, not by silence.
    """

    samples: Samples
    start: int
    state: str
    forced: bool = False


class Utterances:
    """Cuts one stream.

    With an open microphone (`feed`), silence ends an utterance. While a button is held (`press`, `feed`, `release`),
    everything is one utterance however long its pauses are.
    """

    def __init__(self, activity: VoiceActivity, timing: Timing | None = None) -> None:
        """Takes a voice activity of this stream's own."""
        self._activity, self._timing = activity, timing or Timing()
        self._held = False
        self._count = self._last = self._speech = 0
        self._next_part = _PARTIAL
        self._offered = False
        self._first: int | None = None
        self._windows: list[Samples] = []
        self._pending: Samples = np.zeros(0, dtype=np.float32)

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun."""
        return self._first is not None

    @property
    def pausing(self) -> bool:
        """Whether an utterance was offered as probably complete, and no speech has come since."""
        return self._offered

    @property
    def received(self) -> int:
        """Samples of the stream so far."""
        return self._count + len(self._pending)

    def press(self) -> None:
        """The button is held from now on; what was being said before it is dropped."""
        self.drop()
        self._held = True

    def release(self) -> Utterance | None:
        """The button is released: the utterance; None where nobody spoke."""
        self._held = True
        if len(self._pending):
            for _ in self._next(np.pad(self._pending, (0, WINDOW - len(self._pending)))):
                pass
            self._pending = self._pending[:0]
        self._held = False
        whole = self._utterance("final") if self._speech * WINDOW >= self._timing.least_speech_s * RATE else None
        self._clear()
        return whole

    def drop(self) -> None:
        """Forgets the utterance that has begun."""
        self._held = False
        self._pending = self._pending[:0]
        self._clear()

    def feed(self, samples: Samples) -> Iterator[Utterance]:
        """The next samples; what has become of the utterance, window by window."""
        self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= WINDOW:
            window, self._pending = self._pending[:WINDOW], self._pending[WINDOW:]
            yield from self._next(window)

    def _next(self, window: Samples) -> Iterator[Utterance]:
        probability = self._activity.probability(window)
        self._windows.append(window)
        self._count += WINDOW
        if probability >= self._timing.begin or (self.speaking and probability >= self._timing.silence):
            self._speech += 1
            self._first = self._count - WINDOW if self._first is None else self._first
            self._last, self._offered = self._count, False
        if self._first is None:
            if not self._held:
                # Only what may belong to the next utterance is kept.
                del self._windows[: -(_MARGIN // WINDOW + 1)]
            elif len(self._windows) * WINDOW > self._timing.longest_s * RATE:
                del self._windows[0]
            return
        yield from self._end_or_part()

    def _end_or_part(self) -> Iterator[Utterance]:
        silence = self._count - self._last
        forced = self._count - (self._first or 0) >= self._timing.longest_s * RATE
        if forced or (not self._held and silence >= self._timing.end_silence_s * RATE):
            is_speech = self._speech * WINDOW >= self._timing.least_speech_s * RATE
            whole = self._utterance("final", forced=forced) if is_speech else None
            self._clear()  # before it is taken: whoever takes it may fail
            if whole is not None:
                yield whole
        elif silence >= _ADVANCE and not self._offered:
            self._offered = True
            yield self._utterance("ending")
        elif silence == 0 and self._count - (self._first or 0) >= self._next_part:
            self._next_part += _PARTIAL_STEP
            yield self._utterance("partial")

    def _utterance(self, state: str, *, forced: bool = False) -> Utterance:
        whole = np.concatenate(self._windows) if self._windows else np.zeros(0, dtype=np.float32)
        begin = self._count - len(whole)
        start = max(begin, (self._first or 0) - _MARGIN)
        end = min(self._count, self._last + _MARGIN)
        return Utterance(whole[start - begin : end - begin], start, state, forced)

    def _clear(self) -> None:
        self._windows, self._first = [], None
        self._last = self._speech = 0
        self._next_part = _PARTIAL
        self._offered = False
        self._activity.reset()
