# SPDX-License-Identifier: Apache-2.0
"""The noun phrase of a command: "red mug" of "Can you find the red mug left of the plate?".

Rules, not a parser: spaCy and NLTK need a model file of their own on every robot, and commands have one pattern: a
request, an article, adjectives and a noun, and then what sets the object apart. The rules are English. Any
other text, and one without a noun, is returned as it is, so that the result is never empty.
"""

from __future__ import annotations

import re

from lisa_ros.segmentation.text import without_surrogates

MAX_LENGTH = 64
"""Maximum length of a phrase, in characters."""

_ARTICLE = r"(?:the|an?|my|your|this|that|these|those|some|any|every|each|all(?: of)?(?: the)?|both(?: the)?|its|our)"
_NUMBER = r"(?:one(?= of\b)|two|three|four|five|six|seven|eight|nine|ten|\d+)"
_REQUEST = re.compile(
    r"^(?:(?:(?:do|can) you see|"
    r"please|hey|ok|okay|sure|and|or|now|no|yes|then|so|well|only|just|i (?:mean|meant)|what about|how about|"
    r"(?:can|could|would|will) you|(?:can|could|may) i (?:have|get|see)|"
    r"(?:i|we) (?:need|want|would like|'d like)|i'd like|i am looking for|i'm looking for|"
    r"is there|are there|which (?:one )?(?:is|are)|which ones are|where(?:'s| is| are)|what(?:'s| is| are)|"
    r"show|give|hand|bring|pass|get|fetch|find|locate|segment|mark|select|highlight|detect|identify|take|grab|grasp|pick"
    r"(?: up)?|point (?:at|to)|look (?:at|for)|search for|track|follow|hold|lift|go to|drive to|move to|touch|put|"
    r"me|us|to me|out|where|which)\b(?!-)[\s,:]*)+",
    re.IGNORECASE,
)
_DETERMINER = re.compile(rf"^(?:{_ARTICLE}\b\s*|{_NUMBER}\s+(?:of\s+)?(?={_ARTICLE}?\s*\w))+", re.IGNORECASE)
_END = re.compile(
    r"\s*(?:[,;:.!?(]|\b(?<!-)(?:in|on|at|from|of|with|near|next|left|right|behind|beside|between|under|above|below|over|"
    r"inside|into|onto|by|to|for|closest|nearest|farthest|that|which|who|where|whose|while|when|because|and|or|but|"
    r"please|is|are|was|were|has|have|could|would|should|standing|lying|sitting|you|i|we|it|there|here)\b(?!-))",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"^(?:(?:some|any|every)?(?:thing|one|body)|things?|ones?|objects?|items?|it|them|(?:what|who|how)\b.*)$",
    re.IGNORECASE,
)
COLOUR = r"(?:red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|gr[ae]y|silver|golden)"
"""Of regular expressions: a colour's name."""
_TWO_COLOURS = re.compile(rf"\b({COLOUR}) and ({COLOUR})\b(?= \w)", re.IGNORECASE)
_NEXT_NAME = re.compile(r"\s*(?:,|&|(?:,\s*)?\b(?:and|or)\b)\s*(?=\w)", re.IGNORECASE)
NO_NEXT_NAME = re.compile(
    r"(?:please|explain|say|tell|describe|name|count|why|how|what|which|who|that|then|thanks?|drop|bring|throw|place|"
    r"open|close|come|go|turn|stop|move|drive|wash|clean|use|it|them|not)\b",
    re.IGNORECASE,
)
"""How what follows "and" or a comma begins, where it is no further name: "and explain why"."""
_LONG_END = re.compile(
    r"\s*(?:[,;:.!?(]|"
    r"\b(?:in (?:this|the) (?:image|picture)|in (?:here|view)|please|and (?:explain|say|tell)|because)\b)",
    re.IGNORECASE,
)

_MOST_WORDS = 4
_NO_PLAIN_NAME = re.compile(
    r"\b(?:this|that|these|those|its?|my|your|our|his|her|their|one|ones|two|three|four|five|six|seven|eight|nine|ten|"
    r"\d+|first|second|third|last|next|other|another|same|else|again|most|least|what|who|whom|how|why|when|which|left|"
    r"right|(?:some|any|every|no)(?:thing|one|body)|things?|objects?|items?|them|\w{2,}est|\w+['\u2019]s)\b",
    re.IGNORECASE,
)
"""What points beyond the name: the dialogue, a comparison, a number, a place, or a thing that must be guessed."""


def plain_name(text: str) -> str | None:
    """The name of things, where a command is a request, an article and this name, and nothing else.

    "Can you find every red mug?" gives "red mug". None where more is said, so that a model without reasoning would miss
    it: "the mug left of the plate", "the biggest mug", "the other one", "something to drink from".
    """
    line = re.sub(r"[\s,]*\bplease\b[\s,]*$", "", " ".join(text.split()).rstrip(" .!?"), flags=re.IGNORECASE)
    rest = _REQUEST.sub("", line).strip()
    body = _DETERMINER.sub("", rest).strip(" '\"-")
    is_name = bool(body) and _before(_END, body) == body and len(body.split()) <= _MOST_WORDS
    return noun_phrase(body) if is_name and re.search(r"\w", body) and not _NO_PLAIN_NAME.search(rest) else None


def second_name(text: str) -> str:
    """The name after "and", "or" or a comma: "plate" of "the mug and the plate"; empty: there is none."""
    rest = _rest(text)
    body = _DETERMINER.sub("", rest).strip()
    following = body[len(_before(_END, body)) :]
    mark = _NEXT_NAME.match(following)
    if not mark or NO_NEXT_NAME.match(next_ := following[mark.end() :]) or _REQUEST.match(next_):
        return ""
    return "" if _END.match(next_) else noun_phrase(next_)


def _rest(text: str) -> str:
    """A command without its request. Two colours of one thing are one word."""
    line = _TWO_COLOURS.sub(r"\1-and-\2", " ".join(text.split()))
    return _REQUEST.sub("", line).strip()


def noun_phrase(text: str) -> str:
    """The noun of a command with its adjectives, in lower case, without article.

    "something to drink from" stays whole: its noun alone would say nothing.

    Args:
        text: An operator's command.

    Returns:
        At most MAX_LENGTH characters; the whole text where no noun is found; "object" for a text without letters.
    """
    line = " ".join(text.split())
    body = _DETERMINER.sub("", _rest(text)).strip()
    found = _before(_END, body)
    if not found or _VAGUE.match(found):
        found = _before(_LONG_END, body)
    return _short((found or _before(_LONG_END, line) or line).lower()) or "object"


def object_name(phrase: str, command: str) -> str:
    """The name of an object in an answer, never empty: the model's phrase, otherwise the noun phrase of the command."""
    return without_surrogates(phrase.strip()) or noun_phrase(without_surrogates(command))


def _before(end: re.Pattern[str], text: str) -> str:
    """The text up to its first end that leaves something."""
    match = end.search(text)
    return (text[: match.start()] if match else text).strip(" '\"-")


def _short(phrase: str) -> str:
    if not re.search(r"\w", phrase):
        return ""
    return phrase if len(phrase) <= MAX_LENGTH else phrase[:MAX_LENGTH].rsplit(" ", 1)[0]
