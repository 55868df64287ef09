# SPDX-License-Identifier: Apache-2.0
"""How many objects a command lists: 3 in "the mug, the duck and the ball". English rules, as in noun_phrase."""

from __future__ import annotations

import re

_SEPARATOR = re.compile(
    r"\s*(?:[,;&+]|\b(?:and|or|plus|as well as)\b)[\s,;&+]*(?:\b(?:and|or|also|then)\b\s*)*", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b(?:the|an?|my|your|our|this|that|these|those|one|another)\b", re.IGNORECASE)
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_NUMBER = re.compile(
    rf"(?<!\bof )(?<!\bof the )\b({'|'.join(_NUMBERS)})\s+(?!of\b|to\b|or\b|and\b)[a-z]", re.IGNORECASE
)
_BETWEEN = re.compile(r"\bbetween\b", re.IGNORECASE)


def listed_objects(text: str) -> int:
    """The number of objects that a command lists, as far as the text shows it; at least 1.

    Every part of the list needs its own article or number, so that "a small, round and red mug" is one object. What
    stands "between" two things is one part with both. The number in "the second of the three mugs" does not count.

    Args:
        text: An operator's command.
    """
    parts = _SEPARATOR.split(text)
    return max(1, sum(_count(part) for part in parts) - len(_BETWEEN.findall(text)))


def _count(part: str) -> int:
    if number := _NUMBER.search(part):
        return _NUMBERS[number[1].lower()]
    return 1 if _ARTICLE.search(part) else 0
