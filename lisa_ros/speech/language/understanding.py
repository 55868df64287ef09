# SPDX-License-Identifier: Apache-2.0
"""From what was heard in one utterance to what it means: a command, a control phrase, an answer to our question."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lisa_ros.speech.language.correction import Correction, Corrector
from lisa_ros.speech.language.phrases import Meaning, WakePhrase, control
from lisa_ros.speech.options import ALWAYS, WAKE_PHRASE, Rules
from lisa_ros.speech.recognition.recognizer import Recognition

_WAKE_S = 8.0
_QUESTION_S = 15.0
_SURE = 0.95
"""Confidence from which no further reading is asked for: over 192 spoken commands a higher one found no more."""


@dataclass(frozen=True)
class Understood:
    """One utterance, understood.

    Attributes:
        heard: the recogniser's text.
        used: the corrected text, without the wake phrase.
        confidence: 0 to 1.
        detail: one sentence: the question to the operator, or why the utterance is ignored.
    """

    meaning: Meaning
    heard: str
    used: str = ""
    confidence: float = 0.0
    detail: str = ""


class Understanding:
    """Understands one operator's utterances, one after the other."""

    def __init__(self, rules: Rules, corrector: Corrector, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the rules.

        Args:
            rules: how utterances become commands.
            corrector: of the operator's vocabulary; may be replaced by another one later.
            clock: monotonic seconds.

        Raises:
            ValueError: the wake phrase is needed and has no word.
        """
        self.corrector = corrector
        self._rules, self._clock = rules, clock
        self._wake = WakePhrase(rules.wake_phrase) if rules.listen == WAKE_PHRASE else None
        self._awake_until_s = 0.0
        self._asked: Understood | None = None
        self._asked_until_s = 0.0

    def understand(self, readings: Iterator[Recognition], *, held: bool) -> Understood:
        """What an utterance means.

        Args:
            readings: of its sound; further ones are taken only where the first does not fit a closed vocabulary, or
                nearly begins with the wake phrase.
            held: said while a button was held.
        """
        first = next(readings)
        meant = control(first.text)
        if meant is Meaning.STOP:
            # Also without the wake phrase: stopping does no harm.
            return self._close_question(Understood(Meaning.STOP, first.text, first.text, _confidence(first)))
        if self._question_is_open() and meant in (Meaning.YES, Meaning.NO):
            return self._confirmed(first, meant)
        text = first.text if held else self._addressed(first.text)
        if text is None and self._may_be_addressed(first.text):
            first, text = self._read_again(first, readings)
        if not text.strip() if text is not None else True:
            return self._not_a_command(first, text)
        assert text is not None
        if (meant := control(text)) is not None:
            return self._controlled(meant, first, text)
        return self._command(first, text, readings, held)

    def is_addressed(self, text: str, *, held: bool) -> bool:
        """Whether a text, perhaps not complete, is for the robot."""
        return held or self._question_is_open() or self._addressed(text) is not None

    def _question_is_open(self) -> bool:
        return self._asked is not None and self._clock() < self._asked_until_s

    def _addressed(self, text: str) -> str | None:
        """The part of the text that is for the robot; None: none is."""
        if self._rules.listen == ALWAYS:
            return text
        if self._wake is None:
            return None
        rest = self._wake.after(text)
        return text if rest is None and self._clock() < self._awake_until_s else rest

    def _may_be_addressed(self, text: str) -> bool:
        """Whether the wake phrase may have been misheard at the text's begin."""
        return self._wake is not None and self._wake.may_begin(text)

    def _read_again(self, first: Recognition, readings: Iterator[Recognition]) -> tuple[Recognition, str | None]:
        """The first further reading that begins with the wake phrase, and what follows it; else `first` and None."""
        for another in readings:
            if (text := self._addressed(another.text)) is not None:
                return another, text
        return first, None

    def _not_a_command(self, first: Recognition, text: str | None) -> Understood:
        if text is None and first.text:
            why = "It does not begin with the wake phrase." if self._wake else "No button was held while it was said."
            return Understood(Meaning.IGNORED, first.text, detail=why)
        if not first.text:
            return Understood(Meaning.IGNORED, "", detail="No words were heard.")
        self._awake_until_s = self._clock() + _WAKE_S
        return Understood(Meaning.WAKE, first.text, detail="Yes?")

    def _controlled(self, meant: Meaning, first: Recognition, text: str) -> Understood:
        if meant in (Meaning.YES, Meaning.NO):
            return Understood(Meaning.IGNORED, first.text, text, detail="No question was asked.")
        return self._close_question(Understood(meant, first.text, text, _confidence(first)))

    def _confirmed(self, first: Recognition, meant: Meaning) -> Understood:
        asked = self._asked
        assert asked is not None
        self._close_question(asked)
        if meant is Meaning.NO:
            self._awake_until_s = self._clock() + _QUESTION_S
            return Understood(Meaning.NO, first.text, detail="Please say it again.")
        return replace(asked, meaning=Meaning.COMMAND, confidence=1.0, detail="")

    def _command(self, first: Recognition, text: str, readings: Iterator[Recognition], held: bool) -> Understood:
        correction = self._corrected(text, readings, held)
        confidence = correction.confidence * (1.0 if first.confidence is None else first.confidence)
        understood = Understood(Meaning.COMMAND, correction.heard, correction.text, confidence)
        self._close_question(understood)
        if confidence >= self._rules.confirm_below:
            return understood
        # Instead of "no", the command itself may follow.
        self._asked = understood
        self._asked_until_s = self._awake_until_s = self._clock() + _QUESTION_S
        return replace(understood, meaning=Meaning.UNSURE, detail=_question(correction.text))

    def wants_another(self, made: Sequence[Recognition], *, held: bool) -> bool:
        """Whether a further reading of the sound would be asked for, after those that are made."""
        parts = [part for one in made if (part := one.text if held else self._addressed(one.text)) and part.strip()]
        if control(made[0].text) is not None or (parts and control(parts[0]) is not None):
            return False
        if not parts:
            return not held and self._may_be_addressed(made[0].text)
        return self.corrector.closed and max(self.corrector.correct(part).confidence for part in parts) < _SURE

    def _corrected(self, text: str, readings: Iterator[Recognition], held: bool) -> Correction:
        best = self.corrector.correct(text)
        while self.corrector.closed and best.confidence < _SURE:
            another = next(readings, None)
            if another is None:
                break
            part = another.text if held else self._addressed(another.text)
            if part and part.strip():
                best = max(best, self.corrector.correct(part), key=lambda correction: correction.confidence)
        return best

    def _close_question(self, understood: Understood) -> Understood:
        """Closes the open question and ends the wait for a command after the wake phrase."""
        self._asked, self._awake_until_s = None, 0.0
        return understood


def _confidence(recognition: Recognition) -> float:
    return 1.0 if recognition.confidence is None else recognition.confidence


def _question(text: str) -> str:
    plain = text.strip().rstrip(".?!")
    return f"Did you say: {plain}?"
