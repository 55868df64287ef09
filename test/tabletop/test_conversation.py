# SPDX-License-Identifier: Apache-2.0
"""Dialogues about a view: families, masks, seeds and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_views import CROWDED, PIXELS_EACH, VIEWS, talk

from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.questions.conversation import (
    FAMILIES,
    WEIGHTS,
    Question,
    conversation,
    true_mask,
)


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_one_seg_when_something_is_there_and_none_else(view: View, held_out: bool) -> None:
    for one in talk(view, held_out=held_out):
        assert len(one) == 4
        for question in one:
            assert question.family in FAMILIES
            assert question.answer.count("[SEG]") == (1 if question.instances else 0)
            assert (question.text + question.answer).isascii()
            assert "{" not in question.text + question.answer
            assert "  " not in question.text + question.answer


def test_every_family_comes_up_in_a_dialogue() -> None:
    assert {q.family for one in talk(CROWDED) for q in one} == set(WEIGHTS)


def test_the_same_seed_asks_the_same() -> None:
    def asked(seed: int) -> list[Question]:
        return conversation(CROWDED, np.random.default_rng(seed), 6, min_pixels=50)

    assert asked(3) == asked(3)
    assert asked(3) != asked(4)


def test_true_mask_is_the_union_of_the_objects() -> None:
    question = Question("several", "both mugs", "[SEG].", (1, 2))
    mask = true_mask(CROWDED, question)
    assert mask.dtype == np.bool_
    assert mask.shape == CROWDED.instances.shape
    assert int(mask.sum()) == 2 * PIXELS_EACH
    assert not true_mask(CROWDED, Question("absent", "the can", "There is no can here.", ())).any()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="1 turn or more"):
        conversation(CROWDED, np.random.default_rng(0), 0)
    with pytest.raises(ValueError, match="riddle"):
        conversation(CROWDED, np.random.default_rng(0), 1, weights={"riddle": 1.0})
