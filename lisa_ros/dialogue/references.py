# SPDX-License-Identifier: Apache-2.0
"""Which earlier answers a command's words refer to, for models that are shown earlier masks. English alone.

A small rule, on purpose: it knows a few words and looks at no picture. Whoever knows better says the turns outright,
as `references` of a command or as `[REF:2]` in its text; `[REF:none]` keeps the rule from choosing any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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
# Not "the lid that goes with it", where nothing stands between that "it" could mean.
_OWN_IT = re.compile(
    r"\b(?:with|that has|which has|having|has|containing)\b(?! +(?:it|itself|them)\b)"
    r"[^.;!?]*?\b(?:it|its|itself|them)\b"
    r"|(?<=\w )and (?:its|their)\b",  # "the mug and its handle"; a sentence that begins so goes on from the last turn
    re.I,
)
_PAIR = 2


class ReferringError(ValueError):
    """A `[REF:...]` that means no turn; the text is one sentence for the operator."""


@dataclass(frozen=True)
class Referred:
    """What a command says.

    Attributes:
        text: its words, without `[REF:...]`.
        turns: numbers of the turns that they refer to; of `[REF:...]` in the order in which they are named, of words in
            the dialogue's.
        outright: whether a `[REF:...]` says so; else words made the rule think so.
    """

    text: str
    turns: tuple[int, ...] = ()
    outright: bool = False


Refer = Callable[[str, Sequence[int]], Referred]
"""A rule: a command and the numbers of the turns that are kept before it, oldest first -> what it refers to."""


def by_words(command: str, turns: Sequence[int]) -> Referred:
    """The rule: `[REF:...]` where there is one, else ordinals, "that one", "it", "them" and their like.

    Words that would mean a turn that there is not, or not any more, mean none.

    Raises:
        ReferringError: a `[REF:...]` names a turn that there is not, or not any more.
    """
    marked = by_marks(command, turns)
    if marked.outright:
        return marked
    return Referred(marked.text, tuple(sorted(_meant(marked.text, turns))))


def by_marks(command: str, turns: Sequence[int]) -> Referred:
    """As `by_words`, for `[REF:...]` alone."""
    said = [mark.group(1) for mark in _MARK.finditer(command)]
    numbers = dict.fromkeys(int(number) for one in said for number in re.findall(r"\d+", one))
    for number in numbers:
        if number not in turns:
            raise ReferringError(f"The command says [REF:{number}], but {kept_turns(turns)}.")
    return Referred(without_marks(command), tuple(numbers), bool(said))


def kept_turns(turns: Sequence[int]) -> str:
    """Which turns are kept, for a message: "turns 3 to 8 are kept", "no turn is kept"."""
    return f"turns {turns[0]} to {turns[-1]} are kept" if turns else "no turn is kept"


def without_marks(command: str) -> str:
    """A command without its `[REF:...]` and the space that each leaves behind."""
    if not _MARK.search(command):
        return command
    text = re.sub(r"[ \t]{2,}", " ", _MARK.sub(" ", command)).strip()
    return re.sub(r" (?=[.,;:!?])", "", text)


def _meant(text: str, turns: Sequence[int]) -> set[int]:
    if not turns:
        return set()
    found = {_ORDINALS.index(ordinal.group(1).lower()) + 1 for ordinal in _ORDINAL.finditer(text)} & set(turns)
    elsewhere = _OWN_IT.sub(" ", text)
    if _THEM.search(elsewhere):
        found |= set(turns[-_PAIR:])
    if _LAST.search(text) or _IT.search(elsewhere):
        found.add(turns[-1])
    return found
