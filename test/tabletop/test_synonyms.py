# SPDX-License-Identifier: Apache-2.0
"""Training says other words for the same things; the evaluation's questions do not."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hand_made_views import CROWDED, SPARSE, VIEWS, hand_made_view

from lisa_ros.simulation.scene import COLOURS, KINDS, View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import synonyms
from lisa_ros.tabletop.questions import unknown_language as unknown
from lisa_ros.tabletop.questions.conversation import LEARNED_WEIGHTS, Question, conversation
from lisa_ros.tabletop.questions.corpus import known_words
from lisa_ros.tabletop.questions.synonyms import PLACES, SUPERLATIVES, SYNONYMS, USES, all_words, plural_of

NOUNS = {word: kind for kind, names in SYNONYMS.items() for word in names.words + names.doubtful}


def _asked(view: View, learning: bool, weights: dict[str, float] = LEARNED_WEIGHTS) -> list[Question]:
    rng = np.random.default_rng(2)
    return [
        question
        for _ in range(300)
        for question in conversation(view, rng, 3, learning=learning, varied=True, min_pixels=50, weights=weights)
    ]


def _said(questions: list[Question], words: list[str]) -> list[str]:
    texts = " | ".join(question.text.lower() for question in questions)
    return [word for word in words if re.search(rf"\b{re.escape(word.lower())}\b", texts)]


@pytest.mark.parametrize("view", VIEWS)
def test_evaluation_says_none_of_them(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _asked(view, learning=False)
    monkeypatch.setattr(synonyms, "SYNONYM_SHARE", 1.0)
    monkeypatch.setattr(synonyms, "OTHER_ARTICLE_SHARE", 1.0)
    assert _asked(view, learning=False) == usual
    assert _asked(view, learning=True) != _asked(view, learning=False)


def test_training_says_all_of_a_kind_and_also_the_usual_word() -> None:
    questions = _asked(CROWDED, learning=True)
    assert set(SYNONYMS["mug"].words) <= set(_said(questions, list(NOUNS)))
    assert _said(questions, ["mug", "mugs", "a mug", "my red mug", "closest", "beside"])


def test_an_answer_names_the_kind_in_the_usual_word() -> None:
    for question in _asked(CROWDED, learning=True, weights={"direct": 1.0}):
        (instance,) = question.instances
        item = CROWDED.objects[instance - 1]
        assert question.answer.endswith(f" The {item.colour} {item.kind}.")


def test_a_doubtful_word_is_not_said_beside_what_it_fits_too() -> None:
    alone, beside = hand_made_view(("bowl", "red")), hand_made_view(("bowl", "red"), ("plate", "red"))
    dishes = ["dish", "dishes"]
    assert _said(_asked(alone, learning=True, weights={"direct": 1.0}), dishes)
    assert not _said(_asked(beside, learning=True, weights={"direct": 1.0, "absent": 1.0}), dishes)


def test_something_absent_is_asked_for_by_them_too() -> None:
    questions = _asked(SPARSE, learning=True, weights={"absent": 1.0})
    assert len(_said(questions, list(NOUNS))) > 20
    assert {question.instances for question in questions} == {()}


def test_no_word_means_two_kinds_or_something_unknown() -> None:
    clear = Counter(word for names in SYNONYMS.values() for word in names.words)
    assert set(clear.values()) == {1}
    assert not set(clear) & {*KINDS, *COLOURS, *say.COLOUR_NOUNS, *unknown.NOUNS[False], *unknown.NOUNS[True]}
    for kind, names in SYNONYMS.items():
        for word in names.doubtful:
            others = {other for other in KINDS if other != kind and word in SYNONYMS[other].doubtful}
            assert names.near and others <= set(names.near), word


def test_the_tables_have_the_keys_of_the_usual_words() -> None:
    assert set(SYNONYMS) == set(KINDS)
    assert set(SUPERLATIVES) <= set(say.SUPERLATIVES)
    assert set(PLACES) <= set(say.PLACES)
    assert set(USES) <= set(KINDS)


def test_all_their_words_are_known_so_that_none_is_taken_for_a_typing_error() -> None:
    words = {word for text in all_words() for word in re.findall(r"[a-z]+", text.lower())}
    assert words <= set(known_words())


@pytest.mark.parametrize(
    ("word", "plural"), [("cup", "cups"), ("lego brick", "lego bricks"), ("box", "boxes"), ("ducky", "duckies")]
)
def test_plurals(word: str, plural: str) -> None:
    assert plural_of(word) == plural
