# SPDX-License-Identifier: Apache-2.0
"""Questions that are answered in text alone, two objects at once, and requests as people type them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hand_made_views import CROWDED, SPARSE, described, hand_made_view

from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import unknown_language as unknown
from lisa_ros.tabletop.questions.conversation import ALL_WEIGHTS, Question, conversation, questions
from lisa_ros.tabletop.questions.variations import as_typed
from lisa_ros.tabletop.questions.without_mask import NOT_UNDERSTOOD

WITHOUT_MASK = ("count", "whether", "unknown kind", "not understood")


def ask(family: str, count: int = 200, held_out: bool = False) -> list[Question]:
    return questions(CROWDED, np.random.default_rng(0), count, held_out, min_pixels=50, weights={family: 1.0})


@pytest.mark.parametrize("family", WITHOUT_MASK)
def test_text_alone_has_no_mask(family: str) -> None:
    for held_out in (False, True):
        asked = ask(family, 60, held_out)
        assert len(asked) == 60
        assert all(q.instances == () and q.masks == () and "[SEG]" not in q.answer for q in asked)


def test_counts_are_right() -> None:
    seen = set()
    for question in ask("count"):
        number = len(described(CROWDED, question.text))
        word = {0: "no", 1: "one"}.get(number) or say.NUMBERS[number]
        assert question.answer.startswith(("There is ", "There are ")) and f" {word} " in question.answer, question
        seen.add(number)
    assert seen == {0, 1, 2, 3}


def test_yes_and_no_are_right_and_about_as_frequent() -> None:
    asked = ask("whether")
    for question in asked:
        assert question.answer.startswith("Yes, " if described(CROWDED, question.text) else "No, "), question
    assert 60 < sum(q.answer.startswith("Yes") for q in asked) < 140


def test_other_languages_and_nonsense_are_not_understood() -> None:
    learned, evaluated = ({q.text for q in ask("not understood", 400, held_out)} for held_out in (False, True))
    assert {q.answer for q in ask("not understood")} == {NOT_UNDERSTOOD}
    assert any(not text.isascii() for text in learned) and any(not text.isascii() for text in evaluated)
    assert not {text for text in learned & evaluated if not text.isascii()}
    assert all(text for text in learned | evaluated)


def test_nouns_and_topics_of_evaluation_are_not_in_training() -> None:
    for table in (unknown.NOUNS, unknown.OFF_TOPIC, unknown.LANGUAGES):
        assert not set(table[False]) & set(table[True])


def test_a_pair_has_a_mask_for_each_object() -> None:
    asked = ask("pair")
    for question in asked:
        assert question.answer.count("[SEG]") == len(question.masks) == 2
        assert question.instances == tuple(sorted(number for part in question.masks for number in part))
        names = [f"the {CROWDED.objects[n - 1].colour} {CROWDED.objects[n - 1].kind}" for (n,) in question.masks]
        assert all(name in question.answer.lower() for name in names)
    assert len({question.masks for question in asked}) > 8


def test_training_also_lists_three_objects() -> None:
    rng = np.random.default_rng(0)
    chosen = {"learning": True, "varied": True, "min_pixels": 50, "weights": {"pair": 1.0}}
    asked = [q for _ in range(100) for q in conversation(CROWDED, rng, 1, **chosen)]
    assert {len(q.masks) for q in asked} == {2, 3}
    for question in asked:
        assert question.answer.count("[SEG]") == len(question.masks) == len(set(question.masks))
        assert len(question.masks) == 2 or "both" not in question.text.lower()
    two = conversation(hand_made_view(("mug", "red"), ("cube", "blue")), rng, 20, **chosen)
    assert {len(q.masks) for q in two} == {2}


def test_with_distractors_nobody_asks_for_everything() -> None:
    view = replace(CROWDED, has_distractors=True)
    rng = np.random.default_rng(0)
    for _ in range(100):
        for question in conversation(view, rng, 4, min_pixels=50, weights=ALL_WEIGHTS):
            assert "on the table" not in question.text or question.family in ("count", "whether", "absent")


def test_a_varied_dialogue_has_politeness_errors_and_capitals() -> None:
    rng = np.random.default_rng(0)
    view = hand_made_view(("mug", "red"), ("cube", "blue"))
    texts = [
        q.text for _ in range(150) for q in conversation(view, rng, 3, min_pixels=50, weights=ALL_WEIGHTS, varied=True)
    ]
    assert any(text.isupper() and len(text) > 12 for text in texts)
    assert any("thank" in text.lower() for text in texts)
    assert any(text.lower().startswith(("get ", "bring ", "grab ")) for text in texts)
    plain = [q.text for _ in range(50) for q in conversation(SPARSE, rng, 3, min_pixels=50)]
    assert not any("thank" in text.lower() for text in plain)


def test_a_typing_error_changes_one_word_a_little() -> None:
    text = "Please segment the yellow cube in this image."
    changed = {as_typed(text, np.random.default_rng(seed), held_out=False) for seed in range(300)}
    assert text in changed and len(changed) > 20
    assert all(abs(len(one) - len(text)) < 20 for one in changed)
