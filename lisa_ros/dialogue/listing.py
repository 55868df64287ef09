# SPDX-License-Identifier: Apache-2.0
"""How many objects a command lists: 3 in "the mug, the duck and the ball". English rules, as in noun_phrase."""

from __future__ import annotations

import re

from lisa_ros.dialogue.noun_phrase import COLOUR, NO_NEXT_NAME, plain_name

_SEPARATOR = re.compile(
    r"\s*(?:[,;&+]|\b(?:and|or|plus|as well as)\b)[\s,;&+]*(?:\b(?:and|or|also|then)\b\s*)*", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b(?:the|an?|my|your|our|this|that|these|those|one|another)\b", re.IGNORECASE)
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_NUMBER = re.compile(
    rf"(?<!\bof )(?<!\bof the )\b({'|'.join(_NUMBERS)})\s+(?!of\b|to\b|or\b|and\b)[a-z]", re.IGNORECASE
)
_BETWEEN = re.compile(r"\bbetween\b", re.IGNORECASE)
_ADJECTIVE_LAST = re.compile(
    rf"\b(?:{COLOUR}|small|little|tiny|big|large|huge|tall|short|long|thin|thick|round|flat|wide|narrow|soft|hard|heavy|"
    r"light|dark|bright|shiny|wooden|striped|empty|full|open|closed|clean|dirty|old|new)\s*$",
    re.IGNORECASE,
)


def listed_objects(text: str) -> int:
    """The number of objects that a command lists, as far as the text shows it; at least 1.

    A part of the list counts that has its own article or number, or is a plain name ("mug, duck, ball"). "a small,
    round and red mug" is one object. What stands "between" two things is one part with both. The number in "the second
    of the three mugs" does not count.

    Args:
        text: An operator's command.
    """
    number, described = -len(_BETWEEN.findall(text)), False
    for part in _SEPARATOR.split(text):
        own = _with_article(part)
        number += own or (not described and _is_name(part))
        # "the small", then "red mug": the noun of an object that is counted.
        described = bool(_ADJECTIVE_LAST.search(part)) and (own > 0 or described)
    return max(1, number)


def _with_article(part: str) -> int:
    if number := _NUMBER.search(part):
        return _NUMBERS[number[1].lower()]
    return 1 if _ARTICLE.search(part) else 0


def _is_name(part: str) -> bool:
    return bool(plain_name(part)) and not NO_NEXT_NAME.match(part) and not _ADJECTIVE_LAST.search(part.rstrip(" .!?"))
