# SPDX-License-Identifier: Apache-2.0
"""Views made by hand, and what is asked about them."""

from __future__ import annotations

import re

import numpy as np

from lisa_ros.simulation.scene import COLOURS, KINDS, Camera, SceneObject, View
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.conversation import (
    Question,
    conversation,
    questions,
)

PIXELS_EACH = 100


def hand_made_view(*items: tuple[str, str], hidden: tuple[int, ...] = ()) -> View:
    """(kind, colour) pairs, each a 10x10 square in a row; a hidden one shows 2x10 pixels."""
    instances = np.zeros((20, 20 * max(len(items), 1)), dtype=np.uint8)
    objects = []
    for number, (kind, colour) in enumerate(items, start=1):
        instances[5 : 7 if number in hidden else 15, 20 * number - 15 : 20 * number - 5] = number
        objects.append(SceneObject(number, kind, colour, (0.1, 0.1, 0.1), (0.1 * number, 0.0, 0.05)))
    height, width = instances.shape
    depth = np.ones((height, width), dtype=np.float32)
    camera = Camera(width, height, np.eye(3), np.eye(4))
    return View(np.zeros((height, width, 3), np.uint8), depth, instances, tuple(objects), camera)


CROWDED = hand_made_view(
    ("mug", "red"), ("mug", "green"), ("cube", "red"), ("cube", "blue"), ("cube", "blue"), ("duck", "yellow"),
    ("book", "white"),
)  # fmt: skip
SPARSE = hand_made_view(("mug", "red"), ("teddy bear", "blue"))
EMPTY = hand_made_view()
VIEWS = (CROWDED, SPARSE, EMPTY)


def ask(view: View, family: str, count: int = 300, held_out: bool = False) -> list[Question]:
    return questions(view, np.random.default_rng(0), count, held_out, min_pixels=50, weights={family: 1.0})


def talk(view: View, turns: int = 4, count: int = 150, held_out: bool = False) -> list[list[Question]]:
    rng = np.random.default_rng(1)
    return [conversation(view, rng, turns, held_out, min_pixels=50) for _ in range(count)]


def named(text: str, words: tuple[str, ...]) -> str | None:
    """The kind or colour in a text, one of its words; None when there is none."""
    nouns = text.lower().replace("can you", "")  # a verb there, an object elsewhere
    found = [word for word in words if re.search(rf"\b({word}|{say.PLURALS.get(word, word + 's')})\b", nouns)]
    return found[0] if found else None


def described(view: View, text: str) -> tuple[int, ...]:
    """The objects that the kind and the colour in a text fit, found without the code under test."""
    kind, colour = named(text, KINDS), named(text, tuple(COLOURS))
    assert kind or colour, text
    return tuple(o.instance for o in view.objects if kind in (None, o.kind) and colour in (None, o.colour))
