# SPDX-License-Identifier: Apache-2.0
"""The question families that need no turn before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lisa_ros.simulation.scene import SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects
from lisa_ros.tabletop.questions.question import Asked, Operator, Topic, absent_descriptions, asked_for, marking


def _pick(options: Sequence[Description], operator: Operator) -> Description:
    """A description, most often a pair, sometimes the kind alone, seldom the colour alone."""
    return operator.choose(options, [1.0 if d.kind and d.colour else 0.6 if d.kind else 0.4 for d in options])


def direct(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """One object by its kind, its colour or both, where only one fits."""
    options = [d for d in visible.descriptions() if len(visible.clear(d)) == 1]
    if not options:
        return None
    description = _pick(options, operator)
    phrasing = operator.phrasing(say.ONE_OBJECT)
    noun = description.noun(operator.choose(say.COLOUR_NOUNS), operator.word_for(description.kind, visible))
    text = phrasing.request.format(x=operator.the(noun))
    items = visible.clear(description)
    return Asked(
        asked_for("direct", operator.typed(text), marking(phrasing.opening, items), items), Topic(description, items)
    )


def _usable(visible: VisibleObjects) -> list[tuple[say.Use, SceneObject]]:
    return [(use, item) for use in say.USES if (item := visible.useful(use)) is not None]


def use(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """One object by what it is good for."""
    options = _usable(visible)
    if not options:
        return None
    use, item = operator.choose(options)
    phrasing = operator.phrasing(say.FOR_A_USE)
    text = operator.typed(phrasing.request.format(x=operator.use(use)))
    return Asked(asked_for("use", text, marking(phrasing.opening, (item,)), (item,)))


def several(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """All objects of a kind or colour: one mask for all of them, as LISA does it."""
    options = [d for d in (*visible.descriptions(), Description()) if len(visible.clear(d)) > 1]
    if not options:
        return None
    description = operator.choose(options, [0.3 if d == Description() else 1.0 for d in options])
    items = visible.clear(description)
    phrasing = operator.phrasing(say.SEVERAL_OBJECTS)
    text = operator.typed(phrasing.request.format(x=_group(description, visible, operator)))
    return Asked(asked_for("several", text, phrasing.opening, items), Topic(description, items))


def pair(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """Two objects by their names, "the red mug and the duck": a mask for each. Training also names three."""
    options = [d for d in visible.descriptions() if d.kind and len(visible.clear(d)) == 1]
    named: list[Description] = []
    for _ in range(3 if operator.names_three() else 2):
        others = [d for d in options if visible.clear(d) not in map(visible.clear, named)]
        if others:
            named.append(operator.choose(others))
    if len(named) < 2:
        return None
    items = [visible.clear(description)[0] for description in named]
    request = operator.phrasing(say.SEVERAL_OBJECTS).request
    wording = operator.choose(say.LISTS[len(named)])
    called = [one.noun(called=operator.word_for(one.kind, visible)) for one in named]
    text = operator.typed(request.format(x=wording.format(*called)))
    names = say.LISTS[len(named)][0].format(*(f"{item.colour} {item.kind}" for item in items))
    answer = f"{say.THESE_ARE[len(named)]} {names[0].upper()}{names[1:]}."
    parts = tuple((item.instance,) for item in items)
    return Asked(replace(asked_for("pair", text, answer, items), parts=parts))


def _group(description: Description, visible: VisibleObjects, operator: Operator) -> str:
    if description == Description():
        return operator.choose(say.EVERYTHING)
    size = len(visible.clear(description))
    wordings = [w for w in say.SEVERAL_WORDINGS if size == 2 or "both" not in w]
    wordings = [w for w in wordings if size in say.NUMBERS or "{number}" not in w]
    plural = description.plural(operator.choose(say.COLOUR_NOUNS), operator.word_for(description.kind, visible))
    return operator.choose(wordings).format(xs=plural, number=say.NUMBERS.get(size, ""))


def _missing(visible: VisibleObjects, operator: Operator) -> Description:
    """Something that is not there; most often a near miss: the right kind in another colour, or the other way round."""
    missing = absent_descriptions(visible, operator)
    kinds = {item.kind for item in visible.items}
    colours = {item.colour for item in visible.items}
    groups = [
        [d for d in missing if d.colour and d.kind in kinds],
        [d for d in missing if d.kind and d.colour in colours and d.kind not in kinds],
        [d for d in missing if not d.colour],
        [d for d in missing if not d.kind],
    ]
    filled = [(group, weight) for group, weight in zip(groups, (0.5, 0.2, 0.2, 0.1), strict=True) if group]
    return operator.choose(operator.choose([group for group, _ in filled], [weight for _, weight in filled]))


def absent(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """Something that is not there; the answer says so and has no mask."""
    ask = operator.choose((_no_such_thing, _none_of_them, _nothing_for_that), (0.7, 0.15, 0.15))
    return ask(visible, operator)


def _no_such_thing(visible: VisibleObjects, operator: Operator) -> Asked:
    description = _missing(visible, operator)
    word = operator.choose(say.COLOUR_NOUNS)
    noun, called = description.noun(word), description.noun(word, operator.word_for(description.kind, visible))
    table = operator.choose((say.ONE_OBJECT, say.WITH_A_REASON), (0.85, 0.15))
    text = operator.typed(operator.phrasing(table).request.format(x=operator.the(called)))
    return Asked(asked_for("absent", text, f"There is no {noun} here.", ()), Topic(description, ()))


def _none_of_them(visible: VisibleObjects, operator: Operator) -> Asked:
    missing = _missing(visible, operator)
    word = operator.choose(say.COLOUR_NOUNS)
    plural, called = missing.plural(word), missing.plural(word, operator.word_for(missing.kind, visible))
    wording = operator.choose([w for w in say.SEVERAL_WORDINGS if "{number}" not in w and "both" not in w])
    request = operator.phrasing(say.SEVERAL_OBJECTS).request
    text = operator.typed(request.format(x=wording.format(xs=called)))
    return Asked(asked_for("absent", text, f"There are no {plural} here.", ()))


def _nothing_for_that(visible: VisibleObjects, operator: Operator) -> Asked:
    options = [use for use in say.USES if visible.useless(use)]
    if not options:
        return _no_such_thing(visible, operator)
    request = operator.phrasing(say.FOR_A_USE).request
    text = operator.typed(request.format(x=operator.use(operator.choose(options))))
    return Asked(asked_for("absent", text, say.NOTHING_LIKE_THAT, ()))


def explain(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """A mask and a reason that names the kind and the colour of the object."""
    usable = _usable(visible)
    if not usable or operator.chance(0.4):
        return _explain_direct(visible, operator)
    use, item = operator.choose(usable)
    phrasing = operator.phrasing(say.WITH_A_REASON)
    text = operator.typed(phrasing.request.format(x=operator.use(use)))
    answer = f"{phrasing.opening} The {item.colour} {item.kind} is {use.reason}."
    return Asked(asked_for("explain", text, answer, (item,)))


def _explain_direct(visible: VisibleObjects, operator: Operator) -> Asked | None:
    options = [d for d in visible.descriptions() if len(visible.clear(d)) == 1]
    if not options:
        return None
    description = _pick(options, operator)
    (item,) = visible.clear(description)
    word = operator.choose(say.COLOUR_NOUNS)
    noun, called = description.noun(word), description.noun(word, operator.word_for(description.kind, visible))
    phrasing = operator.phrasing(say.WITH_A_REASON)
    text = operator.typed(phrasing.request.format(x=operator.the(called)))
    answer = f"{phrasing.opening} The {item.colour} {item.kind} is the only {noun} here."
    return Asked(asked_for("explain", text, answer, (item,)), Topic(description, (item,)))
