# SPDX-License-Identifier: Apache-2.0
"""Follow-up questions: words that mean something only after the turn before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lisa_ros.simulation.scene import COLOURS, KINDS, SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.asking import Asked, Topic, Voice, asked_for, marking
from lisa_ros.tabletop.questions.descriptions import Description, Sight
from lisa_ros.tabletop.questions.relations import in_place, is_reserved


@dataclass(frozen=True)
class _Link:
    """One way to go on from a topic: the words for it, what they mean then, and the things meant."""

    table: say.Phrasings
    description: Description
    things: tuple[SceneObject, ...]
    refusal: str
    place: str = ""
    anchor: str = ""


def follow(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """A turn that leans on the one before, where there is something to lean on."""
    if before is None:
        return None
    links = [*_other_colours(sight, before), *_the_other(sight, before), *_same_colour(sight, before)]
    links = [link for link in links if link.things or not (voice.learning and link.description.is_unseen)]
    links += _neighbours(sight, before, voice.learning)
    wants_absent = voice.chance(voice.teasing.absent)
    options = [link for link in links if bool(link.things) != wants_absent]
    if not options:
        return None
    if wants_absent and voice.teasing.near:
        options = _nearest_misses(sight, voice, options)
    if voice.teasing.other and voice.chance(voice.teasing.other):
        options = [link for link in options if link.table is say.THE_OTHER] or options
    tables = list(dict.fromkeys(id(link.table) for link in options))  # first how to go on, then where to
    table = voice.choose(tables)
    return _ask_link(voice.choose([link for link in options if id(link.table) == table]), voice)


def _ask_link(link: _Link, voice: Voice) -> Asked:
    phrasing = voice.phrasing(link.table)
    place = voice.choose(say.PLACES[link.place]) if link.place else ""
    words = {"kind": link.description.kind or "thing", "colour": link.description.colour or "", "place": place}
    answer = marking(phrasing.opening, link.things) if link.things else link.refusal
    question = asked_for("follow", voice.typed(phrasing.request.format(**words)), answer, link.things)
    named = Description() if link.place else link.description  # "the thing next to it": nobody said of what kind it is
    return Asked(replace(question, follows=True, related_to=link.anchor), Topic(named, link.things))


def _nearest_misses(sight: Sight, voice: Voice, options: list[_Link]) -> list[_Link]:
    """Links whose kind and colour are there, but not together; all of them where there is none, or by chance."""
    kinds = {None} | {thing.kind for thing in sight.things}
    colours = {None} | {thing.colour for thing in sight.things}
    near = [link for link in options if link.description.kind in kinds and link.description.colour in colours]
    return near if near and voice.chance(voice.teasing.near) else options


def _link(sight: Sight, table: say.Phrasings, description: Description) -> list[_Link]:
    """The link, where its words mean one visible thing or surely none."""
    fitting = sight.fitting(description)
    if len(fitting) > 1 or len(sight.clear(description)) != len(fitting):
        return []
    return [_Link(table, description, fitting, f"There is no {description.noun()} here.")]


def _other_colours(sight: Sight, before: Topic) -> list[_Link]:
    """Such as "and the green one?", or "only the green one" after several of a kind."""
    said = before.description
    narrows = said.kind is not None and said.colour is None and len(before.things) > 1
    if said.colour is None and not narrows:
        return []
    table = say.ONLY_ONE if narrows else say.OTHER_COLOUR
    others = [replace(said, colour=colour) for colour in COLOURS if colour != said.colour]
    return [link for description in others for link in _link(sight, table, description)]


def _the_other(sight: Sight, before: Topic) -> list[_Link]:
    """Such as "and the other mug?" after one of two mugs was meant, or none when it was the only one."""
    kind = before.description.kind
    if kind is None or len(before.things) != 1:
        return []
    every = sight.fitting(Description(kind))
    others = tuple(thing for thing in every if thing not in before.things)
    if len(others) > 1 or len(sight.clear(Description(kind))) != len(every):
        return []
    colour = others[0].colour if others else None
    return [_Link(say.THE_OTHER, Description(kind, colour), others, f"There is no other {kind} here.")]


def _neighbours(sight: Sight, before: Topic, learning: bool) -> list[_Link]:
    """Such as "and the one next to it?" after a turn about one thing."""
    if len(before.things) != 1:
        return []
    (anchor,) = before.things
    others = tuple(thing for thing in sight.clear(Description()) if thing is not anchor)
    found = [(place, in_place(sight, place, others, anchor)) for place in say.PLACES if others]
    return [
        _Link(say.NEIGHBOUR, Description(thing.kind, thing.colour), (thing,), "", place, anchor.kind)
        for place, thing in found
        if thing is not None and not (learning and is_reserved(thing.kind, anchor.kind))
    ]


def _same_colour(sight: Sight, before: Topic) -> list[_Link]:
    """Such as "and the cube of the same colour?" after a turn about one colour."""
    colours: set[str | None] = (
        {thing.colour for thing in before.things} if before.things else {before.description.colour}
    )
    colour = next(iter(colours))
    if len(colours) != 1 or colour is None:
        return []
    kinds = {thing.kind for thing in before.things} | {before.description.kind}
    others = [Description(kind, colour) for kind in KINDS if kind not in kinds]
    return [link for description in others for link in _link(sight, say.SAME_COLOUR, description)]
