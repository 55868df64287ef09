# SPDX-License-Identifier: Apache-2.0
"""Which earlier turns the text of a command refers to."""

from __future__ import annotations

import pytest

from lisa_ros.dialogue.references import Referred, ReferringError, from_marks, from_text


@pytest.mark.parametrize(
    ("command", "turns"),
    [
        ("the handle of it", (3,)),
        ("its lid", (3,)),
        ("Segment the cup next to that one.", (3,)),
        ("the person wearing that?", (3,)),
        ("the mask from before", (3,)),
        ("the previous one", (3,)),
        ("what lies on the object you just found", (3,)),
        ("the same one", (3,)),
        ("the handle of the first one", (1,)),
        ("something left of the second", (2,)),
        ("the thing between the first and that one", (3,)),
        ("the thing between the first one and the third mask", (1, 3)),
        ("what is between them?", (2, 3)),
        ("the lid of both", (2, 3)),
        ("the mug behind these two", (2, 3)),
        ("the lid that goes with it", (3,)),
        ("what can I cut with it?", (3,)),
        ("the person who has it", (3,)),
        ("And its handle?", (3,)),
        ("it and its handle", (3,)),
    ],
)
def test_text_that_refers(command: str, turns: tuple[int, ...]) -> None:
    assert from_text(command, [1, 2, 3]) == Referred(command, turns)


@pytest.mark.parametrize(
    "command",
    [
        "the red mug",
        "the first drawer",
        "the first one from the left",
        "the last one on the right",
        "the fifth one",
        "the cup with a spoon in it",
        "a box that has something on it",
        "the item",
        "the mug before the bowl",
        "the kitten",
        "the mug and its handle",
        "the dog and its leash",
        "the chairs and their legs",
        "the mug with its lid",
    ],
)
def test_text_that_does_not_refer(command: str) -> None:
    assert from_text(command, [1, 2, 3]) == Referred(command, ())


@pytest.mark.parametrize("command", ["it", "that one", "the first one", "between them"])
def test_nothing_to_refer_to(command: str) -> None:
    assert from_text(command, []).turns == ()


def test_both_after_a_single_turn_is_that_turn() -> None:
    assert from_text("the lid of both", [1]).turns == (1,)


@pytest.mark.parametrize(
    ("command", "text", "turns"),
    [
        ("the handle of [REF:2].", "the handle of.", (2,)),
        ("[REF:1] what is next to it", "what is next to it", (1,)),
        ("the thing between [REF:3] and [ref: 1]", "the thing between and", (3, 1)),
        ("both of [REF:1,2] please", "both of please", (1, 2)),
        ("it [REF:none]", "it", ()),
    ],
)
def test_marks_have_priority_over_words(command: str, text: str, turns: tuple[int, ...]) -> None:
    assert from_text(command, [1, 2, 3]) == Referred(text, turns, explicit=True)
    assert from_marks(command, [1, 2, 3]) == Referred(text, turns, explicit=True)


def test_marks_alone() -> None:
    assert from_marks("the handle of it [see there]", [1, 2, 3]) == Referred("the handle of it [see there]", ())


@pytest.mark.parametrize(
    ("number", "turns", "message"),
    [(4, [1, 2, 3], "turns 1 to 3 are kept"), (0, [1, 2, 3], "1 to 3"), (1, [], "no turn")],
)
def test_a_mark_without_its_turn(number: int, turns: list[int], message: str) -> None:
    with pytest.raises(ReferringError, match=message):
        from_text(f"the handle of [REF:{number}]", turns)


@pytest.mark.parametrize(
    ("command", "turns"),
    [
        ("the lid of the fourth one", (4,)),
        ("the lid of the first one", ()),
        ("the lid of it", (5,)),
        ("the lid of both", (4, 5)),
        ("[REF:5] the lid", (5,)),
        ("[REF:5,4] the lid", (5, 4)),
    ],
)
def test_numbers_stay_when_the_oldest_turns_are_forgotten(command: str, turns: tuple[int, ...]) -> None:
    """Of five turns the last two are kept."""
    assert from_text(command, [4, 5]).turns == turns


@pytest.mark.parametrize("number", [2, 3, 6])
def test_a_mark_of_a_forgotten_turn(number: int) -> None:
    with pytest.raises(ReferringError, match=rf"\[REF:{number}\], but turns 4 to 5 are kept"):
        from_text(f"the lid of [REF:{number}]", [4, 5])
