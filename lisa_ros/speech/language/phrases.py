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
_POLITE = {"please", "now", "robot", "ok", "okay"}
_LEAST_LIKE = 0.8
_FARTHEST_WAKE = 0.2
"""Nearer than "the robot" (0.25) and "hey Robert" (0.21) are to "hey robot", farther than "hey robots" (0.16)."""


def control(text: str) -> Meaning | None:
    """STOP, RESET, YES or NO, where the whole text says that; else None. "stop" may be repeated."""
    words = [word for word in words_of(text) if word not in _POLITE] or words_of(text)
    # "stop stop stop" is said in a hurry.
    words = [word for i, word in enumerate(words) if i == 0 or word != words[i - 1]]
    said = " ".join(words)
    for meaning, phrases in _CONTROLS.items():
        if said in phrases:
            return meaning
        long_enough = [phrase for phrase in phrases if len(phrase) >= 5]
        if any(OSA.normalized_similarity(said, phrase) >= _LEAST_LIKE for phrase in long_enough):
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
        """What follows the phrase; "" where nothing does, None where the text does not begin with it."""
        distance, count = self._nearest(words_of(text))
        if distance > _FARTHEST_WAKE:
            return None
        spans = [match.span() for match in re.finditer(r"[^\W_]+(?:['\u2019][^\W_]+)*", text)]
        return text[spans[count - 1][1] :].lstrip(" ,.;:!?-")

    def may_begin(self, text: str) -> bool:
        """Whether the text begins with something that sounds a little like the phrase."""
        return self._nearest(words_of(text))[0] < _NEAR_WAKE

    def _nearest(self, words: list[str]) -> tuple[float, int]:
        """The smallest distance of the first words from the phrase, and how many words these are."""
        best = (math.inf, 0)
        # One word may have been heard as two, or two as one, and an "um" may stand before it.
        for skipped in range(min(2, len(words))):
            for count in range(max(1, len(self._words) - 1), len(self._words) + 2):
                piece = words[skipped : skipped + count]
                if len(piece) == count:
                    distance = float(self._sounds.distances(" ".join(piece))[0])
                    best = min(best, (distance, skipped + count))
        return best
