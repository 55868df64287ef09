# SPDX-License-Identifier: Apache-2.0
"""Text for people: explanations made of raw answers, and one-line details that are safe for terminals and messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_DETAIL = 500
"""Maximum length of a detail, in characters. An exception's text can have 100 kB; an operator reads one sentence."""
MAX_QUOTED = 64
"""Maximum length of a quoted name, in characters."""

_MARKS = re.compile(r"\[SEG\]|<image_id>|</?p>")
"""What is not text in a raw answer: a mask, the local view that LIRA takes of an object, and the ends of a phrase."""
_REPEATED = re.compile(r"<image_id>\s*<p>[^<]*</p>\s*(?=\[SEG\])")
"""What stands before LIRA's second `[SEG]` of the same object."""
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_ANY_NUMBER = rf"(?:[{_CIRCLED}]|\((?:2[1-9]|[3-9]\d)\))"


def number_symbol(number: int) -> str:
    """The symbol of an object's number, counted from 1: "①"; from 21 on "(21)"."""
    return _CIRCLED[number - 1] if 1 <= number <= len(_CIRCLED) else f"({number})"


def number_of(symbol: str) -> int:
    """The number that a symbol of `number_symbol` stands for."""
    return _CIRCLED.index(symbol) + 1 if symbol in _CIRCLED else int(symbol.strip("()"))


def score_text(score: float, calibrated: bool, digits: int = 2) -> str:
    """A mask's score for people: "score 0.96", and "(not calibrated)" after one that is no probability."""
    return f"score {score:.{digits}f}{'' if calibrated else ' (not calibrated)'}"


def explanation_of(answer: str, spans: Iterable[tuple[int, int]] | None = None) -> str:
    """Make a readable explanation of a raw answer: each `[SEG]` becomes the number of its object.

    "[SEG]  . The red cone." becomes "① The red cone.", and "The red [SEG] and the blue [SEG] ." becomes "The red ① and
    the blue ②.". The overlay draws the same numbers at the objects. For speech, see `spoken_explanation`.

    Args:
        answer: The raw answer.
        spans: The spans (`ObjectMask.span`) of the objects, in the order of their numbers. A `[SEG]` of several objects
            gets all their numbers. A `[SEG]` that is no object
            (its mask is empty, or its score too low) is removed. None: each `[SEG]` is an object.

    Returns:
        The explanation; empty if the answer has no text besides its masks.
    """
    if not re.search(r"\w", _MARKS.sub(" ", answer)):
        return ""
    begins = _begins_of(answer) if spans is None else [begin for begin, _ in spans]
    numbers: dict[int, list[str]] = {}
    for number, begin in enumerate(begins, start=1):
        numbers.setdefault(begin, []).append(number_symbol(number))
    return _tidied(_MARKS.sub(lambda mark: f" {' '.join(numbers.get(mark.start(), ()))} ", answer))


def spoken_explanation(explanation: str) -> str:
    """An explanation to be read aloud: "object 1" in place of "①"; a number that only labels a sentence is left out."""
    text = re.sub(rf"(^|[.!?] ){_ANY_NUMBER}(?: {_ANY_NUMBER})* (?=[A-ZÀ-Þ])", r"\1", explanation)
    return re.sub(_ANY_NUMBER, lambda symbol: f"object {number_of(symbol[0])}", text)


def without_surrogates(text: str) -> str:
    """Replace each lone surrogate by "?": UTF-8, and so a message, cannot hold it. All positions stay the same."""
    return text.encode(errors="replace").decode()


def quoted(name: str) -> str:
    """A name of a message (a frame, an encoding) in quotes, of at most MAX_QUOTED characters: it can have 100 kB."""
    return repr(name[:MAX_QUOTED])


def detail_of(text: str) -> str:
    """Make one clean line of at most MAX_DETAIL characters of any text, for example of an exception's.

    White space and control characters, line ends among them, become one space; characters that no message can carry
    (lone surrogates) or no font has (private use, unassigned) become "?".
    """
    line = " ".join("".join(map(_clean, text[: 4 * MAX_DETAIL])).split())
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1].rstrip() + "…"


def _clean(character: str) -> str:
    if character.isprintable():
        return character
    return "?" if unicodedata.category(character) in ("Cs", "Co", "Cn") else " "


def _begins_of(answer: str) -> list[int]:
    repeated = {match.end() for match in _REPEATED.finditer(answer)}
    return [match.start() for match in re.finditer(r"\[SEG\]", answer) if match.start() not in repeated]


def _tidied(text: str) -> str:
    """Spaces and punctuation as in a printed sentence, where marks were replaced or removed."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" (?=[.,;:!?])", "", text)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)  # the comma before a mark that ended the sentence
    text = re.sub(r"^[\s.,;:!?]+", "", text).strip()
    # A number that is a sentence by itself labels the next one.
    return re.sub(rf"((?:^|[.!?] ){_ANY_NUMBER}(?:(?:,? (?:and )?){_ANY_NUMBER})*)\.(?= )", r"\1", text)
