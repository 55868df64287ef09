# SPDX-License-Identifier: Apache-2.0
"""Follow-up questions: text whose meaning depends on the turn before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lisa_ros.simulation.scene import COLOURS, KINDS, SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects
from lisa_ros.tabletop.questions.question import Asked, Operator, Topic, asked_for, marking
from lisa_ros.tabletop.questions.relations import in_place, is_reserved


@dataclass(frozen=True)
class _Link:
    """One way to go on from a topic: the words for it, what they mean then, and the objects meant."""

    table: say.Phrasings
    description: Description
    items: tuple[SceneObject, ...]
    refusal: str
    place: str = ""
    anchor: str = ""


def follow(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """A turn that depends on the one before, where that has a topic."""
    if before is None:
        return None
    links = [*_other_colours(visible, before), *_the_other(visible, before), *_same_colour(visible, before)]
    links = [link for link in links if link.items or not (operator.keeps_back and link.description.is_reserved)]
    links += _neighbours(visible, before, operator.keeps_back)
    wants_absent = operator.chance(operator.mix.absent)
    options = [link for link in links if bool(link.items) != wants_absent]
    if not options:
        return None
    if wants_absent and operator.mix.near:
        options = _nearest_misses(visible, operator, options)
    if operator.mix.other and operator.chance(operator.mix.other):
        options = [link for link in options if link.table is say.THE_OTHER] or options
    tables = list(dict.fromkeys(id(link.table) for link in options))  # first how to go on, then where to
    table = operator.choose(tables)
    chosen = operator.choose([link for link in options if id(link.table) == table])
    return _ask_link(chosen, visible, operator)


def _ask_link(link: _Link, visible: VisibleObjects, operator: Operator) -> Asked:
    phrasing = operator.phrasing(link.table)
    place = operator.place(link.place) if link.place else ""
    kind = operator.word_for(link.description.kind, visible) or "thing"
    words = {"kind": kind, "colour": link.description.colour or "", "place": place}
    answer = marking(phrasing.opening, link.items) if link.items else link.refusal
    question = asked_for("follow", operator.typed(phrasing.request.format(**words)), answer, link.items)
    named = Description() if link.place else link.description  # "the object next to it": nobody said of what kind it is
    return Asked(replace(question, follows=True, related_to=link.anchor), Topic(named, link.items))


def _nearest_misses(visible: VisibleObjects, operator: Operator, options: list[_Link]) -> list[_Link]:
    """Links whose kind and colour are there, but not together; all of them where there is none, or at random."""
    kinds = {None} | {item.kind for item in visible.items}
    colours = {None} | {item.colour for item in visible.items}
    near = [link for link in options if link.description.kind in kinds and link.description.colour in colours]
    return near if near and operator.chance(operator.mix.near) else options


def _link(visible: VisibleObjects, table: say.Phrasings, description: Description) -> list[_Link]:
    """The link, where it means one visible object or certainly none."""
    fitting = visible.fitting(description)
    if len(fitting) > 1 or len(visible.clear(description)) != len(fitting):
        return []
    return [_Link(table, description, fitting, f"There is no {description.noun()} here.")]


def _other_colours(visible: VisibleObjects, before: Topic) -> list[_Link]:
    """Such as "and the green one?", or "only the green one" after several of a kind."""
    said = before.description
    narrows = said.kind is not None and said.colour is None and len(before.items) > 1
    if said.colour is None and not narrows:
        return []
    table = say.ONLY_ONE if narrows else say.OTHER_COLOUR
    others = [replace(said, colour=colour) for colour in COLOURS if colour != said.colour]
    return [link for description in others for link in _link(visible, table, description)]


def _the_other(visible: VisibleObjects, before: Topic) -> list[_Link]:
    """Such as "and the other mug?" after one of two mugs was meant, or none when it was the only one."""
    kind = before.description.kind
    if kind is None or len(before.items) != 1:
        return []
    every = visible.fitting(Description(kind))
    others = tuple(item for item in every if item not in before.items)
    if len(others) > 1 or len(visible.clear(Description(kind))) != len(every):
        return []
    colour = others[0].colour if others else None
    return [_Link(say.THE_OTHER, Description(kind, colour), others, f"There is no other {kind} here.")]


def _neighbours(visible: VisibleObjects, before: Topic, keeps_back: bool) -> list[_Link]:
    """Such as "and the one next to it?" after a turn about one object."""
    if len(before.items) != 1:
        return []
    (anchor,) = before.items
    others = tuple(item for item in visible.clear(Description()) if item is not anchor)
    found = [(place, in_place(visible, place, others, anchor)) for place in say.PLACES if others]
    return [
        _Link(say.NEIGHBOUR, Description(item.kind, item.colour), (item,), "", place, anchor.kind)
        for place, item in found
        if item is not None and not (keeps_back and is_reserved(item.kind, anchor.kind))
    ]


def _same_colour(visible: VisibleObjects, before: Topic) -> list[_Link]:
    """Such as "and the cube of the same colour?" after a turn about one colour."""
    colours: set[str | None] = {item.colour for item in before.items} if before.items else {before.description.colour}
    colour = next(iter(colours))
    if len(colours) != 1 or colour is None:
        return []
    kinds = {item.kind for item in before.items} | {before.description.kind}
    others = [Description(kind, colour) for kind in KINDS if kind not in kinds]
    return [link for description in others for link in _link(visible, say.SAME_COLOUR, description)]
