# SPDX-License-Identifier: Apache-2.0
"""Questions that are answered in text alone: counting, yes or no, objects of unknown kinds, and what is no question."""

from __future__ import annotations

from itertools import product

from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import unknown_language as unknown
from lisa_ros.tabletop.questions.descriptions import VisibleObjects
from lisa_ros.tabletop.questions.question import Asked, Operator, Topic, absent_descriptions, asked_for

NOT_UNDERSTOOD = "I do not understand that."

COUNTING = {
    False: (
        *("How many {xs} are there?", "Count the {xs}.", "How many {xs} do you see?", "How many {xs}?"),
        *("Tell me how many {xs} there are.", "Count how many {xs} there are.", "How many {xs} are on the table?"),
        *("Can you tell me how many {xs} there are?", "Please count the {xs} for me.", "Could you count the {xs}?"),
        *("Can you count how many {xs} there are?", "Could you tell me how many {xs} you see?"),
    ),
    True: ("How many {xs} can you see?", "Can you count the {xs}?"),
}
WHETHER = {
    False: (
        *("Is there a {x}?", "Do you see a {x}?", "Are there any {xs}?", "Is there a {x} on the table?"),
        *("Can you see a {x}?", "Can you see any {xs}?", "Tell me if there is a {x}.", "Are the {xs} there?"),
        *("Is there any {x} here?", "Do you see any {xs} on the table?"),
    ),
    True: ("Can you tell me if there is a {x}?", "Is a {x} there?"),
}


def count(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """The number of objects of a kind or colour; the answer says it in text."""
    options = [d for d in visible.descriptions() if visible.clear(d)]
    absent = absent_descriptions(visible, operator)
    description = operator.choose(absent if not options or operator.chance(0.2) else options)
    number = len(visible.fitting(description))
    if number > max(say.NUMBERS):
        return None
    noun, plural = description.noun(), description.plural()
    called = description.plural(called=operator.word_for(description.kind, visible))
    text = operator.typed(operator.choose(COUNTING[operator.held_out]).format(xs=called))
    if number == 0:
        answer = f"There are no {plural} here."
    elif number == 1:
        answer = f"There is one {noun}."
    else:
        answer = f"There are {say.NUMBERS[number]} {plural}."
    return Asked(asked_for("count", text, answer, ()))


def whether(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """Whether there is such an object; the answer is yes or no, with the object's name."""
    there = operator.chance(0.5)
    present = [d for d in visible.descriptions() if visible.clear(d)]
    absent = absent_descriptions(visible, operator)
    options = present if there else absent
    if not options:
        return None
    description = operator.choose(options)
    noun = description.noun()
    request = operator.choose(WHETHER[operator.held_out])
    called = operator.word_for(description.kind, visible)
    said = request.format(x=description.noun(called=called), xs=description.plural(called=called))
    text = operator.typed(said.replace(" a orange", " an orange"))
    answer = f"Yes, there is a {noun}." if there else f"No, there is no {noun} here."
    return Asked(asked_for("whether", text, answer.replace(" a orange", " an orange"), ()))


def unknown_kind(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """An object of a kind that the simulation does not have."""
    noun = operator.choose(unknown.NOUNS[operator.held_out])
    text = operator.phrasing(say.ONE_OBJECT).request.format(x=f"the {noun}")
    return Asked(asked_for("unknown kind", operator.typed(text), say.NOTHING_LIKE_THAT, ()))


def not_understood(visible: VisibleObjects, operator: Operator, before: Topic | None) -> Asked | None:
    """Another language, nonsense, or a sentence about something else."""
    make = operator.choose((_foreign, _nonsense, _off_topic), (0.5, 0.3, 0.2))
    return Asked(asked_for("not understood", make(operator), NOT_UNDERSTOOD, ()))


def _foreign(operator: Operator) -> str:
    language = operator.choose(unknown.LANGUAGES[operator.held_out])
    request, noun = operator.choose(list(product(language.requests, language.nouns)))
    return request.format(x=noun)


def _nonsense(operator: Operator) -> str:
    """Words of random letters, or signs and digits alone."""
    if operator.chance(0.25):
        return (
            "".join(operator.choose("?!.#*+0123456789 %&/-") for _ in range(int(operator.rng.integers(1, 14)))).strip()
            or "?"
        )
    words = []
    for _ in range(int(operator.rng.integers(1, 6))):
        syllables = int(operator.rng.integers(1, 4))
        words.append(
            "".join(operator.choose("bcdfghjklmnpqrstvwxz") + operator.choose("aeiouy") for _ in range(syllables))
        )
        if operator.chance(0.4):
            words[-1] += operator.choose("bdfgklmnprstxz")
    return " ".join(words) + operator.choose(("", "?", "."))


def _off_topic(operator: Operator) -> str:
    return operator.choose(unknown.OFF_TOPIC[operator.held_out])
