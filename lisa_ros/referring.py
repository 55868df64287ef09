# SPDX-License-Identifier: Apache-2.0
"""Which earlier answers a command's words refer to, for models that are shown earlier masks. English alone.

A small rule, on purpose: it knows a few words and looks at no picture. Whoever knows better says the turns outright,
as `references` of a command or as `[REF:2]` in its text; `[REF:none]` keeps the rule from choosing any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_MARK = re.compile(r"\[REF:\s*(none|\d+(?:\s*,\s*\d+)*)\s*\]", re.IGNORECASE)

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_THING = r"(?:one|object|thing|item|mask|answer|result|round|turn|segment(?:ation)?)"
_END = r"(?= *(?:[.,;:!?]|$))"
# "the first one from the left" counts things in the picture.
_COUNTED = r"(?! (?:from|on|in|at|to|of) (?:the )?(?:left|right|top|bottom|row))"
_ORDINAL = re.compile(rf"\bthe ({'|'.join(_ORDINALS)})(?: {_THING}\b{_COUNTED}|{_END})", re.IGNORECASE)
_LAST = re.compile(
    rf"\b(?:the (?:last|previous|latest|same)(?: {_THING}\b{_COUNTED}|{_END})"
    rf"|{_THING} (?:from )?before{_END}|(?:that|this) {_THING}\b|(?:that|this){_END}"
    r"|you (?:have )?(?:just )?(?:found|marked|showed|segmented)\b)",
    re.IGNORECASE,
)
_IT = re.compile(r"\b(?:it|its|itself)\b", re.IGNORECASE)
_THEM = re.compile(rf"\b(?:them|both|(?:these|those)(?: two)?(?: {_THING}s)?{_END})", re.IGNORECASE)
# "the cup with a spoon in it": what "it" means stands in the same sentence.
_OWN_IT = re.compile(r"\b(?:with|that has|which has|having|has|containing)\b[^.;!?]*?\b(?:it|its|itself|them)\b", re.I)
_PAIR = 2


class ReferringError(ValueError):
    """A `[REF:...]` that means no turn; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Referred:
    """What a command says.

    Attributes:
        text: its words, without `[REF:...]`.
        turns: what they refer to, counted from 1, in the order of the dialogue.
    """

    text: str
    turns: tuple[int, ...] = ()


Refer = Callable[[str, int], Referred]
"""A rule: a command and how many turns there were before it -> what it says."""


def by_words(command: str, turns: int) -> Referred:
    """The rule: `[REF:...]` where there is one, else ordinals, "that one", "it", "them" and their like.

    Words that would mean a turn that there is not mean none.

    Raises:
        ReferringError: a `[REF:...]` names a turn that there is not.
    """
    marked = by_marks(command, turns)
    if _MARK.search(command):
        return marked
    return Referred(marked.text, tuple(sorted(_meant(marked.text, turns))))


def by_marks(command: str, turns: int) -> Referred:
    """As `by_words`, for `[REF:...]` alone."""
    said = [mark.group(1) for mark in _MARK.finditer(command)]
    numbers = sorted({int(number) for one in said for number in re.findall(r"\d+", one)})
    for number in numbers:
        if not 1 <= number <= turns:
            there = f"turns 1 to {turns} are" if turns else "no turn is"
            raise ReferringError(f"The command says [REF:{number}], but {there} there to refer to.")
    return Referred(without_marks(command), tuple(numbers))


def without_marks(command: str) -> str:
    """A command without its `[REF:...]` and the space that each leaves behind."""
    if not _MARK.search(command):
        return command
    text = re.sub(r"[ \t]{2,}", " ", _MARK.sub(" ", command)).strip()
    return re.sub(r" (?=[.,;:!?])", "", text)


def _meant(text: str, turns: int) -> set[int]:
    if not turns:
        return set()
    found = {_ORDINALS.index(ordinal.group(1).lower()) + 1 for ordinal in _ORDINAL.finditer(text)}
    found = {number for number in found if number <= turns}
    elsewhere = _OWN_IT.sub(" ", text)
    if _THEM.search(elsewhere):
        found |= set(range(max(1, turns - _PAIR + 1), turns + 1))
    if _LAST.search(text) or _IT.search(elsewhere):
        found.add(turns)
    return found
