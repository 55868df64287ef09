# SPDX-License-Identifier: Apache-2.0
"""Phrasings kept for evaluation, and the corpus of the tokenizer."""

from __future__ import annotations

import re

import pytest
from hand_made_views import VIEWS, talk

from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.conversation import (
    tokenizer_corpus,
)


def _pattern(request: str) -> re.Pattern[str]:
    """A typed form of a request, its slot filled with one word."""
    plain = re.escape(request.lower().rstrip(".?"))
    return re.compile(re.sub(r"\\\{\w+\\\}", r"(\\w+)", plain) + r"[.?]?")


def _tables() -> list[say.Phrasings]:
    return [table for table in vars(say).values() if isinstance(table, say.Phrasings)]


def test_held_out_phrasings_are_never_spoken_in_training() -> None:
    corpus = {text.lower() for text in tokenizer_corpus()}
    for view in VIEWS:
        trained = {q.text.lower().rstrip(".?") for one in talk(view) for q in one}
        tested = {q.text.lower().rstrip(".?") for one in talk(view, held_out=True) for q in one}
        assert not trained & tested
        assert not tested & {text.rstrip(".?") for text in corpus}


@pytest.mark.parametrize("table", _tables())
def test_no_request_is_both_seen_and_held_out(table: say.Phrasings) -> None:
    seen = [_pattern(p.request) for p in table.seen if p.request != "{x}"]
    for phrasing in table.held_out:
        filled = re.sub(r"\{\w+\}", "it", phrasing.request).lower()
        assert not [pattern for pattern in seen if pattern.fullmatch(filled)], filled


def test_held_out_phrasings_use_known_words_only() -> None:
    known = {word for text in tokenizer_corpus() for word in re.findall(r"[a-z]+", text.lower())}
    held_out = [p.request for table in _tables() for p in table.held_out] + [p for u in say.USES for p in u.held_out]
    for text in held_out:
        plain = re.sub(r"\{\w+\}", "", text).lower()
        assert set(re.findall(r"[a-z]+", plain)) <= known, text
    assert not {p for u in say.USES for p in u.held_out} & {p for u in say.USES for p in u.seen}


def test_the_tokenizer_corpus_covers_whatever_is_said_in_training() -> None:
    corpus = tokenizer_corpus()
    known = {word for text in corpus for word in re.findall(r"[a-zA-Z]+|\S", text)}
    assert len(set(corpus)) == len(corpus)
    for question in (q for view in VIEWS for one in talk(view) for q in one):
        assert set(re.findall(r"[a-zA-Z]+|\S", f"{question.text} {question.answer}")) <= known
