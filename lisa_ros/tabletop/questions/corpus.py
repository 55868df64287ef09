# SPDX-License-Identifier: Apache-2.0
"""The language of the questions without any image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from lisa_ros.simulation.scene import COLOURS, KINDS
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import synonyms
from lisa_ros.tabletop.questions.descriptions import every_description
from lisa_ros.tabletop.questions.phrasings import Phrasing, Phrasings
from lisa_ros.tabletop.questions.unknown_language import NOUNS, OFF_TOPIC
from lisa_ros.tabletop.questions.variations import AFTER, BEFORE, MORE_REQUESTS
from lisa_ros.tabletop.questions.without_mask import COUNTING, WHETHER


def tokenizer_corpus() -> list[str]:
    """Every seen phrasing with every kind and colour, and every answer, for training a tokenizer without images."""
    requests = [p.request.format(x=x) for table, words in _slots() for p in table.seen for x in words]
    texts = [*requests, *_follow_up_texts(lambda table: table.seen), *_answer_texts(_nouns(), _plurals())]
    return list(dict.fromkeys(form for text in texts for form in (text, text[0].lower() + text[1:])))


def every_request() -> Iterator[str]:
    """Every request in every phrasing, also those kept for evaluation, for a speech recogniser's vocabulary."""
    freer = Phrasings(MORE_REQUESTS[False], MORE_REQUESTS[True])
    nouns = [f"the {noun}" for noun in _nouns()]
    named = list(product(KINDS, (*KINDS, "the mug", *COLOURS)))
    pairs = [f"the {one}{between} {other}" for between, (one, other) in product((" and", ","), named)]
    slots = [*_slots(), (freer, [*nouns, *_groups(), *_uses()]), (say.SEVERAL_OBJECTS, pairs)]
    for table, words in slots:
        yield from (p.request.format(x=x) for p, x in product((*table.seen, *table.held_out), words))
    yield from _follow_up_texts(lambda table: (*table.seen, *table.held_out))
    first_plural = _plurals()[0]
    for held_out, noun in product((False, True), _nouns()):
        yield from (text.format(x=noun, xs=first_plural) for text in WHETHER[held_out])
        yield from (f"the {noun}{after}" for after in AFTER[held_out])
    for held_out, many in product((False, True), _plurals()):
        yield from (text.format(xs=many) for text in COUNTING[held_out])
        yield from (f"all the {many}{after}" for after in AFTER[held_out])
    # Without colours: each pair of words more makes it less sure what a misheard word was.
    yield from (
        text for word in synonyms.all_nouns() for text in (f"the {word}", f"all the {synonyms.plural_of(word)}")
    )
    requests = [p.request.format(x="the mug") for table, _ in slots for p in (*table.seen, *table.held_out)]
    yield from (f"{before}{request}" for before, request in product((*BEFORE[False], *BEFORE[True]), requests))


def known_words() -> list[str]:
    """Every word of the requests that a model learns from, in lower case, sorted."""
    freer = [phrasing.request for phrasing in MORE_REQUESTS[False]]
    asides = [*BEFORE[False], *AFTER[False], *COUNTING[False], *WHETHER[False]]
    unknown = [*NOUNS[False], *OFF_TOPIC[False]]
    texts = [*tokenizer_corpus(), *freer, *asides, *unknown, *synonyms.all_words(), "both", "and"]
    plain = (re.sub(r"\{\w+\}|\[SEG\]", "", text).lower() for text in texts)
    return sorted({word for text in plain for word in re.findall(r"[a-z]+", text)})


def _nouns() -> list[str]:
    return [d.noun(word) for d in every_description() for word in say.COLOUR_NOUNS]


def _plurals() -> list[str]:
    return [d.plural(word) for d in every_description() for word in say.COLOUR_NOUNS]


def _uses() -> list[str]:
    return [phrase for use in say.USES for phrase in use.seen]


def _groups() -> list[str]:
    return [w.format(xs=xs, number=n) for w, xs, n in product(say.SEVERAL_WORDINGS, _plurals(), say.NUMBERS.values())]


def _slots() -> list[tuple[Phrasings, list[str]]]:
    """Phrasings of requests, with everything that they may ask for."""
    one = _nouns()
    compared = [f"{word} {noun}" for words in say.SUPERLATIVES.values() for word, noun in product(words, one)]
    placed = [f"{one[i % len(one)]} {place} the {noun}" for i, (place, noun) in enumerate(product(_places(), one))]
    return [
        (say.ONE_OBJECT, [f"the {x}" for x in (*compared, *placed)]),
        (say.ONE_OBJECT, [f"the {noun}" for noun in one]),
        (say.WITH_A_REASON, [f"the {noun}" for noun in one] + _uses()),
        (say.FOR_A_USE, _uses()),
        (say.SEVERAL_OBJECTS, [*_groups(), *say.EVERYTHING]),
    ]


def _places() -> list[str]:
    return [words for ways in say.PLACES.values() for words in ways]


def _follow_up_texts(chosen: Callable[[Phrasings], Sequence[Phrasing]]) -> list[str]:
    tables = (say.OTHER_COLOUR, say.ONLY_ONE, say.THE_OTHER, say.SAME_COLOUR)
    texts = [phrasing.request for table in tables for phrasing in chosen(table)]
    texts += [p.request.replace("{place}", place) for p, place in product(chosen(say.NEIGHBOUR), _places())]
    return [request.format(kind=kind, colour=colour) for request, kind, colour in product(texts, KINDS, COLOURS)]


def _answer_texts(one: Sequence[str], many: Sequence[str]) -> list[str]:
    openings = [say.BARE, say.IT_IS, say.SURE, say.SURE_IT_IS, say.RESULT, say.NOTHING_LIKE_THAT]
    refusals = [f"There is no {noun} here." for noun in one] + [f"There are no {plural} here." for plural in many]
    refusals += [f"There is no other {kind} here." for kind in KINDS]
    pairs = [f"{colour} {kind}" for colour, kind in product(COLOURS, KINDS)]
    reasons = [f"The {pair} is the only {noun} here." for pair, noun in zip(pairs * 4, one, strict=False)]
    uses = [f"The {colour} {kind} is {use.reason}." for use in say.USES for kind, colour in product(use.kinds, COLOURS)]
    return [*openings, *refusals, *reasons, *uses]
