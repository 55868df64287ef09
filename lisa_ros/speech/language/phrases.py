# SPDX-License-Identifier: Apache-2.0
"""Utterances that mean more than a command: the wake phrase, stop, start over, yes and no."""

from __future__ import annotations

import enum
import math
import re

from rapidfuzz.distance import OSA

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.speech.language.phonetics import Sounds
from lisa_ros.speech.language.vocabulary import words_of


class Meaning(enum.Enum):
    """What an utterance is for."""

    COMMAND = "command"
    STOP = "stop"
    RESET = "reset"
    YES = "yes"
    NO = "no"
    UNSURE = "unsure"
    IGNORED = "ignored"
    WAKE = "wake"


_CONTROLS: dict[Meaning, tuple[str, ...]] = {
    Meaning.STOP: ("stop", "stop it", "stop that", "cancel", "cancel it", "cancel that", "abort", "never mind"),
    Meaning.RESET: ("forget that", "forget it", "forget everything", "start over", "start again", "reset"),
    Meaning.YES: ("yes", "yeah", "yep", "yes please", "right", "correct", "that is right", "that's right", "i did"),
    Meaning.NO: ("no", "nope", "no thanks", "wrong", "that is wrong", "that's wrong", "i did not", "i didn't"),
}
_BESIDE = {"please", "now", "robot", "ok", "okay", "hey", "oh", "uh", "um", "wait"}
"""Said beside a control phrase without another meaning."""

_LEAST_LIKE = 0.8
_LEAST_LETTERS = 6
"""Of a phrase that may be misspelt: "light" is like "right", "about" like "abort"."""

_LONGEST_PHRASE, _MOST_WORDS = 4, 16
_FARTHEST_WAKE = 0.2
"""Nearer than "the robot" (0.25) and "hey Robert" (0.21) are to "hey robot", farther than "hey robots" (0.16)."""


def control(text: str) -> Meaning | None:
    """STOP, RESET, YES or NO, where the whole text says that; else None.

    Phrases may be repeated, as in a hurry. Of several ("no, stop"), STOP comes before RESET, and both before the rest.
    """
    words = [word for word in words_of(text) if word not in _BESIDE] or words_of(text)
    words = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    said = _said(words) if len(words) <= _MOST_WORDS else None
    for meaning in (Meaning.STOP, Meaning.RESET):
        if said and meaning in said:
            return meaning
    return said.pop() if said and len(said) == 1 else None


def _said(words: list[str]) -> set[Meaning] | None:
    """The meanings of the phrases that the words are made of; None: other words are among them."""
    if not words:
        return set()
    for count in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
        meaning = _phrase(" ".join(words[:count]))
        if meaning is not None and (rest := _said(words[count:])) is not None:
            return {meaning} | rest
    return None


def _phrase(said: str) -> Meaning | None:
    for meaning, phrases in _CONTROLS.items():
        if said in phrases:
            return meaning
    for meaning, phrases in _CONTROLS.items():
        for phrase in phrases:
            may_be = len(phrase) >= _LEAST_LETTERS and said[0] == phrase[0]
            if may_be and OSA.normalized_similarity(said, phrase) >= _LEAST_LIKE:
                return meaning
    return None


_NEAR_WAKE = 0.4
"""Distance below which the phrase may have been said: a further reading of the sound decides. "Hey robot" alone is
heard as "aye, robot" (0.34) or "he rode butt" (0.35)."""


class WakePhrase:
    """Finds a phrase at the begin of an utterance, also where the recogniser wrote it a little differently."""

    def __init__(self, phrase: str) -> None:
        """Takes the phrase, e.g. "hey robot".

        Raises:
            ValueError: it has no word.
        """
        self._words = words_of(phrase)
        if not self._words:
            raise LisaError(f"The wake phrase {phrase!r} has no word.")
        self._phrase = " ".join(self._words)
        self._sounds = Sounds([self._phrase])

    def after(self, text: str) -> str | None:
        """What follows the phrase, or its repetitions; "" where nothing does, None where the text does not begin so."""
        rest = self._after_one(text, 1)
        # "robot, the robot on the left": only what stands first is a repetition.
        while rest is not None and (after := self._after_one(rest, 0)) is not None:
            rest = after
        return rest

    def _after_one(self, text: str, before: int) -> str | None:
        distance, count = self._nearest(words_of(text), before)
        if distance > _FARTHEST_WAKE:
            return None
        spans = [match.span() for match in re.finditer(r"[^\W_]+(?:['\u2019][^\W_]+)*", text)]
        return text[spans[count - 1][1] :].lstrip(" ,.;:!?-")

    def may_begin(self, text: str) -> bool:
        """Whether the text begins with something that sounds a little like the phrase."""
        return self._nearest(words_of(text))[0] < _NEAR_WAKE

    def _nearest(self, words: list[str], before: int = 1) -> tuple[float, int]:
        """The smallest distance of the first words from the phrase, and how many these are; `before` may be no part."""
        best = (math.inf, 0)
        # One word may have been heard as two, or two as one, and an "um" may stand before it.
        for skipped in range(min(before + 1, len(words))):
            for count in range(max(1, len(self._words) - 1), len(self._words) + 2):
                piece = words[skipped : skipped + count]
                if len(piece) == count:
                    distance = float(self._sounds.distances(" ".join(piece))[0])
                    best = min(best, (distance, skipped + count))
        return best
