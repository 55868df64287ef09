# SPDX-License-Identifier: Apache-2.0
"""Pairs of turns about "the other one", as often where there is one as where there is none.

In ordinary dialogues there are seldom two of a kind, so that guessing pays:
after 270,000 questions the embedded LLaMA still guessed. With even odds it learns within 300 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lisa_ros.simulation.scene import View
from lisa_ros.tabletop.questions.conversation import conversation
from lisa_ros.tabletop.questions.question import FollowUpMix, Question
from lisa_ros.training.scenes.batches import Rng

TRIES = 12
"""Views that are searched for one with two of a kind; after that the last one is used as it is."""

Drawn = tuple[int, View]
"""A view with its number in the cache."""


def draw_other_object(draw: Callable[[], Drawn], rng: Rng) -> tuple[Drawn, list[Question]]:
    """A view and two turns about it, of which the second asks for "the other one".

    Args:
        draw: gives a view of those to learn from.
        rng: source of all other chance.
    """
    there = bool(rng.random() < 0.5)
    mix = FollowUpMix(absent=0.0 if there else 1.0, other=1.0)
    for _ in range(TRIES):
        number, view = draw()
        asked = conversation(view, rng, 2, learning=True, mix=mix)
        if _asks_for_the_other(asked, there):
            break
    return (number, view), asked


def _asks_for_the_other(asked: list[Question], there: bool) -> bool:
    last = asked[-1] if asked else None
    return last is not None and last.follows and "other" in last.text and bool(last.instances) == there


def with_a_twin(view: View, rng: Rng) -> View:
    """The view with one object called what another one is, of another colour; for hints, which do not show shapes.

    As it is where there are no two objects of different kinds and colours.
    """
    items = list(view.objects)
    pairs = [
        (i, j)
        for i, one in enumerate(items)
        for j, other in enumerate(items)
        if one.kind != other.kind and one.colour != other.colour
    ]
    if not pairs:
        return view
    model, twin = pairs[int(rng.integers(len(pairs)))]
    items[twin] = replace(items[twin], kind=items[model].kind)
    return replace(view, objects=tuple(items))
