# SPDX-License-Identifier: Apache-2.0
"""The same request as different people type it: other verbs, politeness, missing articles, capitals, typing errors."""

from __future__ import annotations

import re

import numpy as np

from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.phrasings import Phrasing

MORE_REQUESTS: dict[bool, tuple[Phrasing, ...]] = {
    False: (
        Phrasing("Get {x}.", say.SURE),
        Phrasing("Get me {x}.", say.SURE),
        Phrasing("Bring me {x}.", say.SURE),
        Phrasing("Pick up {x}.", say.SURE_IT_IS),
        Phrasing("Grab {x}.", say.SURE),
        Phrasing("I want {x}.", say.SURE_IT_IS),
        Phrasing("I am looking for {x}.", say.SURE_IT_IS),
        Phrasing("Mark {x}.", say.SURE),
        Phrasing("Highlight {x}.", say.SURE),
        Phrasing("Could you hand me {x}?", say.SURE_IT_IS),
        Phrasing("Would you bring me {x}?", say.SURE_IT_IS),
        Phrasing("Can you see {x}?", say.SURE_IT_IS),
        Phrasing("I would like {x}.", say.SURE_IT_IS),
        Phrasing("Take {x}.", say.SURE),
    ),
    True: (
        Phrasing("Could you bring me {x}?", say.SURE_IT_IS),
        Phrasing("Hand me {x}.", say.SURE),
        Phrasing("Would you pick up {x}?", say.SURE_IT_IS),
        Phrasing("I am looking for {x}, can you find it?", say.SURE_IT_IS),
        Phrasing("Select {x}.", say.SURE),
        Phrasing("Could you get {x}?", say.SURE_IT_IS),
    ),
}
"""More ways to ask for one object or a group, by whether they are kept for evaluation."""
MORE_SHARE = 0.4
"""How often one of them is used."""

BEFORE = {
    False: ("Please, ", "Hey, ", "Robot, ", "Hello, ", "OK, ", "Now ", "So, "),
    True: ("Hi, ", "Well, ", "Hello robot, "),
}
AFTER = {False: (", please", " please.", " Thanks.", ", thank you."), True: (", please!", " Thank you.", ", thanks")}
_ARTICLES = re.compile(r"\b(the|a|an) ", re.IGNORECASE)


def as_typed(text: str, rng: np.random.Generator, held_out: bool) -> str:
    """The text with politeness, without articles, in capitals or with a typing error, each at random.

    Args:
        text: a request.
        rng: source of all random numbers.
        held_out: use only the words of politeness that are kept for evaluation.
    """
    if rng.random() < 0.25 and "lease" not in text:
        text = _polite(text, rng, held_out)
    if rng.random() < 0.15:
        text = _ARTICLES.sub("", text)
    if rng.random() < 0.15:
        text = _with_error(text, rng)
    if rng.random() < 0.06:
        text = text.upper()
    return text


def _polite(text: str, rng: np.random.Generator, held_out: bool) -> str:
    if rng.random() < 0.5:
        word = _one(BEFORE[held_out], rng)
        return word + (text if text.startswith("I ") else text[0].lower() + text[1:])
    word = _one(AFTER[held_out], rng)
    return (text.rstrip(".?") if word.startswith(",") or word == " please." else text) + word


def _with_error(text: str, rng: np.random.Generator) -> str:
    """One letter left out, doubled or exchanged with the next one, inside a word of five letters or more."""
    words = [match for match in re.finditer(r"[A-Za-z]{5,}", text)]
    if not words:
        return text
    word = words[int(rng.integers(len(words)))]
    at = word.start() + int(rng.integers(1, len(word.group()) - 1))
    change = int(rng.integers(3))
    if change == 0:
        return text[:at] + text[at + 1 :]
    if change == 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
