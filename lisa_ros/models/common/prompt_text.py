# SPDX-License-Identifier: Apache-2.0
"""An operator's text as models are given it: harmless; for some in sentence case, spelled right, in known names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from lisa_ros.models.common.tokenizer import splitter_at

_CONTROL_CHARACTERS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST_REPAIRED = 5
"""Letters of a word that is repaired to; among shorter ones too many words differ by one letter ("can", "cone")."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BEFORE_NAME = (
    r"(?:the|an?|my|your|our|this|that|these|those|all|both|any|other|many|one|two|three|four|five|six|"
    r"red|orange|yellow|green|blue|purple|white|black|"
    r"small|smallest|tiniest|big|biggest|largest|large|leftmost|rightmost|nearest|closest|farthest|furthest)"
)
"""Words that stand before a name: in "something made of tin" or "to play football" there is none."""
_SAYS_MORE = re.compile(r"\s+(?:for|of|to)\s+(?!the\b|me\b|us\b)", re.IGNORECASE)
"""What follows a name that is a part of what is meant: "a tin of soda", "a cup for tea"."""


def in_sentence_case(text: str) -> str:
    """A text in which only the first letters of sentences keep their case, and "I": "THE Mug" becomes "The mug"."""
    lower = "".join(one.lower() if len(one.lower()) == 1 else one for one in text)
    kept = re.sub(r"(?:^|[.!?]\s+)\w", lambda found: text[found.start() : found.end()], lower)
    return re.sub(r"(?<!\w)i(?!\w)", "I", kept)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text in which things have the names that the model knows: "the red cup" becomes "the red mug".

    A word is a name after an article, number or adjective, or if it is the whole text. It is none in "like a donut",
    "a tin of soda" and "a cup for tea".

    Args:
        text: a command.
        names: known names by other ones, both in lower case; names that map to themselves stay in one piece.
    """
    if not names:
        return text
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    named = re.compile(rf"(?<!\blike )(\b{_BEFORE_NAME}\s+|\A)({known})\b", re.IGNORECASE)

    def known_name(found: re.Match[str]) -> str:
        before, name = found.groups()
        is_part = not before and found.end() < len(text.rstrip(" .,!?"))
        says_more = before.strip().lower() in ("a", "an") and _SAYS_MORE.match(text, found.end())
        if is_part or says_more:
            return found.group()
        return before + names[name.lower()]

    return named.sub(known_name, text)


def respelled(text: str, words: Collection[str]) -> str:
    """A text in which unknown words become the known word that they are but for one typing error: "bokos", "books".

    A letter was left out, typed twice or exchanged with its neighbour. A letter in another's place is no such error:
    it makes too many words that exist ("block" of "black"). A text of which most words remain unknown is unchanged; it
    is in another language.

    Args:
        text: a command.
        words: known words, in lower case; with none the text is unchanged.
    """
    if not words:
        return text
    longest = max(map(len, words)) + 1  # a letter typed twice; a longer word has more errors, and very many corrections
    repaired = _WORD.sub(
        lambda found: _repaired(found.group(), words) if len(found.group()) <= longest else found.group(), text
    )
    after = _WORD.findall(repaired.lower())
    return repaired if 2 * sum(word in words for word in after) >= len(after) else text


def _repaired(word: str, words: Collection[str]) -> str:
    lower = word.lower()
    if lower in words:
        return word
    found = {one for one in _corrections(lower) if one in words and len(one) >= _SHORTEST_REPAIRED}
    if len(found) != 1:
        return word
    repaired = found.pop()
    return repaired.capitalize() if word[0].isupper() else repaired


def _corrections(word: str) -> Iterator[str]:
    """All words that one of the three errors turns into this word."""
    splits = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    missing = (a + letter + b for a, b in splits for letter in _LETTERS)
    doubled = (a + b[1:] for a, b in splits if a and b and a[-1] == b[0])
    exchanged = (a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1)
    return chain(missing, doubled, exchanged)


def neutralize(text: str, control_texts: Iterable[str]) -> str:
    """An operator's text as plain text.

    Control texts (`[SEG]`, `<image>`, `</s>`, a template's role markers ...) get a space after their first character
    (`[ SEG]`), so that they stay readable and have no effect. Control characters, line ends among them, become one
    space, and are removed at the ends of the text. Any other text is returned unchanged: it must be tokenized as
    upstream tokenizes it.

    Args:
        text: what the operator typed.
        control_texts: those of one character, or with white space inside, are ordinary text and stay as they are.
    """
    text = re.sub(f"[{re.escape(_CONTROL_CHARACTERS)}]+", " ", text.strip(_CONTROL_CHARACTERS))
    splittable = {one for one in control_texts if len(one) > 1 and not re.search(r"\s", one)}
    if not splittable:
        return text
    pattern = splitter_at(splittable)
    # Control texts may overlap, so one pass can leave another. Each pass puts a space into what matched, and no control
    # text contains white space: the loop ends.
    while pattern.search(text):
        text = pattern.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
    return text
