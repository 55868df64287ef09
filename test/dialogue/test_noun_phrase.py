# SPDX-License-Identifier: Apache-2.0
"""The noun phrase of a command."""

from itertools import product

import pytest

from lisa_ros.dialogue.noun_phrase import MAX_LENGTH, noun_phrase, plain_name
from lisa_ros.tabletop.questions import phrasings as say
from lisa_ros.tabletop.questions.descriptions import every_description

COMMANDS = {
    "Can you find the red mug left of the plate?": "red mug",
    "hand me something to drink from": "something to drink from",
    "All of the mugs, please.": "mugs",
    "take the screwdriver and put it into the box": "screwdriver",
    "and the teddy bear of the same colour?": "teddy bear",
    "the mug that is closest to me": "mug",
    "two of the mugs": "mugs",
    "What can I drink out of?": "what can i drink out of",
    "the one on the left": "one on the left",
    "Everything on the table": "everything on the table",
    "Find something to build with and explain why.": "something to build with",
    "No, not the mug.": "not the mug",
    "rotes Auto": "rotes auto",
    "杯子": "杯子",
    "a red and white ball on the floor": "red-and-white ball",
    "can you see the pick-up truck?": "pick-up truck",
    "???": "object",
    "": "object",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_noun_of_a_command_with_its_adjectives(command: str) -> None:
    assert noun_phrase(command) == COMMANDS[command]


def test_every_way_to_ask_for_an_object_of_the_table_gives_its_name() -> None:
    tables = (say.ONE_OBJECT, say.WITH_A_REASON)
    requests = {p.request for table in tables for p in (*table.seen, *table.held_out)}
    places = [words for ways in say.PLACES.values() for words in ways]
    named = [f"{colour} {kind}" for colour, kind in (("red", "mug"), ("green", "teddy bear"), ("black", "can"))]
    named += [d.noun() for d in every_description() if d.kind and not d.colour]
    ends = ["", *(f" {place} the blue plate" for place in places)]
    wrong = {
        text: found
        for request, noun, end in product(sorted(requests), named, ends)
        if (found := noun_phrase(text := request.format(x=f"the {noun}{end}"))) != noun
    }
    assert len(requests) * len(named) > 300
    assert wrong == {}


def test_groups_are_named_in_the_plural() -> None:
    requests = {p.request for p in (*say.SEVERAL_OBJECTS.seen, *say.SEVERAL_OBJECTS.held_out)}
    for request, wording in product(sorted(requests), say.SEVERAL_WORDINGS):
        assert noun_phrase(request.format(x=wording.format(xs="blue cubes", number="three"))) == "blue cubes"


def test_a_phrase_is_never_longer_than_its_limit() -> None:
    assert len(noun_phrase("wordy " * 100)) <= MAX_LENGTH
    assert noun_phrase("x" * 200) == "x" * MAX_LENGTH


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("the red mug", "red mug"),
        ("Can you find every red mug?", "red mug"),
        ("all the bottles, please.", "bottles"),
        ("where is the mug?", "mug"),
        ("red mug", "red mug"),
        ("the mug left of the plate", None),
        ("the biggest mug", None),
        ("the other one", None),
        ("this mug", None),
        ("my mug", None),
        ("two mugs", None),
        ("the second mug", None),
        ("something to drink from", None),
        ("what would a child play with?", None),
        ("what is this?", None),
        ("why?", None),
        ("the mug and the plate", None),
        ("the red mug. Explain why.", None),
        ("the thing that one drinks from", None),
        ("...", None),
        ("", None),
    ],
)
def test_a_plain_name_is_a_request_an_article_and_a_name(command: str, name: str | None) -> None:
    assert plain_name(command) == name
