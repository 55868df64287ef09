# SPDX-License-Identifier: Apache-2.0
"""What every question family works with: the question, the topic that it sets, and how an operator phrases it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lisa_ros.simulation.scene import SceneObject
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions import synonyms
from lisa_ros.tabletop.questions.descriptions import Description, VisibleObjects, every_description
from lisa_ros.tabletop.questions.variations import MORE_REQUESTS, MORE_SHARE, as_typed

T = TypeVar("T")
THREE_SHARE = 0.5
"""How often training names three objects instead of two."""
_WITH_MORE_REQUESTS = (say.ONE_OBJECT, say.SEVERAL_OBJECTS, say.FOR_A_USE)


@dataclass(frozen=True)
class Question:
    """One turn of an operator, with the truth.

    Attributes:
        family: the name of its family.
        text: what the operator types.
        answer: the raw answer, with "[SEG]" where it names the mask. One "[SEG]" stands for all objects together.
        instances: the objects meant, as values of `View.instances`; empty when there is no such object.
        follows: whether the text means something only after the turn before.
        related_to: kind of the object whose place it speaks of; "" where it does not.
        parts: the objects of each "[SEG]", where the answer has more than one; otherwise empty.
    """

    family: str
    text: str
    answer: str
    instances: tuple[int, ...]
    follows: bool = False
    related_to: str = ""
    parts: tuple[tuple[int, ...], ...] = ()

    @property
    def masks(self) -> tuple[tuple[int, ...], ...]:
        """The objects of each "[SEG]" of the answer."""
        return self.parts or ((self.instances,) if self.instances else ())


@dataclass(frozen=True)
class Topic:
    """What a turn was about, for the next one to refer to."""

    description: Description
    items: tuple[SceneObject, ...]


@dataclass(frozen=True)
class Asked:
    """A question and the topic that it sets; without a topic nothing can follow it."""

    question: Question
    topic: Topic | None = None


@dataclass(frozen=True)
class FollowUpMix:
    """How often follow-ups ask for what is not there.

    Attributes:
        absent: share of follow-ups that mean nothing.
        near: share of these that ask for a kind and a colour which are both there, but not together, or for another one
            of a kind; the rest take what comes, most often a kind that is nowhere in sight.
        other: share of follow-ups that ask for "the other one" wherever one may.
    """

    absent: float = 0.25
    near: float = 0.0
    other: float = 0.0


PLAIN = FollowUpMix()
"""What evaluation asks."""


class Operator:
    """One operator's way of phrasing; every random choice of text is made here."""

    def __init__(
        self,
        rng: np.random.Generator,
        held_out: bool,
        learning: bool = False,
        mix: FollowUpMix = PLAIN,
        varied: bool = False,
        all_combinations: bool = False,
    ) -> None:
        """Speak with these random numbers, only held-out phrasings or only the others.

        A learning operator keeps the combinations back that are reserved for evaluation, unless it is given all: it
        neither relates two such kinds nor calls a reserved pair of kind and colour absent. A varied one types as many
        people do, see variations.py.
        """
        self.rng = rng
        self.varied = varied
        self.mix = mix
        self.held_out = held_out
        self.learning = learning
        self.keeps_back = learning and not all_combinations

    def choose(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the options, all alike or by weight."""
        if weights is None:
            return options[int(self.rng.integers(len(options)))]
        shares = np.asarray(weights, dtype=np.float64)
        return options[int(self.rng.choice(len(options), p=shares / shares.sum()))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def phrasing(self, table: say.Phrasings) -> say.Phrasing:
        """A phrasing of the side of the table that this operator speaks."""
        if self.varied and table in _WITH_MORE_REQUESTS and self.chance(MORE_SHARE):
            return self.choose(MORE_REQUESTS[self.held_out])
        return self.choose(table.held_out if self.held_out else table.seen)

    def use(self, use: say.Use) -> str:
        """A way to ask for this use."""
        text = self.choose(use.held_out if self.held_out else use.seen)
        if not self._says_another_word():
            return text
        if len(use.kinds) == 1 and self.chance(0.4):
            return self.choose(synonyms.USES.get(use.kinds[0], (text,)))
        return text.replace("something to ", self.choose(synonyms.SOMETHING_TO))

    def word_for(self, kind: str | None, visible: VisibleObjects) -> str | None:
        """What this operator calls a kind among what can be seen; only a learning, varied one says synonyms."""
        if kind is None or not self._says_another_word():
            return kind
        return self.choose(synonyms.SYNONYMS[kind].sayable({item.kind for item in visible.items}))

    def names_three(self) -> bool:
        """Whether this operator lists three objects, as only a learning, varied one does."""
        return self._learns_more(THREE_SHARE)

    def superlative(self, words: str) -> str:
        """A word for a key of phrasings.SUPERLATIVES."""
        return self._or_another(say.SUPERLATIVES[words], synonyms.SUPERLATIVES.get(words, ()))

    def place(self, words: str) -> str:
        """Words for a key of phrasings.PLACES."""
        return self._or_another(say.PLACES[words], synonyms.PLACES.get(words, ()))

    def the(self, noun: str) -> str:
        """One object with its article, most often "the"."""
        if not self._learns_more(synonyms.OTHER_ARTICLE_SHARE):
            return f"the {noun}"
        return f"{self.choose(synonyms.ARTICLES)} {noun}".replace("a orange", "an orange")

    def _or_another(self, usual: Sequence[str], others: Sequence[str]) -> str:
        return self.choose(others if others and self._says_another_word() else usual)

    def _says_another_word(self) -> bool:
        return self._learns_more(synonyms.SYNONYM_SHARE)

    def _learns_more(self, share: float) -> bool:
        """Whether to say what only a learning, varied operator says; for all others no random number is drawn."""
        return self.learning and self.varied and self.chance(share)

    def typed(self, text: str) -> str:
        """The text as people type: at times without the capital or the last stop."""
        if self.varied:
            text = as_typed(text, self.rng, self.held_out)
        if self.chance(0.25) and not text.startswith("I "):
            text = text[0].lower() + text[1:]
        return text[:-1] if text[-1] in ".?" and self.chance(0.2) else text


Family = Callable[[VisibleObjects, Operator, Topic | None], Asked | None]
"""Asks one question about what can be seen, after the turn before; None where there is no occasion for it."""


def absent_descriptions(visible: VisibleObjects, operator: Operator) -> list[Description]:
    """What is certainly not there, as far as this operator may call it absent."""
    absent = (description for description in every_description() if not visible.fitting(description))
    return [description for description in absent if not (operator.keeps_back and description.is_reserved)]


def asked_for(family: str, text: str, answer: str, items: Sequence[SceneObject]) -> Question:
    """A question about these objects, all of them or, for something absent, none."""
    return Question(family, text, answer, tuple(sorted(item.instance for item in items)))


def marking(opening: str, items: Sequence[SceneObject]) -> str:
    """The answer that marks these objects. A single one is named too, so that later turns can refer to the text."""
    return f"{opening} The {items[0].colour} {items[0].kind}." if len(items) == 1 else opening
