# SPDX-License-Identifier: Apache-2.0
"""One operator's sound to understood utterances: resampling, voice activity, recognition, correction, meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lisa_ros.speech.audio.samples import RATE, Resampler, Samples
from lisa_ros.speech.audio.utterances import Utterance, Utterances
from lisa_ros.speech.extra import optional
from lisa_ros.speech.language.understanding import Understanding, Understood
from lisa_ros.speech.recognition.recognizer import Recognition, Recognizer

_SPEEDS = (1.0, 0.91, 1.1)
"""A recogniser reports one text. Played a little slower and faster, the same sound gives it other readings."""


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
    """

    understood: Understood
    start_ns: int
    samples: Samples


Event = Partial | Final


class Listener:
    """Listens to one operator. Not for several threads at once."""

    def __init__(self, recognizer: Recognizer, utterances: Utterances, understanding: Understanding) -> None:
        """Takes utterances and an understanding of this operator's own; the recogniser may be shared."""
        self._recognizer, self._utterances, self.understanding = recognizer, utterances, understanding
        self._resampler: Resampler | None = None
        self._origin_ns = 0
        self._held = False
        self._ahead: tuple[int, int, Recognition] | None = None

    @property
    def speaking(self) -> bool:
        """Whether an utterance has begun."""
        return self._utterances.speaking

    def press(self) -> None:
        """A button is held from now on: all that follows is one command."""
        self._utterances.press()
        self._held = True

    def feed(self, samples: Samples, rate: int, start_ns: int) -> Iterator[Event]:
        """The next block of sound.

        Args:
            samples: one channel, -1 to 1.
            rate: samples a second.
            start_ns: time of the first sample, nanoseconds.

        Raises:
            SpeechError: the sound cannot be used, or the recogniser failed.
        """
        if self._resampler is None or self._resampler.rate != rate:
            self._resampler = Resampler(rate)
        resampled = self._resampler.resample(samples)
        self._origin_ns = start_ns - round(self._utterances.received * 1e9 / RATE)
        for utterance in self._utterances.feed(resampled):
            yield from self._heard(utterance)

    def release(self) -> Iterator[Event]:
        """The button is released, or the sound ends: what was said is understood at once."""
        utterance = self._utterances.release()
        if utterance is not None:
            yield from self._heard(utterance)
        self._held = False

    def drop(self) -> None:
        """Forgets the utterance that has begun."""
        self._utterances.drop()
        self._held = False

    def _heard(self, utterance: Utterance) -> Iterator[Event]:
        start_ns = self._origin_ns + round(utterance.start * 1e9 / RATE)
        if utterance.state == "final":
            understood = self.understanding.understand(self._readings(utterance), held=self._held)
            yield Final(understood, start_ns, utterance.samples)
            return
        recognition = self._recognizer.recognize(utterance.samples)
        if utterance.state == "ending":
            # Silence adds nothing: should it last, this is the text.
            self._ahead = (utterance.start, len(utterance.samples), recognition)
        # What people say to each other is nobody's business.
        if self.understanding.is_addressed(recognition.text, held=self._held):
            yield Partial(recognition.text, start_ns)

    def _readings(self, utterance: Utterance) -> Iterator[Recognition]:
        """The recogniser's texts of one utterance, made as they are asked for."""
        if self._ahead is not None and self._ahead[:2] == (utterance.start, len(utterance.samples)):
            yield self._ahead[2]
        else:
            yield self._recognizer.recognize(utterance.samples)
        for speed in _SPEEDS[1:]:
            yield self._recognizer.recognize(at_speed(utterance.samples, speed))


def at_speed(samples: Samples, speed: float) -> Samples:
    """The sound played faster (above 1) or slower, its pitch with it."""
    resampled: Samples = optional("soxr").resample(samples, RATE * speed, RATE)
    return resampled
