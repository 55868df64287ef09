# SPDX-License-Identifier: Apache-2.0
"""The order of a conversation whose turns come from the node."""

from __future__ import annotations

from typing import Any

import pytest

from lisa_ros.nodes.console.conversation import DONE, LOST, MOST_RUNS, Conversation, Exchange

pytestmark = pytest.mark.unit


def turn(number: int, text: str = "", dialogue: str = "t") -> Exchange:
    return Exchange(f"{dialogue}{number}", text, state=DONE, turn=number)


@pytest.mark.parametrize(
    ("shown", "turns", "order"),
    [
        ((), (1, 2), ["t1", "t2"]),
        # A node that was restarted knows turns that are shown, and not the command that was lost before them.
        ((Exchange("lost", "", state=LOST), turn(1)), (1,), ["lost", "t1"]),
        ((Exchange("sent", ""),), (1, 2), ["t1", "t2", "sent"]),
        ((turn(2), Exchange("refused", "", state=DONE), turn(4)), (1, 2, 3, 4), ["t1", "t2", "refused", "t3", "t4"]),
        # A dialogue that was reset while no page was open: "Refer" would mean another command than the one shown.
        (
            (turn(1, "the mug", "old"), turn(2, "", "old"), turn(3, "", "old"), Exchange("sent", "")),
            (1, 2),
            ["old1", "t1", "old2", "old3", "sent"],
        ),
    ],
)
def test_what_is_shown_keeps_its_order(shown: tuple[Exchange, ...], turns: tuple[int, ...], order: list[str]) -> None:
    conversation = Conversation("ann")
    for exchange in shown:
        conversation.put(exchange)
    conversation.merge_turns([turn(number) for number in turns])
    assert [one.id for one in conversation.exchanges] == order


def test_turns_of_a_dialogue_that_was_reset_elsewhere_lose_their_numbers() -> None:
    conversation = Conversation("ann")
    shown: list[dict[str, Any]] = []
    conversation.add_listener(lambda message, exchange: shown.append(message))
    for one in (turn(3), turn(1), turn(2), Exchange("sent", "")):  # answers may come in another order
        conversation.put(one)
    assert len(conversation.exchanges) == 4
    conversation.put(turn(2, "after an undone turn", "new"))
    assert [one.id for one in conversation.exchanges if one.turn] == ["t1", "new2"]
    conversation.put(turn(1, "after a reset", "newest"))
    conversation.put(conversation.exchanges[-1])
    assert [one.id for one in conversation.exchanges if one.turn] == ["newest1"]
    assert [one.id for one in conversation.exchanges] == ["t3", "t1", "t2", "sent", "new2", "newest1"]
    assert [len(one["exchanges"]) for one in shown if one["type"] == "dialogue"] == [0, 5, 6]


@pytest.mark.parametrize("answers", ["put", "merge_turns"])
def test_a_reset_can_be_undone_until_the_next_turn_also_on_a_page_that_opens_later(answers: str) -> None:
    conversation = Conversation("ann")
    conversation.put(turn(1))
    conversation.reset()
    conversation.put(Exchange("refused", "", state=DONE))
    conversation.reset()  # a double click
    assert conversation.snapshot()["can_undo_reset"] is True
    if answers == "put":
        conversation.put(turn(2))
    else:
        conversation.merge_turns([turn(2)])
    assert conversation.snapshot()["can_undo_reset"] is False


def test_masks_of_the_oldest_turns_are_left_out_where_there_are_too_many() -> None:
    def with_masks(number: int, *lengths: int) -> Exchange:
        one = turn(number)
        one.objects = [{"runs": [1] * length, "mask_left_out": False} for length in lengths]
        return one

    conversation, sent = Conversation("ann"), list[dict[str, Any]]()
    conversation.add_listener(lambda message, exchange: sent.append(message))
    third = MOST_RUNS // 3 - 9
    for number, lengths in enumerate(((9, 9), (third, third), (third,)), start=1):
        conversation.put(with_masks(number, *lengths))
    left_out = [[one["mask_left_out"] for one in exchange.objects] for exchange in conversation.exchanges]
    assert left_out == [[False, False], [False, False], [False]]
    conversation.put(with_masks(4, third, third, 9, MOST_RUNS + 1))
    shown = conversation.snapshot()["exchanges"]
    left_out = [[one["mask_left_out"] for one in exchange["objects"]] for exchange in shown]
    assert left_out == [[False, False], [True, True], [False], [False, False, False, True]]
    assert [one["type"] for one in sent] == ["dialogue", *["exchange"] * 4, "masks_left_out"]
    assert sorted(sent[-1]["objects"]) == [("t2", 0), ("t2", 1), ("t4", 3)]
    assert all(one["mask_left_out"] != bool(one["runs"]) for exchange in shown for one in exchange["objects"])
    conversation = Conversation("ann")
    conversation.merge_turns([with_masks(1, third), with_masks(2, MOST_RUNS)])
    assert [one.objects[0]["mask_left_out"] for one in conversation.exchanges] == [True, False]


def test_what_was_deleted_by_many_resets_is_bounded() -> None:
    """Without turns, as with max_turns 0 or without a camera, no turn ends what can be restored."""
    conversation = Conversation("ann")
    for reset in range(3):
        for number in range(40):
            conversation.put(Exchange(f"{reset}-{number}", "the mug", state=DONE))
        conversation.reset()
    conversation.undo_reset()
    assert len(conversation.exchanges) == 50 and conversation.exchanges[-1].id == "2-39"
