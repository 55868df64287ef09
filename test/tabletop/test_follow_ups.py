# SPDX-License-Identifier: Apache-2.0
"""Follow-up questions mean what the turn before makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_views import CROWDED, EMPTY, SPARSE, VIEWS, hand_made_view, named, talk

from lisa_ros.simulation.scene import COLOURS, KINDS, View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.conversation import (
    Question,
    conversation,
)
from lisa_ros.tabletop.questions.question import FollowUpMix
from lisa_ros.training.language.other_object import draw_other_object, with_a_twin


@pytest.mark.parametrize("view", VIEWS)
def test_a_follow_up_means_what_the_turn_before_makes_of_it(view: View) -> None:
    checked = 0
    for one in talk(view, turns=4, count=300):
        kind: str | None = None
        for before, question in zip([None, *one], one, strict=False):
            if not question.follows:
                spoken = question.text.lower()
                until = spoken.rfind(question.related_to) if question.related_to else len(spoken)
                kind = named(question.text[:until], KINDS)
                continue
            assert before is not None
            assert question.family == "follow"
            if _only_says_where(question):  # test_relations.py
                kind = None
                continue
            checked += _check_follow_up(view, before, question, kind)
            kind = named(question.text, KINDS) or kind
    assert checked > 50 or view is EMPTY


def _only_says_where(question: Question) -> bool:
    return any(f"{words} it" in question.text for ways in say.PLACES.values() for words in ways)


def _check_follow_up(view: View, before: Question, question: Question, kind: str | None) -> int:
    colour = named(question.text, tuple(COLOURS))
    kind = named(question.text, KINDS) or kind
    if colour:
        fitting = [o for o in view.objects if o.colour == colour and kind in (None, o.kind)]
    elif "other" in question.text:
        fitting = [o for o in view.objects if o.kind == kind and o.instance not in before.instances]
    else:
        said: set[str | None] = {o.colour for o in view.objects if o.instance in before.instances}
        said = said or {named(before.answer, tuple(COLOURS))}
        fitting = [o for o in view.objects if o.kind == kind and {o.colour} == said]
    assert question.instances == tuple(o.instance for o in fitting), (before, question)
    assert len(fitting) < 2
    return 1


def test_follow_ups_ask_by_the_mix_for_what_is_nearly_there() -> None:
    view = hand_made_view(("mug", "red"), ("cube", "blue"), ("duck", "yellow"))
    kinds, colours = ({getattr(item, part) for item in view.objects} for part in ("kind", "colour"))

    def absent(mix: FollowUpMix) -> tuple[float, float]:
        """Share of follow-ups that mean nothing, and of these the near misses."""
        rng = np.random.default_rng(1)
        told = [conversation(view, rng, 2, min_pixels=50, mix=mix) for _ in range(300)]
        follow_ups = [question for one in told for question in one if question.follows]
        denied = [question.answer for question in follow_ups if not question.instances]
        near = [answer for answer in denied if "other" in answer or _is_near(answer, kinds, colours)]
        return len(denied) / len(follow_ups), len(near) / len(denied)

    often, near = absent(FollowUpMix(0.6, 1.0))
    assert 0.5 < often < 0.7 and near == 1.0
    often, near = absent(FollowUpMix())
    assert 0.15 < often < 0.35 and near < 0.8


def test_an_answer_that_marks_one_object_names_it() -> None:
    told: dict[bool, set[bool]] = {True: set(), False: set()}
    for view in (CROWDED, SPARSE):
        names = {item.instance: f"The {item.colour} {item.kind}" for item in view.objects}
        for question in (question for one in talk(view) for question in one):
            single = len(question.instances) == 1
            told[single].add(single and f"[SEG]. {names[question.instances[0]]}" in question.answer)
            told[single].add(not single and ". The " in question.answer)
    assert told == {True: {True, False}, False: {False}}


def test_the_mix_asks_for_the_other_one_where_it_may() -> None:
    view = hand_made_view(("mug", "red"), ("mug", "blue"), ("duck", "yellow"), ("book", "white"))

    def share(other: float) -> float:
        rng = np.random.default_rng(1)
        told = [conversation(view, rng, 2, min_pixels=50, mix=FollowUpMix(other=other)) for _ in range(300)]
        follow_ups = [question.text for one in told for question in one if question.follows]
        return sum("other" in text for text in follow_ups) / len(follow_ups)

    assert share(1.0) > 2 * share(0.0)


def test_pairs_ask_for_the_other_one_as_often_where_there_is_none() -> None:
    views = [hand_made_view(("mug", "red"), ("mug", "blue"), ("duck", "yellow"), ("book", "white")), SPARSE]
    rng = np.random.default_rng(2)

    def draw() -> tuple[int, View]:
        number = int(rng.integers(len(views)))
        return number, views[number]

    present = absent = 0
    for _ in range(200):
        (number, view), asked = draw_other_object(draw, rng)
        assert view is views[number]
        before, last = asked[0], asked[-1]
        if not (last.follows and "other" in last.text):
            continue
        present, absent = present + bool(last.instances), absent + (not last.instances)
        if last.instances:
            (one,), (other,) = before.instances, last.instances
            kinds = {item.instance: item.kind for item in view.objects}
            assert one != other and kinds[one] == kinds[other]
    assert present > 40 and absent > 40


def test_a_pair_about_what_cannot_be_asked_for_is_an_ordinary_dialogue() -> None:
    """None of these views has two of a kind, so there is never another one."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        (number, view), asked = draw_other_object(lambda: (7, SPARSE), rng)
        assert (number, view) == (7, SPARSE)
        assert 1 <= len(asked) <= 2


def test_a_twin_is_of_another_colour() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        twins = with_a_twin(SPARSE, rng).objects
        assert twins[0].kind == twins[1].kind in {"mug", "teddy bear"}
        assert [item.colour for item in twins] == ["red", "blue"]
    same = hand_made_view(("mug", "red"), ("cube", "red"))
    assert with_a_twin(same, rng) is same


def _is_near(answer: str, kinds: set[str], colours: set[str]) -> bool:
    kind, colour = named(answer, KINDS), named(answer, COLOURS)
    return (kind is None or kind in kinds) and (colour is None or colour in colours)


def test_follow_ups_ask_for_present_and_absent_things() -> None:
    follow_ups = [q for one in talk(CROWDED, count=300) for q in one if q.follows]
    absent = sum(not q.instances for q in follow_ups) / len(follow_ups)
    assert 0.1 < absent < 0.5
    assert not [one[0] for one in talk(CROWDED) if one[0].follows]
