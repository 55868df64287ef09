# SPDX-License-Identifier: Apache-2.0
"""Typing errors are repaired where exactly one known word can be meant; things get names that a model knows."""

from __future__ import annotations

import time

import pytest

from lisa_ros.models.common.prompt_text import renamed, respelled
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.corpus import known_words
from lisa_ros.tabletop.questions.synonyms import known_names

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


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("Give me the red cup.", "Give me the red mug."),
        ("the coffee cup left of the teddy", "the mug left of the teddy bear"),
        ("Where is my Teddy Bear?", "Where is my teddy bear?"),
        ("all the boxes and two tins", "all the cubes and two cans"),
        ("the smallest box", "the smallest cube"),
        ("the cup to the left of the pylon", "the mug to the left of the cone"),
        ("Cup!", "mug!"),
        ("and the cup of the same colour?", "and the mug of the same colour?"),
        ("Can you get the other cup for me?", "Can you get the other mug for me?"),
        ("What looks like a donut?", "What looks like a donut?"),
        ("a cup for tea", "a cup for tea"),
        ("a tin of soda", "a tin of soda"),
        ("something made of tin", "something made of tin"),
        ("what a child plays football with", "what a child plays football with"),
        ("Can you find the can?", "Can you find the can?"),
        ("the cupboard", "the cupboard"),
        ("Wo ist die rote Tasse?", "Wo ist die rote Tasse?"),
        ("", ""),
    ],
)
def test_things_get_the_names_that_the_model_knows(said: str, known: str) -> None:
    assert renamed(said, known_names()) == known
    assert renamed(said, {}) == said


def test_what_the_model_was_taught_from_the_start_stays() -> None:
    names = known_names()
    usual = [use for one in say.USES for use in one.seen + one.held_out]
    assert {text: renamed(text, names) for text in usual} == {text: text for text in usual}
