# SPDX-License-Identifier: Apache-2.0
"""Which earlier turns a command refers to, for models that take earlier masks as input. English only.

A small rule, on purpose: it knows a few words and does not see the image. Those who know better name the turns
explicitly, in `references` of a command or as `[REF:2]` in its text; with `[REF:none]` the rule chooses none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lisa_ros.segmentation.errors import LisaError

_MARK = re.compile(r"\[REF:\s*(none|\d+(?:\s*,\s*\d+)*)\s*\]", re.IGNORECASE)

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NOUN = r"(?:one|object|thing|item|mask|answer|result|round|turn|segment(?:ation)?)"
_END = r"(?= *(?:[.,;:!?]|$))"
# "the first one from the left" counts objects in the image.
_COUNTED = r"(?! (?:from|on|in|at|to|of) (?:the )?(?:left|right|top|bottom|row))"
_ORDINAL = re.compile(rf"\bthe ({'|'.join(_ORDINALS)})(?: {_NOUN}\b{_COUNTED}|{_END})", re.IGNORECASE)
_LAST = re.compile(
    rf"\b(?:the (?:last|previous|latest|same)(?: {_NOUN}\b{_COUNTED}|{_END})"
    rf"|{_NOUN} (?:from )?before{_END}|(?:that|this) {_NOUN}\b|(?:that|this){_END}"
    r"|you (?:have )?(?:just )?(?:found|marked|showed|segmented)\b)",
    re.IGNORECASE,
)
_IT = re.compile(r"\b(?:it|its|itself)\b", re.IGNORECASE)
_THEM = re.compile(rf"\b(?:them|both|(?:these|those)(?: two)?(?: {_NOUN}s)?{_END})", re.IGNORECASE)
# "the cup with a spoon in it": "it" refers to something in the same sentence.
# Not "the lid that goes with it", where nothing comes between that "it" could refer to.
_SAME_SENTENCE_IT = re.compile(
    r"\b(?:with|that has|which has|having|has|containing)\b(?! +(?:it|itself|them)\b)"
    r"[^.;!?]*?\b(?:it|its|itself|them)\b"
    r"|(?<=\w )and (?:its|their)\b",  # "the mug and its handle"; but "And its handle?" continues the last turn
    re.I,
)
_PAIR = 2


class ReferringError(LisaError):
    """A `[REF:...]` that names no turn; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Referred:
    """A command and what it refers to.

    Attributes:
        text: the command without `[REF:...]`.
        turns: numbers of the turns that it refers to; those of `[REF:...]` in their order there, others ascending.
        explicit: whether a `[REF:...]` names them; else the rule has inferred them from the text.
    """

    text: str
    turns: tuple[int, ...] = ()
    explicit: bool = False


Refer = Callable[[str, Sequence[int]], Referred]
"""A rule: a command and the numbers of the turns that are kept before it, oldest first -> what it refers to."""


def from_text(command: str, turns: Sequence[int]) -> Referred:
    """The rule: `[REF:...]` if there is one, else ordinals, "that one", "it", "them" and similar words.

    Words that would refer to a turn that does not exist, or is no longer kept, refer to nothing.

    Raises:
        ReferringError: A `[REF:...]` names a turn that does not exist, or is no longer kept.
    """
    marked = from_marks(command, turns)
    if marked.explicit:
        return marked
    return Referred(marked.text, tuple(sorted(_inferred(marked.text, turns))))


def from_marks(command: str, turns: Sequence[int]) -> Referred:
    """As `from_text`, for `[REF:...]` alone."""
    marks = [mark.group(1) for mark in _MARK.finditer(command)]
    numbers = dict.fromkeys(int(number) for mark in marks for number in re.findall(r"\d+", mark))
    for number in numbers:
        if number not in turns:
            raise ReferringError(f"The command says [REF:{number}], but {kept_turns(turns)}.")
    return Referred(without_marks(command), tuple(numbers), bool(marks))


def kept_turns(turns: Sequence[int]) -> str:
    """Which turns are kept, for a message: "turns 3 to 8 are kept", "no turn is kept"."""
    return f"turns {turns[0]} to {turns[-1]} are kept" if turns else "no turn is kept"


def without_marks(command: str) -> str:
    """A command without its `[REF:...]` and the spaces that they leave behind."""
    if not _MARK.search(command):
        return command
    text = re.sub(r"[ \t]{2,}", " ", _MARK.sub(" ", command)).strip()
    return re.sub(r" (?=[.,;:!?])", "", text)


def _inferred(text: str, turns: Sequence[int]) -> set[int]:
    if not turns:
        return set()
    found = {_ORDINALS.index(ordinal.group(1).lower()) + 1 for ordinal in _ORDINAL.finditer(text)} & set(turns)
    remaining = _SAME_SENTENCE_IT.sub(" ", text)
    if _THEM.search(remaining):
        found |= set(turns[-_PAIR:])
    if _LAST.search(text) or _IT.search(remaining):
        found.add(turns[-1])
    return found
