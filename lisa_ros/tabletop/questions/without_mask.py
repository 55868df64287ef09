# SPDX-License-Identifier: Apache-2.0
"""Questions that are answered in text alone: counting, yes or no, objects of unknown kinds, and what is no question."""

from __future__ import annotations

from itertools import product

from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import unknown_language as unknown
from lisa_ros.tabletop.questions.asking import Asked, Topic, Voice, asked_for
from lisa_ros.tabletop.questions.descriptions import Description, Sight, every_description

NOT_UNDERSTOOD = "I do not understand that."

_COUNTING = {
    False: ("How many {xs} are there?", "Count the {xs}.", "How many {xs} do you see?", "How many {xs}?"),
    True: ("How many {xs} can you see?", "Can you count the {xs}?"),
}
_WHETHER = {
    False: ("Is there a {x}?", "Do you see a {x}?", "Are there any {xs}?", "Is there a {x} on the table?"),
    True: ("Can you tell me if there is a {x}?", "Is a {x} there?"),
}


def count(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """The number of objects of a kind or colour; the answer says it in text."""
    options = [d for d in sight.descriptions() if sight.clear(d)]
    absent = [d for d in every_description() if not sight.fitting(d) and not (voice.learning and d.is_unseen)]
    description = voice.choose(absent if not options or voice.chance(0.2) else options)
    number = len(sight.fitting(description))
    if number > max(say.NUMBERS):
        return None
    noun, plural = description.noun(), description.plural()
    text = voice.typed(voice.choose(_COUNTING[voice.held_out]).format(xs=plural))
    if number == 0:
        answer = f"There are no {plural} here."
    elif number == 1:
        answer = f"There is one {noun}."
    else:
        answer = f"There are {say.NUMBERS[number]} {plural}."
    return Asked(asked_for("count", text, answer, ()))


def whether(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """Whether there is such an object; the answer is yes or no, with the object's name."""
    there = voice.chance(0.5)
    present = [d for d in sight.descriptions() if sight.clear(d)]
    absent = [d for d in every_description() if not sight.fitting(d) and not (voice.learning and d.is_unseen)]
    options = present if there else absent
    if not options:
        return None
    description = voice.choose(options)
    noun = description.noun()
    request = voice.choose(_WHETHER[voice.held_out])
    text = voice.typed(request.format(x=noun, xs=description.plural()).replace(" a orange", " an orange"))
    answer = f"Yes, there is a {noun}." if there else f"No, there is no {noun} here."
    return Asked(asked_for("whether", text, answer.replace(" a orange", " an orange"), ()))


def unknown_kind(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """An object of a kind that the simulation does not have."""
    noun = voice.choose(unknown.NOUNS[voice.held_out])
    text = voice.phrasing(say.ONE_OBJECT).request.format(x=f"the {noun}")
    return Asked(asked_for("unknown kind", voice.typed(text), say.NOTHING_LIKE_THAT, ()))


def not_understood(sight: Sight, voice: Voice, before: Topic | None) -> Asked | None:
    """Another language, nonsense, or a sentence about something else."""
    make = voice.choose((_foreign, _nonsense, _off_topic), (0.5, 0.3, 0.2))
    return Asked(asked_for("not understood", make(voice), NOT_UNDERSTOOD, ()))


def _foreign(voice: Voice) -> str:
    language = voice.choose(unknown.LANGUAGES[voice.held_out])
    request, noun = voice.choose(list(product(language.requests, language.nouns)))
    return request.format(x=noun)


def _nonsense(voice: Voice) -> str:
    """Words of random letters, or signs and digits alone."""
    if voice.chance(0.25):
        return "".join(voice.choose("?!.#*+0123456789 %&/-") for _ in range(int(voice.rng.integers(1, 14)))).strip() or "?"
    words = []
    for _ in range(int(voice.rng.integers(1, 6))):
        syllables = int(voice.rng.integers(1, 4))
        words.append("".join(voice.choose("bcdfghjklmnpqrstvwxz") + voice.choose("aeiouy") for _ in range(syllables)))
        if voice.chance(0.4):
            words[-1] += voice.choose("bdfgklmnprstxz")
    return " ".join(words) + voice.choose(("", "?", "."))


def _off_topic(voice: Voice) -> str:
    return voice.choose(unknown.OFF_TOPIC[voice.held_out])
