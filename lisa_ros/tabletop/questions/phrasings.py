# SPDX-License-Identifier: Apache-2.0
"""The words of the questions about the table: tables only, no logic.

Every table has phrasings to learn from (`seen`) and phrasings kept for evaluation (`held_out`). Held-out phrasings put
known words together in a new way: each of their words is also in some seen phrasing, so that they ask for
understanding and not for a word never met.

The opening of an answer belongs to the phrasing of the request. A small model then learns it by heart and keeps its
strength for the masks.
"""

from __future__ import annotations

from dataclasses import dataclass

SEG = "[SEG]"
BARE = f"{SEG}."
IT_IS = f"It is {SEG}."
SURE = f"Sure, {SEG}."
SURE_IT_IS = f"Sure, it is {SEG}."
THESE_ARE = {2: f"They are {SEG} and {SEG}.", 3: f"They are {SEG}, {SEG} and {SEG}."}
RESULT = f"Sure, the segmentation result is {SEG}."

NOTHING_LIKE_THAT = "There is nothing like that here."


@dataclass(frozen=True)
class Phrasing:
    """A request with a slot, and how its answer opens when the object is there."""

    request: str
    opening: str


@dataclass(frozen=True)
class Phrasings:
    """Ways to say one object: those to learn from and those to be tested on."""

    seen: tuple[Phrasing, ...]
    held_out: tuple[Phrasing, ...]


def _phrasings(seen: list[tuple[str, str]], held_out: list[tuple[str, str]]) -> Phrasings:
    return Phrasings(tuple(Phrasing(*pair) for pair in seen), tuple(Phrasing(*pair) for pair in held_out))


ONE_OBJECT = _phrasings(
    [
        ("{x}", BARE),
        ("Can you segment {x} in this image?", SURE_IT_IS),
        ("Please segment {x} in this image.", SURE),
        ("What is {x} in this image? Please output segmentation mask.", RESULT),
        ("What is {x} in this image? Please respond with segmentation mask.", RESULT),
        ("Where is {x}?", IT_IS),
        ("Where is {x} in this image?", IT_IS),
        ("Segment {x}.", SURE),
        ("Find {x}.", SURE_IT_IS),
        ("Can you find {x}?", SURE_IT_IS),
        ("Show me {x}.", SURE_IT_IS),
        ("Give me {x}.", SURE),
        ("Please give me {x}.", SURE),
        ("Point at {x}.", SURE_IT_IS),
        ("Which one is {x}?", IT_IS),
        ("I need {x}.", SURE_IT_IS),
    ],
    [
        ("Can you show me {x}?", SURE_IT_IS),
        ("Please find {x} in this image.", SURE),
        ("Can you point at {x}?", SURE_IT_IS),
        ("Show me where {x} is.", SURE_IT_IS),
        ("Please find me {x}.", SURE),
    ],
)

SEVERAL_OBJECTS = _phrasings(
    [
        ("{x}", BARE),
        ("Can you segment {x} in this image?", SURE_IT_IS),
        ("Please segment {x} in this image.", SURE),
        ("What are {x} in this image? Please output segmentation mask.", RESULT),
        ("Where are {x}?", IT_IS),
        ("Segment {x}.", SURE),
        ("Find {x}.", SURE_IT_IS),
        ("Show me {x}.", SURE_IT_IS),
        ("Give me {x}.", SURE),
        ("Point at {x}.", SURE_IT_IS),
        ("I need {x}.", SURE_IT_IS),
    ],
    [
        ("Can you show me {x}?", SURE_IT_IS),
        ("Please find {x} in this image.", SURE),
        ("Show me where {x} are.", SURE_IT_IS),
    ],
)

FOR_A_USE = _phrasings(
    [
        ("{x}", BARE),
        ("Can you segment {x} in this image?", SURE_IT_IS),
        ("Please segment {x} in this image.", SURE),
        ("What is {x} in this image? Please output segmentation mask.", RESULT),
        ("Find {x}.", SURE_IT_IS),
        ("Can you find {x}?", SURE_IT_IS),
        ("Show me {x}.", SURE_IT_IS),
        ("Give me {x}.", SURE),
        ("I need {x}.", SURE_IT_IS),
        ("Which one is {x}?", IT_IS),
    ],
    [
        ("Can you show me {x}?", SURE_IT_IS),
        ("Please find {x} in this image.", SURE),
        ("Please find me {x}.", SURE),
    ],
)

WITH_A_REASON = _phrasings(
    [
        ("Please segment {x} in this image and explain why.", SURE_IT_IS),
        ("Can you segment {x} in this image? Please output segmentation mask and explain why.", SURE_IT_IS),
        ("Find {x} and explain why.", SURE_IT_IS),
        ("Show me {x} and explain the reason.", SURE_IT_IS),
        ("Which one is {x}? Please explain the reason.", SURE_IT_IS),
        ("{x}, and explain why", SURE_IT_IS),
    ],
    [
        ("Can you find {x} and explain why?", SURE_IT_IS),
        ("Please segment {x} in this image and explain the reason.", SURE_IT_IS),
        ("Point at {x} and explain why.", SURE_IT_IS),
    ],
)

# Second turns. {colour}, {kind}: filled with plain words; what they mean comes from the turn before.
OTHER_COLOUR = _phrasings(
    [
        ("and the {colour} one?", IT_IS),
        ("what about the {colour} one?", IT_IS),
        ("now the {colour} one", SURE_IT_IS),
        ("no, the {colour} one", SURE_IT_IS),
        ("no, I meant the {colour} one", SURE_IT_IS),
    ],
    [
        ("and what about the {colour} one?", IT_IS),
        ("and now the {colour} one", SURE_IT_IS),
        ("I meant the {colour} one", SURE_IT_IS),
    ],
)
ONLY_ONE = _phrasings(
    [("only the {colour} one", SURE_IT_IS), ("just the {colour} one", SURE_IT_IS)],
    [("no, only the {colour} one", SURE_IT_IS), ("now just the {colour} one", SURE_IT_IS)],
)
THE_OTHER = _phrasings(
    [
        ("and the other {kind}?", IT_IS),
        ("now the other {kind}", SURE_IT_IS),
        ("no, the other {kind}", SURE_IT_IS),
        ("what about the other one?", IT_IS),
        ("and the other one?", IT_IS),
    ],
    [
        ("what about the other {kind}?", IT_IS),
        ("no, I meant the other {kind}", SURE_IT_IS),
        ("no, I meant the other one", SURE_IT_IS),
    ],
)
SAME_COLOUR = _phrasings(
    [
        ("and the {kind} of the same colour?", IT_IS),
        ("what about the {kind} of the same colour?", IT_IS),
        ("now the {kind} in that colour", SURE_IT_IS),
    ],
    [("and the {kind} in that colour?", IT_IS), ("now the {kind} of the same colour", SURE_IT_IS)],
)

NEIGHBOUR = _phrasings(
    [
        ("and the one {place} it?", IT_IS),
        ("what about the one {place} it?", IT_IS),
        ("now the one {place} it", SURE_IT_IS),
        ("and the thing {place} it?", IT_IS),
        ("show me the one {place} it", SURE_IT_IS),
    ],
    [
        ("and what about the one {place} it?", IT_IS),
        ("now the thing {place} it", SURE_IT_IS),
        ("what about the thing {place} it?", IT_IS),
    ],
)
"""{place}: one of PLACES; "it" is what the turn before was about."""

PLACES = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "in front of": ("in front of",),
    "behind": ("behind",),
    "next to": ("next to", "closest to"),
}
"""Where an object lies from another, as the camera sees it."""

SUPERLATIVES = {
    "smallest": ("smallest",),
    "biggest": ("biggest", "largest"),
    "leftmost": ("leftmost",),
    "rightmost": ("rightmost",),
    "nearest": ("nearest",),
    "farthest": ("farthest",),
}
"""What one object can be more than all others."""

COLOUR_NOUNS = ("thing", "object")
"""What an object is called when only its colour is said."""

SEVERAL_WORDINGS = ("all the {xs}", "all {xs}", "the {xs}", "the {number} {xs}", "both {xs}")
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
EVERYTHING = ("everything on the table", "all the things on the table")

LISTS = {
    2: ("the {} and the {}", "the {} and {}", "both the {} and the {}"),
    3: ("the {}, the {} and the {}", "the {}, {} and {}", "the {} and the {} and the {}", "the {}, the {}, and the {}"),
}
"""Objects by their names; the first of each is also said in answers."""

PLURALS = {"domino": "dominoes"}
"""Kinds whose plural is not made with an s."""


@dataclass(frozen=True)
class Use:
    """What an object is good for, said without its name.

    Attributes:
        kinds: the kinds that are meant.
        reason: ends the sentence "The red mug is ..." that explains the choice.
        seen: ways to ask for it.
        held_out: ways to ask for it, kept for evaluation.
        near: kinds that a person might accept too; with one of them in the image nobody asks.
    """

    kinds: tuple[str, ...]
    reason: str
    seen: tuple[str, ...]
    held_out: tuple[str, ...]
    near: tuple[str, ...] = ()


USES = (
    Use(
        ("mug",),
        "something to drink from",
        ("something to drink from", "something to drink hot coffee from", "a cup for tea", "something for hot tea"),
        ("something to drink tea from", "a cup for hot coffee"),
        near=("bottle", "can", "bowl"),
    ),
    Use(
        ("duck",),
        "a toy for the bath",
        ("a toy for the bath", "the bird", "an animal that swims", "what a child plays with in the bath"),
        ("a bird that swims", "a toy that swims in the bath"),
    ),
    Use(
        ("teddy bear",),
        "what a child takes to bed",
        (
            "what a child takes to bed",
            "something soft to hug",
            "a soft toy",
            "a toy to sleep with",
            "an animal with fur",
        ),
        ("a soft toy to sleep with", "something soft for bed"),
    ),
    Use(
        ("ball",),
        "something to kick",
        (
            "something to kick",
            "something to play football with",
            "something to throw and catch",
            "what goes into a goal",
        ),
        ("something to throw", "what a child plays football with"),
    ),
    Use(
        ("brick", "cube"),
        "something to build with",
        ("something to build with", "something to build a tower with", "what a child builds with"),
        ("a toy to build with", "what a child builds a tower with"),
        near=("domino",),
    ),
    Use(
        ("brick",),
        "a toy with studs that click together",
        ("a toy with studs that click together", "something with studs", "the plastic piece that clicks"),
        ("the piece with studs", "a plastic toy that clicks together"),
    ),
    Use(
        ("cube",),
        "a thing with six equal sides",
        ("a thing with six equal sides", "something with equal sides", "what has the same size on all sides"),
        ("something with six equal sides", "what has six equal sides"),
    ),
    Use(
        ("domino",),
        "a game piece to put in a row",
        ("a game piece to put in a row", "something to put in a row and knock over", "a flat game piece"),
        ("a game piece to knock over",),
    ),
    Use(
        ("can",),
        "what soda is sold in",
        ("what soda is sold in", "something made of tin", "a tin of soda", "something to open and drink"),
        ("a tin to open", "something made of tin with soda"),
        near=("bottle", "mug"),
    ),
    Use(
        ("plate",),
        "something to serve cake on",
        ("something to serve cake on", "something to put a sandwich on", "a flat thing for food", "a dish for cake"),
        ("something flat to put food on", "a flat dish for a sandwich"),
        near=("bowl",),
    ),
    Use(
        ("book",),
        "something to read",
        ("something to read", "something with pages", "what has a story in it", "something to read to a child in bed"),
        ("a story to read", "what has pages in it"),
    ),
    Use(
        ("bottle",),
        "something to carry water in",
        ("something to carry water in", "something with a cap", "what wine is sold in", "something to pour water from"),
        ("something to pour wine from", "what water is sold in"),
        near=("can", "mug"),
    ),
    Use(
        ("bowl",),
        "something to eat soup from",
        ("something to eat soup from", "a dish for soup", "something to mix a salad in", "what salad is served in"),
        ("something to serve salad in", "what soup is served in"),
        near=("plate", "mug"),
    ),
    Use(
        ("cone",),
        "something to close a road with",
        ("something to close a road with", "something that stands on the road", "what a car must go around"),
        ("what stands on a road", "something to close the road for a car"),
    ),
    Use(
        ("ring",),
        "something round with a hole",
        ("something round with a hole", "something with a hole in the middle", "what looks like a donut"),
        ("a thing with a hole in the middle", "something that looks like a donut"),
    ),
    Use(
        ("duck", "teddy bear"),
        "an animal",
        ("an animal", "the animal", "something that looks like an animal", "what looks like an animal"),
        ("a thing that looks like an animal", "a toy that looks like an animal"),
    ),
    Use(
        ("mug", "plate", "bowl"),
        "something to wash after dinner",
        ("something to wash after dinner", "what you wash after food", "something from the kitchen"),
        ("what you wash after dinner", "something to wash in the kitchen"),
        near=("bottle", "can"),
    ),
)
