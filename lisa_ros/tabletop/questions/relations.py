# SPDX-License-Identifier: Apache-2.0
"""Question families that compare things: "the smallest yellow thing", "the ball left of the duck"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lisa_ros.simulation.scene import KINDS, SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.asking import Asked, Topic, Voice, asked_for, marking
from lisa_ros.tabletop.questions.descriptions import Description, Sight

CLEARLY_LARGER = 1.25
"""How many times larger the largest must be than the next, in the picture and in the room, for nobody to doubt it."""
ASIDE = 0.05
"""How far apart two things must be for one to be left of the other, as a share of the picture's width."""
NEARER_M = 0.05
"""How much nearer to the camera a thing must be to be in front of another, metres."""
CLEARLY_NEARER = 1.35
"""How many times farther away than the nearest neighbour the next one must be."""

Measure = Callable[[Sight, SceneObject], float]


def is_reserved(kind: str, other: str) -> bool:
    """Whether training never relates a thing of this kind to one of the other kind: about one pair in seven."""
    return (3 * KINDS.index(kind) + KINDS.index(other)) % 7 == 0


def attribute(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """The one thing that is more of something than all others of its kind or colour."""
    groups = [d for d in (*sight.descriptions(), Description()) if len(sight.clear(d)) > 1]
    options = [
        (description, words, thing)
        for description in groups
        for words, find in _SUPERLATIVES.items()
        if (thing := find(sight, sight.clear(description))) is not None
    ]
    if not options:
        return None
    description, words, thing = voice.choose(options, [0.5 if d == Description() else 1.0 for d, _, _ in options])
    noun = description.noun(voice.choose(say.COLOUR_NOUNS))
    phrasing = voice.phrasing(say.ONE_OBJECT)
    text = voice.typed(phrasing.request.format(x=f"the {voice.choose(say.SUPERLATIVES[words])} {noun}"))
    return Asked(
        asked_for("attribute", text, marking(phrasing.opening, (thing,)), (thing,)), Topic(description, (thing,))
    )


def _most(sight: Sight, things: Sequence[SceneObject], measure: Measure, margin: float) -> SceneObject | None:
    """The thing that measures most, by `margin` or more."""
    ranked = sorted(things, key=lambda thing: measure(sight, thing), reverse=True)
    ahead = measure(sight, ranked[0]) - measure(sight, ranked[1])
    return ranked[0] if ahead >= margin else None


def _biggest(sight: Sight, things: Sequence[SceneObject]) -> SceneObject | None:
    """Largest in the picture and in the room."""
    ranked = sorted(things, key=sight.pixels, reverse=True)
    clear = sight.pixels(ranked[0]) >= CLEARLY_LARGER**2 * sight.pixels(ranked[1])
    return ranked[0] if clear and all(_size_m(ranked[0]) >= _size_m(other) for other in things) else None


def _smallest(sight: Sight, things: Sequence[SceneObject]) -> SceneObject | None:
    ranked = sorted(things, key=sight.pixels)
    clear = CLEARLY_LARGER**2 * sight.pixels(ranked[0]) <= sight.pixels(ranked[1])
    return ranked[0] if clear and all(_size_m(ranked[0]) <= _size_m(other) for other in things) else None


def _size_m(thing: SceneObject) -> float:
    """Longest edge of the box around it, metres."""
    return max(thing.extent_m)


_SUPERLATIVES: dict[str, Callable[[Sight, Sequence[SceneObject]], SceneObject | None]] = {
    "smallest": _smallest,
    "biggest": _biggest,
    "leftmost": lambda sight, things: _most(sight, things, lambda s, t: -s.middle(t)[0], ASIDE),
    "rightmost": lambda sight, things: _most(sight, things, lambda s, t: s.middle(t)[0], ASIDE),
    "nearest": lambda sight, things: _most(sight, things, lambda s, t: -s.depth_m(t), NEARER_M),
    "farthest": lambda sight, things: _most(sight, things, lambda s, t: s.depth_m(t), NEARER_M),
}


def relation(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """One thing by where it lies from another one."""
    anchors = [d for d in sight.descriptions() if d.kind and len(sight.clear(d)) == 1]
    if not anchors:
        return None
    anchor = voice.choose(anchors)
    options = _related(sight, voice, sight.clear(anchor)[0])
    if not options:
        return None
    wanted, words, thing = voice.choose(options, [_weight(sight, wanted) for wanted, _, _ in options])
    where = voice.choose(say.PLACES[words])
    phrasing = voice.phrasing(say.ONE_OBJECT)
    noun = wanted.noun(voice.choose(say.COLOUR_NOUNS))
    text = voice.typed(phrasing.request.format(x=f"the {noun} {where} the {anchor.noun()}"))
    question = asked_for("relation", text, marking(phrasing.opening, (thing,)), (thing,))
    return Asked(replace(question, related_to=anchor.kind or ""), Topic(wanted, (thing,)))


def _weight(sight: Sight, description: Description) -> float:
    """Where the place alone tells the things apart, the question is worth more."""
    return 1.0 if len(sight.fitting(description)) > 1 else 0.25


def _related(sight: Sight, voice: Voice, anchor: SceneObject) -> list[tuple[Description, str, SceneObject]]:
    """Every (description, place, thing) that is true of one clear thing and of no other."""
    found = []
    for description in (*sight.descriptions(), Description()):
        things = tuple(thing for thing in sight.clear(description) if thing is not anchor)
        for words in say.PLACES if things else ():
            thing = in_place(sight, words, things, anchor)
            if thing is not None and not (voice.learning and is_reserved(thing.kind, anchor.kind)):
                found.append((description, words, thing))
    return found


def in_place(sight: Sight, words: str, things: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
    """The only one of the things that lies there from the anchor; None where there is none or room for doubt.

    Args:
        sight: the picture.
        words: a key of `phrasings.PLACES`.
        things: to choose from, without the anchor.
        anchor: where it is measured from.
    """
    if words == "next to":
        return _neighbour(sight, things, anchor)
    ahead = [_ahead(sight, words, thing, anchor) for thing in things]
    there = [thing for thing, share in zip(things, ahead, strict=True) if share >= 1.0]
    doubtful = any(0.0 < share < 1.0 for share in ahead)
    return there[0] if len(there) == 1 and not doubtful else None


def _ahead(sight: Sight, words: str, thing: SceneObject, anchor: SceneObject) -> float:
    """How far the thing lies on that side of the anchor, in multiples of what is needed."""
    aside = (sight.middle(thing)[0] - sight.middle(anchor)[0]) / ASIDE
    behind = (sight.depth_m(thing) - sight.depth_m(anchor)) / NEARER_M
    return {"left of": -aside, "right of": aside, "in front of": -behind, "behind": behind}[words]


def _neighbour(sight: Sight, things: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
    """The nearest on the table, where it is clearly the nearest."""
    ranked = sorted(things, key=lambda thing: sight.apart_m(thing, anchor))
    if len(ranked) > 1 and sight.apart_m(ranked[1], anchor) <= CLEARLY_NEARER * sight.apart_m(ranked[0], anchor):
        return None
    return ranked[0]
