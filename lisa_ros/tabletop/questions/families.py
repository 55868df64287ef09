# SPDX-License-Identifier: Apache-2.0
"""The question families that need no turn before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lisa_ros.simulation.scene import SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.asking import Asked, Topic, Voice, asked_for, marking
from lisa_ros.tabletop.questions.descriptions import Description, Sight, every_description


def _pick(options: Sequence[Description], voice: Voice) -> Description:
    """A description, most often a pair, sometimes the kind alone, seldom the colour alone."""
    return voice.choose(options, [1.0 if d.kind and d.colour else 0.6 if d.kind else 0.4 for d in options])


def direct(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """One thing by its kind, its colour or both, where only one fits."""
    options = [d for d in sight.descriptions() if len(sight.clear(d)) == 1]
    if not options:
        return None
    description = _pick(options, voice)
    phrasing = voice.phrasing(say.ONE_OBJECT)
    text = phrasing.request.format(x=f"the {description.noun(voice.choose(say.COLOUR_NOUNS))}")
    things = sight.clear(description)
    return Asked(
        asked_for("direct", voice.typed(text), marking(phrasing.opening, things), things), Topic(description, things)
    )


def _usable(sight: Sight) -> list[tuple[say.Use, SceneObject]]:
    return [(use, thing) for use in say.USES if (thing := sight.useful(use)) is not None]


def use(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """One thing by what it is good for."""
    options = _usable(sight)
    if not options:
        return None
    use, thing = voice.choose(options)
    phrasing = voice.phrasing(say.FOR_A_USE)
    text = voice.typed(phrasing.request.format(x=voice.use(use)))
    return Asked(asked_for("use", text, marking(phrasing.opening, (thing,)), (thing,)))


def several(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """All things of a kind or colour: one mask for all of them, as LISA does it."""
    options = [d for d in (*sight.descriptions(), Description()) if len(sight.clear(d)) > 1]
    if not options:
        return None
    description = voice.choose(options, [0.3 if d == Description() else 1.0 for d in options])
    things = sight.clear(description)
    phrasing = voice.phrasing(say.SEVERAL_OBJECTS)
    text = voice.typed(phrasing.request.format(x=_group(description, len(things), voice)))
    return Asked(asked_for("several", text, phrasing.opening, things), Topic(description, things))


def pair(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """Two objects by their names, "the red mug and the duck": a mask for each."""
    options = [d for d in sight.descriptions() if d.kind and len(sight.clear(d)) == 1]
    first = voice.choose(options) if options else None
    others = [d for d in options if first and sight.clear(d) != sight.clear(first)]
    if first is None or not others:
        return None
    second = voice.choose(others)
    (one,), (other,) = sight.clear(first), sight.clear(second)
    request = voice.phrasing(say.SEVERAL_OBJECTS).request
    wording = voice.choose(("the {x} and the {y}", "the {x} and {y}", "both the {x} and the {y}"))
    text = voice.typed(request.format(x=wording.format(x=first.noun(), y=second.noun())))
    answer = f"{say.THEY_ARE} The {one.colour} {one.kind} and the {other.colour} {other.kind}."
    parts = ((one.instance,), (other.instance,))
    return Asked(replace(asked_for("pair", text, answer, (one, other)), parts=parts))


def _group(description: Description, size: int, voice: Voice) -> str:
    if description == Description():
        return voice.choose(say.EVERYTHING)
    wordings = [w for w in say.SEVERAL_WORDINGS if size == 2 or "both" not in w]
    wordings = [w for w in wordings if size in say.NUMBERS or "{number}" not in w]
    plural = description.plural(voice.choose(say.COLOUR_NOUNS))
    return voice.choose(wordings).format(xs=plural, number=say.NUMBERS.get(size, ""))


def _missing(sight: Sight, voice: Voice) -> Description:
    """Something that is not there; most often a near miss: the right kind in another colour, or the other way round."""
    missing = [d for d in every_description() if not sight.fitting(d) and not (voice.learning and d.is_unseen)]
    kinds = {thing.kind for thing in sight.things}
    colours = {thing.colour for thing in sight.things}
    groups = [
        [d for d in missing if d.colour and d.kind in kinds],
        [d for d in missing if d.kind and d.colour in colours and d.kind not in kinds],
        [d for d in missing if not d.colour],
        [d for d in missing if not d.kind],
    ]
    filled = [(group, weight) for group, weight in zip(groups, (0.5, 0.2, 0.2, 0.1), strict=True) if group]
    return voice.choose(voice.choose([group for group, _ in filled], [weight for _, weight in filled]))


def absent(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """Something that is not there; the answer says so and has no mask."""
    ask = voice.choose((_no_such_thing, _none_of_them, _nothing_for_that), (0.7, 0.15, 0.15))
    return ask(sight, voice)


def _no_such_thing(sight: Sight, voice: Voice) -> Asked:
    description = _missing(sight, voice)
    noun = description.noun(voice.choose(say.COLOUR_NOUNS))
    table = voice.choose((say.ONE_OBJECT, say.WITH_A_REASON), (0.85, 0.15))
    text = voice.typed(voice.phrasing(table).request.format(x=f"the {noun}"))
    return Asked(asked_for("absent", text, f"There is no {noun} here.", ()), Topic(description, ()))


def _none_of_them(sight: Sight, voice: Voice) -> Asked:
    plural = _missing(sight, voice).plural(voice.choose(say.COLOUR_NOUNS))
    wording = voice.choose([w for w in say.SEVERAL_WORDINGS if "{number}" not in w and "both" not in w])
    request = voice.phrasing(say.SEVERAL_OBJECTS).request
    text = voice.typed(request.format(x=wording.format(xs=plural)))
    return Asked(asked_for("absent", text, f"There are no {plural} here.", ()))


def _nothing_for_that(sight: Sight, voice: Voice) -> Asked:
    options = [use for use in say.USES if sight.useless(use)]
    if not options:
        return _no_such_thing(sight, voice)
    request = voice.phrasing(say.FOR_A_USE).request
    text = voice.typed(request.format(x=voice.use(voice.choose(options))))
    return Asked(asked_for("absent", text, say.NOTHING_LIKE_THAT, ()))


def explain(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """A mask and a reason that names the kind and the colour of the object."""
    usable = _usable(sight)
    if not usable or voice.chance(0.4):
        return _explain_direct(sight, voice)
    use, thing = voice.choose(usable)
    phrasing = voice.phrasing(say.WITH_A_REASON)
    text = voice.typed(phrasing.request.format(x=voice.use(use)))
    answer = f"{phrasing.opening} The {thing.colour} {thing.kind} is {use.reason}."
    return Asked(asked_for("explain", text, answer, (thing,)))


def _explain_direct(sight: Sight, voice: Voice) -> Asked | None:
    options = [d for d in sight.descriptions() if len(sight.clear(d)) == 1]
    if not options:
        return None
    description = _pick(options, voice)
    (thing,) = sight.clear(description)
    noun = description.noun(voice.choose(say.COLOUR_NOUNS))
    phrasing = voice.phrasing(say.WITH_A_REASON)
    text = voice.typed(phrasing.request.format(x=f"the {noun}"))
    answer = f"{phrasing.opening} The {thing.colour} {thing.kind} is the only {noun} here."
    return Asked(asked_for("explain", text, answer, (thing,)), Topic(description, (thing,)))
