# SPDX-License-Identifier: Apache-2.0
"""Question families that compare objects: "the smallest yellow object", "the ball left of the duck"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lisa_ros.simulation.scene import KINDS, SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects
from lisa_ros.tabletop.questions.question import Asked, Operator, Topic, asked_for, marking

CLEARLY_LARGER = 1.25
"""How many times larger the largest must be than the next, in the image and in the room, for nobody to doubt it."""
ASIDE = 0.05
"""How far apart two objects must be for one to be left of the other, as a share of the image's width."""
NEARER_M = 0.05
"""How much nearer to the camera an object must be to be in front of another, metres."""
CLEARLY_NEARER = 1.35
"""How many times farther away than the nearest neighbour the next one must be."""

Measure = Callable[[VisibleObjects, SceneObject], float]


def is_reserved(kind: str, other: str) -> bool:
    """Whether training never relates an object of this kind to one of the other kind: about one pair in seven."""
    return (3 * KINDS.index(kind) + KINDS.index(other)) % 7 == 0


def attribute(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """The one object that is more of something than all others of its kind or colour."""
    groups = [d for d in (*visible.descriptions(), Description()) if len(visible.clear(d)) > 1]
    options = [
        (description, words, item)
        for description in groups
        for words, find in _SUPERLATIVES.items()
        if (item := find(visible, visible.clear(description))) is not None
    ]
    if not options:
        return None
    description, words, item = operator.choose(options, [0.5 if d == Description() else 1.0 for d, _, _ in options])
    noun = description.noun(operator.choose(say.COLOUR_NOUNS), operator.word_for(description.kind, visible))
    phrasing = operator.phrasing(say.ONE_OBJECT)
    text = operator.typed(phrasing.request.format(x=f"the {operator.superlative(words)} {noun}"))
    return Asked(asked_for("attribute", text, marking(phrasing.opening, (item,)), (item,)), Topic(description, (item,)))


def _most(visible: VisibleObjects, items: Sequence[SceneObject], measure: Measure, margin: float) -> SceneObject | None:
    """The object that measures most, by `margin` or more."""
    ranked = sorted(items, key=lambda item: measure(visible, item), reverse=True)
    ahead = measure(visible, ranked[0]) - measure(visible, ranked[1])
    return ranked[0] if ahead >= margin else None


def _biggest(visible: VisibleObjects, items: Sequence[SceneObject]) -> SceneObject | None:
    """Largest in the image and in metres."""
    ranked = sorted(items, key=visible.pixels, reverse=True)
    clear = visible.pixels(ranked[0]) >= CLEARLY_LARGER**2 * visible.pixels(ranked[1])
    return ranked[0] if clear and all(_size_m(ranked[0]) >= _size_m(other) for other in items) else None


def _smallest(visible: VisibleObjects, items: Sequence[SceneObject]) -> SceneObject | None:
    ranked = sorted(items, key=visible.pixels)
    clear = CLEARLY_LARGER**2 * visible.pixels(ranked[0]) <= visible.pixels(ranked[1])
    return ranked[0] if clear and all(_size_m(ranked[0]) <= _size_m(other) for other in items) else None


def _size_m(item: SceneObject) -> float:
    """Longest edge of the box around it, metres."""
    return max(item.extent_m)


_SUPERLATIVES: dict[str, Callable[[VisibleObjects, Sequence[SceneObject]], SceneObject | None]] = {
    "smallest": _smallest,
    "biggest": _biggest,
    "leftmost": lambda visible, items: _most(visible, items, lambda s, t: -s.middle(t)[0], ASIDE),
    "rightmost": lambda visible, items: _most(visible, items, lambda s, t: s.middle(t)[0], ASIDE),
    "nearest": lambda visible, items: _most(visible, items, lambda s, t: -s.depth_m(t), NEARER_M),
    "farthest": lambda visible, items: _most(visible, items, lambda s, t: s.depth_m(t), NEARER_M),
}


def relation(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """One object by where it lies from another one."""
    anchors = [d for d in visible.descriptions() if d.kind and len(visible.clear(d)) == 1]
    if not anchors:
        return None
    anchor = operator.choose(anchors)
    options = _related(visible, operator, visible.clear(anchor)[0])
    if not options:
        return None
    wanted, words, item = operator.choose(options, [_weight(visible, wanted) for wanted, _, _ in options])
    where = operator.place(words)
    phrasing = operator.phrasing(say.ONE_OBJECT)
    noun = wanted.noun(operator.choose(say.COLOUR_NOUNS), operator.word_for(wanted.kind, visible))
    other = anchor.noun(called=operator.word_for(anchor.kind, visible))
    text = operator.typed(phrasing.request.format(x=f"the {noun} {where} the {other}"))
    question = asked_for("relation", text, marking(phrasing.opening, (item,)), (item,))
    return Asked(replace(question, related_to=anchor.kind or ""), Topic(wanted, (item,)))


def _weight(visible: VisibleObjects, description: Description) -> float:
    """Questions that only the relation makes unambiguous count more."""
    return 1.0 if len(visible.fitting(description)) > 1 else 0.25


def _related(
    visible: VisibleObjects, operator: Operator, anchor: SceneObject
) -> list[tuple[Description, str, SceneObject]]:
    """Every (description, place, object) that is true of one clear object and of no other."""
    found = []
    for description in (*visible.descriptions(), Description()):
        items = tuple(item for item in visible.clear(description) if item is not anchor)
        for words in say.PLACES if items else ():
            item = in_place(visible, words, items, anchor)
            if item is not None and not (operator.keeps_back and is_reserved(item.kind, anchor.kind)):
                found.append((description, words, item))
    return found


def in_place(
    visible: VisibleObjects, words: str, items: Sequence[SceneObject], anchor: SceneObject
) -> SceneObject | None:
    """The only one of the objects at that side of the anchor; None where there is none or more than one is possible.

    Args:
        visible: the objects of the view.
        words: a key of `phrasings.PLACES`.
        items: the objects to choose from, without the anchor.
        anchor: where it is measured from.
    """
    if words == "next to":
        return _neighbour(visible, items, anchor)
    ahead = [_ahead(visible, words, item, anchor) for item in items]
    there = [item for item, share in zip(items, ahead, strict=True) if share >= 1.0]
    doubtful = any(0.0 < share < 1.0 for share in ahead)
    return there[0] if len(there) == 1 and not doubtful else None


def _ahead(visible: VisibleObjects, words: str, item: SceneObject, anchor: SceneObject) -> float:
    """How far the object lies on that side of the anchor, in multiples of what is needed."""
    aside = (visible.middle(item)[0] - visible.middle(anchor)[0]) / ASIDE
    behind = (visible.depth_m(item) - visible.depth_m(anchor)) / NEARER_M
    return {"left of": -aside, "right of": aside, "in front of": -behind, "behind": behind}[words]


def _neighbour(visible: VisibleObjects, items: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
    """The nearest on the table, where it is clearly the nearest."""
    ranked = sorted(items, key=lambda item: visible.apart_m(item, anchor))
    if len(ranked) > 1 and visible.apart_m(ranked[1], anchor) <= CLEARLY_NEARER * visible.apart_m(ranked[0], anchor):
        return None
    return ranked[0]
