# SPDX-License-Identifier: Apache-2.0
"""The name of things in a command, as SAM 3 takes it, or a sentence about why there is none. Imports no torch."""

from __future__ import annotations

import re

from lisa_ros.dialogue.noun_phrase import noun_phrase, second_name

NAMES_ONLY = 'This model takes names of objects, such as "red mug"; it cannot reason about a question.'
"""The answer to a command without a name."""

ONE_NAME = 'This model takes one name of things at a time, such as "red mug"; ask for each by a command of its own.'
"""The answer to a command with several names."""

_MOST_WORDS = 6
_VAGUE = re.compile(
    r"^(?:(?:some|any|every)(?:thing|one|body)|(?:things?|objects?|items?|it|them|what|who|how|why|when)\b)",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"^(?:of|to|not|the|please|stop(?! signs?$)|cancel|wait|turn(?! signals?$)|go(?!-|\s+karts?$)|come|hello|hi|"
    r"thanks?|describe|explain|tell|say|count|compare)\b|"
    r"\b(?:am|is|are|was|were|that|which|who|can(?=\s+(?:be|it|not|the|this|these)\b)|could|should|would|must|i|you|he|"
    r"she|we|they|ones?|not|except)\b",
    re.IGNORECASE,
)
"""What is in no name of things, and in the rest of a sentence that has none. A can is a thing, too."""

_PROPERTY = re.compile(
    r"^\s*(?:(?:what|which)(?:'s|\s+is|\s+are)\s+(?!(?:the|all|every|each|my|your|our)\b)|"
    r"can\s+(?:it|he|she|they|this|that|these|those|the|an?)\b)",
    re.IGNORECASE,
)
"""What asks for things by a property, or about one: "what is dangerous here", "can it fly"."""

_NEGATION = re.compile(r"\b(?:not|except|without|besides|other than|instead of|but (?:not|no))\b", re.IGNORECASE)


def name_in(command: str) -> str | None:
    """The name of things in a command; None where it has none or several, or must be reasoned about."""
    phrase = noun_phrase(command)
    refused = (
        len(phrase.split()) > _MOST_WORDS
        or second_name(command)
        or any(pattern.search(phrase) for pattern in (_VAGUE, _NO_NAME))
        or any(pattern.search(command) for pattern in (_PROPERTY, _NEGATION))
    )
    return None if refused else phrase


def why_no_name(command: str) -> str:
    """The answer to a command of which `name_in` is None."""
    return ONE_NAME if second_name(command) else NAMES_ONLY
