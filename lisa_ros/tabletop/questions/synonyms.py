# SPDX-License-Identifier: Apache-2.0
"""Other words for the same things. Only training asks with them: the questions of the evaluation stay the same."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lisa_ros.tabletop.questions import phrasings as say

SYNONYM_SHARE = 0.35
"""How often training says another word."""
OTHER_ARTICLE_SHARE = 0.12
"""How often training says another word instead of "the"."""
ARTICLES = ("a", "my", "that", "this")
"""Instead of "the", before one object."""


@dataclass(frozen=True)
class Synonyms:
    """Other words for a kind.

    Attributes:
        words: clear in every image.
        doubtful: words that also fit the kinds of `near`, so that nobody says them where one of these is.
        near: these kinds.
    """

    words: tuple[str, ...]
    doubtful: tuple[str, ...] = ()
    near: tuple[str, ...] = ()

    def sayable(self, kinds: Collection[str]) -> tuple[str, ...]:
        """The words that mean this kind alone in an image of these kinds."""
        return self.words if any(kind in kinds for kind in self.near) else self.words + self.doubtful


SYNONYMS: dict[str, Synonyms] = {
    "mug": Synonyms(("cup", "coffee mug", "coffee cup", "tea cup", "drinking cup")),
    "duck": Synonyms(("rubber duck", "toy duck", "ducky", "bath duck")),
    "teddy bear": Synonyms(("teddy", "bear", "stuffed bear", "toy bear", "plush bear", "plush toy", "teddybear")),
    "ball": Synonyms(("football", "soccer ball", "toy ball", "sphere")),
    "brick": Synonyms(("lego brick", "lego", "toy brick", "lego block"), ("building block",), ("cube", "domino")),
    "domino": Synonyms(("domino piece", "domino tile", "domino stone", "domino block")),
    "cube": Synonyms(("dice", "die", "box"), ("block", "toy block", "wooden block"), ("brick", "domino")),
    "can": Synonyms(("tin", "tin can", "soda can", "drink can", "beer can", "coke can")),
    "plate": Synonyms(("dinner plate", "saucer"), ("dish",), ("bowl",)),
    "book": Synonyms(("notebook", "textbook", "novel", "paperback")),
    "bottle": Synonyms(("water bottle", "wine bottle", "plastic bottle", "flask")),
    "bowl": Synonyms(("soup bowl", "salad bowl", "cereal bowl"), ("dish",), ("plate",)),
    "cone": Synonyms(("traffic cone", "road cone", "safety cone", "pylon")),
    "ring": Synonyms(("donut", "doughnut", "hoop", "circle")),
}

PLURALS = {
    **say.PLURALS,
    **{"box": "boxes", "dice": "dice", "die": "dice", "dish": "dishes", "ducky": "duckies", "teddy": "teddies"},
}
"""Of kinds and of other words for them, those that are not made with an s."""

SUPERLATIVES: dict[str, tuple[str, ...]] = {
    "smallest": ("tiniest",),
    "nearest": ("closest",),
    "farthest": ("furthest",),
}
"""As phrasings.SUPERLATIVES."""

PLACES: dict[str, tuple[str, ...]] = {
    "left of": ("on the left of", "on the left side of", "left from"),
    "right of": ("on the right of", "on the right side of", "right from"),
    "behind": ("in back of",),
    "next to": ("beside", "near", "near to", "nearest to", "right next to"),
}
"""As phrasings.PLACES."""

SOMETHING_TO = (
    *("something I can ", "a thing to ", "an object to ", "something you can ", "something that I can "),
    *("a thing that you can ", "I want something to ", "I want to "),
)
"""Instead of "something to "; what follows is a verb."""

USES: dict[str, tuple[str, ...]] = {
    "mug": ("something for my coffee", "something for tea", "I want to drink coffee", "something with a handle"),
    "duck": ("a yellow bird for the bath", "something for the bathtub", "a bath toy"),
    "teddy bear": ("something to cuddle", "a stuffed animal", "a plush toy", "what a child hugs"),
    "ball": ("something to play soccer with", "something that rolls", "something that bounces"),
    "domino": ("a game tile", "a tile of a game"),
    "can": ("something made of metal", "something to recycle", "a drink in a tin"),
    "plate": ("something to put food on", "something to eat from with a fork"),
    "book": ("something with text", "something with a story", "something for reading"),
    "bottle": ("something to pour from", "a container for water"),
    "bowl": ("something for soup", "something to eat cereal from"),
    "cone": ("something to mark a road with", "what stands on a street"),
    "ring": ("the round thing with a hole", "something you can look through"),
}
"""Other ways to ask for what only this kind is for."""


def all_nouns() -> list[str]:
    """Every other word for a kind."""
    return [word for kind in SYNONYMS.values() for word in kind.words + kind.doubtful]


def all_words() -> list[str]:
    """Every text of the tables above."""
    nouns = all_nouns()
    tables = (*SUPERLATIVES.values(), *PLACES.values(), *USES.values(), ARTICLES, SOMETHING_TO)
    return [*nouns, *map(plural_of, nouns), *(text for table in tables for text in table)]


def known_names() -> dict[str, str]:
    """The kind, by each word that means it in every image; the same in plural. The kinds stand for themselves."""
    names: dict[str, str] = {}
    for kind, synonyms in SYNONYMS.items():
        for word in (kind, *synonyms.words):
            names |= {word: kind, plural_of(word): plural_of(kind)}
    return {**names, "dice": "cube"}  # of which it is also the plural


def plural_of(word: str) -> str:
    """The plural of a noun: a kind, another word for it, or what an object of any kind is called."""
    first, _, last = word.rpartition(" ")
    return f"{first} {PLURALS.get(last, last + 's')}".strip()
