# SPDX-License-Identifier: Apache-2.0
"""Typing errors are repaired where exactly one known word can be meant."""

from __future__ import annotations

import time

import pytest

from lisa_ros.models.common.prompt_text import respelled
from lisa_ros.tabletop.questions.corpus import known_words

WORDS = frozenset(known_words())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Conut the bokos.", "Count the books."),
        ("Whhere is the purpl bottel?", "Where is the purple bottle?"),
        ("the red block", "the red block"),  # another word, not "black" with an error
        ("the cna", "the cna"),  # short words have too many neighbours
        ("the mug on the shelf", "the mug on the shelf"),
        ("Kde je moje gren kniha?", "Kde je moje gren kniha?"),  # most words are unknown: another language
        ("brnig me the unicorn", "bring me the unicorn"),
        ("", ""),
        ("?!", "?!"),
    ],
)
def test_one_typing_error_a_word_is_repaired(typed: str, meant: str) -> None:
    assert respelled(typed, WORDS) == meant


def test_a_word_that_may_be_two_words_stays() -> None:
    assert respelled("the bttle", frozenset({"the", "bottle"})) == "the bottle"
    assert respelled("the bttle", frozenset({"the", "bottle", "battle"})) == "the bttle"


def test_without_known_words_nothing_changes() -> None:
    assert respelled("the purpl bottel", frozenset()) == "the purpl bottel"


def test_a_very_long_word_is_no_typing_error_of_a_known_one() -> None:
    """Trying all its corrections would take minutes."""
    began_s = time.process_time()
    assert respelled(f"the bttle {'a' * 100_000}", frozenset({"the", "bottle"})) == f"the bottle {'a' * 100_000}"
    assert respelled("boottle", frozenset({"bottle"})) == "bottle", "one letter longer than the longest known word"
    assert time.process_time() - began_s < 2.0
