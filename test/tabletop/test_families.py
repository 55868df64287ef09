# SPDX-License-Identifier: Apache-2.0
"""Each family of questions asks for what it says, and its truth is right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hand_made_views import CROWDED, SPARSE, VIEWS, ask, described, hand_made_view, named, talk

from lisa_ros.simulation.scene import COLOURS, KINDS, View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.conversation import conversation
from lisa_ros.tabletop.views import RESERVED_PAIRS


def test_a_direct_question_means_the_only_object_that_its_words_fit() -> None:
    asked = ask(CROWDED, "direct")
    for question in asked:
        assert len(question.instances) == 1
        assert described(CROWDED, question.text) == question.instances, question
    assert {q.instances[0] for q in asked} == {1, 2, 3, 6, 7}, "the blue cubes cannot be told apart"


def test_several_means_all_of_them_and_counts_right() -> None:
    for question in ask(CROWDED, "several"):
        if "on the table" in question.text:
            assert question.instances == (1, 2, 3, 4, 5, 6, 7)
            continue
        assert described(CROWDED, question.text) == question.instances
        assert len(question.instances) > 1
        numbers = [size for size, word in say.NUMBERS.items() if re.search(rf"\b{word}\b", question.text)]
        assert numbers in ([], [len(question.instances)])
        assert "both" not in question.text or len(question.instances) == 2


def test_training_calls_a_reserved_pair_absent_only_if_it_learns_all_combinations() -> None:
    reserved = {f"{colour} {kind}" for kind, colour in RESERVED_PAIRS}

    def called(**how: bool) -> set[str]:
        rng = np.random.default_rng(0)
        asked = [conversation(SPARSE, rng, 1, weights={"absent": 1.0}, learning=True, **how) for _ in range(300)]
        return {noun for (question,) in asked for noun in reserved if noun in question.text.lower()}

    assert not called()
    assert called(all_combinations=True)


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_called_absent_is_not_there(view: View) -> None:
    asked = ask(view, "absent")
    assert len(asked) == 300
    for question in asked:
        assert question.instances == ()
        if question.answer != say.NOTHING_LIKE_THAT:
            assert described(view, question.text) == (), question
            assert named(question.text, KINDS) == named(question.answer, KINDS)
            assert named(question.text, tuple(COLOURS)) == named(question.answer, tuple(COLOURS))


def test_absent_asks_for_near_misses_often() -> None:
    asked = [q for q in ask(CROWDED, "absent") if named(q.text, KINDS) and named(q.text, tuple(COLOURS))]
    same_kind = [q for q in asked if named(q.text, KINDS) in {"mug", "cube", "duck", "book"}]
    assert len(same_kind) > 75


def test_a_use_means_the_one_object_that_serves_it() -> None:
    kinds = {phrase: use.kinds for use in say.USES for phrase in use.seen}
    asked = ask(SPARSE, "use")
    assert asked
    for question in asked:
        phrase = max((p for p in kinds if p in question.text), key=len)
        (instance,) = question.instances
        assert SPARSE.objects[instance - 1].kind in kinds[phrase]


def test_nobody_asks_for_a_use_when_two_things_serve_it() -> None:
    assert not [q for q in ask(CROWDED, "use") if "drink" in q.text], "there are two mugs"
    near = hand_made_view(("mug", "red"), ("bottle", "green"))
    assert not [q for q in ask(near, "use") if "drink" in q.text], "one may drink from the bottle too"
    assert not [q for q in ask(near, "absent") if "something to drink" in q.text]


def test_every_kind_has_a_use() -> None:
    assert {kind for use in say.USES for kind in use.kinds} == set(KINDS)
    assert {kind for use in say.USES for kind in use.near} <= set(KINDS)


def test_an_explanation_names_kind_and_colour_of_the_object() -> None:
    both = [(view, question) for view in (CROWDED, SPARSE) for question in ask(view, "explain")]
    assert both
    for view, question in both:
        item = view.objects[question.instances[0] - 1]
        assert f"The {item.colour} {item.kind} is " in question.answer


def test_a_hardly_visible_object_is_neither_asked_for_nor_called_absent() -> None:
    view = hand_made_view(("mug", "red"), ("cube", "blue"), ("cube", "red"), hidden=(3,))
    for one in talk(view, count=300):
        for question in one:
            assert 3 not in question.instances
            if question.family == "direct":
                assert described(view, question.text) == question.instances
            if question.family == "absent" and question.answer != say.NOTHING_LIKE_THAT:
                assert described(view, question.text) == ()
