# SPDX-License-Identifier: Apache-2.0
"""Typing errors are repaired where exactly one known word can be meant."""

from __future__ import annotations

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
