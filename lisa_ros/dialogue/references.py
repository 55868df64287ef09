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
        turns: what they refer to: places among the turns that are kept, counted from 1; of `[REF:...]` in the order in
            which they are named, of words in the dialogue's.
        outright: whether a `[REF:...]` says so; else words made the rule think so.
    """

    text: str
    turns: tuple[int, ...] = ()
    outright: bool = False


Refer = Callable[[str, int, int], Referred]
"""A rule: a command, how many turns are kept before it, and the number that the first of them has in its dialogue,
where numbers count from 1 since the dialogue began -> what it says."""


def by_words(command: str, turns: int, first: int = 1) -> Referred:
    """The rule: `[REF:...]` where there is one, else ordinals, "that one", "it", "them" and their like.

    Words that would mean a turn that there is not, or not any more, mean none.

    Raises:
        ReferringError: a `[REF:...]` names a turn that there is not, or not any more.
    """
    marked = by_marks(command, turns, first)
    if marked.outright:
        return marked
    return Referred(marked.text, tuple(sorted(_meant(marked.text, turns, first))))


def by_marks(command: str, turns: int, first: int = 1) -> Referred:
    """As `by_words`, for `[REF:...]` alone."""
    said = [mark.group(1) for mark in _MARK.finditer(command)]
    numbers = dict.fromkeys(int(number) for one in said for number in re.findall(r"\d+", one))
    for number in numbers:
        if not first <= number < first + turns:
            raise ReferringError(f"The command says [REF:{number}], but {there_are(turns, first)} there to refer to.")
    return Referred(without_marks(command), tuple(number - first + 1 for number in numbers), bool(said))


def there_are(turns: int, first: int) -> str:
    """The turns that are kept, for a message: "turns 3 to 8 are", "no turn is"."""
    return f"turns {first} to {first + turns - 1} are" if turns else "no turn is"


def without_marks(command: str) -> str:
    """A command without its `[REF:...]` and the space that each leaves behind."""
    if not _MARK.search(command):
        return command
    text = re.sub(r"[ \t]{2,}", " ", _MARK.sub(" ", command)).strip()
    return re.sub(r" (?=[.,;:!?])", "", text)


def _meant(text: str, turns: int, first: int) -> set[int]:
    if not turns:
        return set()
    found = {_ORDINALS.index(ordinal.group(1).lower()) + 2 - first for ordinal in _ORDINAL.finditer(text)}
    found = {place for place in found if 1 <= place <= turns}
    elsewhere = _OWN_IT.sub(" ", text)
    if _THEM.search(elsewhere):
        found |= set(range(max(1, turns - _PAIR + 1), turns + 1))
    if _LAST.search(text) or _IT.search(elsewhere):
        found.add(turns)
    return found
