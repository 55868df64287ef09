# SPDX-License-Identifier: Apache-2.0
"""Dialogues: apart from each other, bounded, and safe against a reset while a command is being answered."""

import threading

import pytest

from lisa_ros.dialogue import Dialogues, ForgottenTurnError, OperatorError, Turn, operator_name


def turn(number: int) -> Turn:
    return Turn(f"command {number}", f"answer {number}")


def test_turns_are_kept_per_operator_in_order() -> None:
    dialogues = Dialogues()
    assert [dialogues.append("anna", turn(i)) for i in (1, 2)] == [1, 2]
    assert dialogues.append("ben", turn(3)) == 1
    assert dialogues.turns("anna") == (turn(1), turn(2))
    assert dialogues.turns("ben") == (turn(3),)
    assert dialogues.turns("carl") == ()


def test_reset_forgets_one_operator_and_counts_anew() -> None:
    dialogues = Dialogues()
    dialogues.append("anna", turn(1))
    dialogues.append("ben", turn(1))
    assert dialogues.reset("anna") == 1
    assert dialogues.reset("anna") == 0
    assert dialogues.turns("ben") == (turn(1),)
    assert dialogues.append("anna", turn(2)) == 1


def test_oldest_turns_fall_off_and_numbers_go_on() -> None:
    dialogues = Dialogues(max_turns=2)
    assert [dialogues.append("anna", turn(i)) for i in (1, 2, 3)] == [1, 2, 3]
    assert dialogues.turns("anna") == (turn(2), turn(3))
    recall = dialogues.recall("anna")
    assert recall.positions([2, 3]) == (1, 2)
    with pytest.raises(ForgottenTurnError, match=r"turn 1 .*turns 2 to 3 are kept"):
        recall.positions([1])
    with pytest.raises(ForgottenTurnError, match="turn 4"):
        recall.positions([4])


def test_reference_into_an_empty_dialogue_is_refused() -> None:
    with pytest.raises(ForgottenTurnError, match="no turn is kept"):
        Dialogues().recall("anna").positions([1])


def test_operators_beyond_the_bound_fall_off_least_recent_first() -> None:
    dialogues = Dialogues(max_operators=2)
    for operator in ("anna", "ben"):
        dialogues.append(operator, turn(1))
    dialogues.append("anna", turn(2))
    dialogues.append("carl", turn(1))
    assert dialogues.turns("ben") == ()
    assert dialogues.turns("anna") and dialogues.turns("carl")


def test_recall_leaves_no_trace() -> None:
    dialogues = Dialogues(max_operators=2)
    for operator in ("anna", "ben"):
        dialogues.append(operator, turn(1))
    for operator in ("carl", "dora", "anna"):
        dialogues.recall(operator)
    assert dialogues.turns("anna") and dialogues.turns("ben")
    dialogues.append("carl", turn(1))
    assert dialogues.turns("anna") == ()
    assert dialogues.turns("ben") and dialogues.turns("carl")


def test_a_dialogue_that_fell_off_does_not_come_back_half() -> None:
    dialogues = Dialogues(max_operators=1)
    dialogues.append("anna", turn(1))
    recall = dialogues.recall("anna")
    dialogues.append("ben", turn(1))
    assert dialogues.append("anna", turn(2), recall.generation) == 0
    assert dialogues.turns("ben") == (turn(1),)


def test_a_reset_counts_however_many_follow_and_those_of_others_do_not() -> None:
    dialogues = Dialogues()
    anna, ben = dialogues.recall("anna"), dialogues.recall("ben")
    dialogues.reset("anna")
    for i in range(500):
        dialogues.reset(f"operator {i}")
    assert dialogues.append("ben", turn(1), ben.generation) == 1
    for i in range(2000):
        dialogues.reset(f"operator {i}")
    assert dialogues.append("anna", turn(1), anna.generation) == 0
    assert dialogues.append("anna", turn(1), dialogues.recall("anna").generation) == 1


def test_limits_can_be_tightened() -> None:
    dialogues = Dialogues()
    for operator in ("anna", "ben"):
        for i in (1, 2, 3):
            dialogues.append(operator, turn(i))
    dialogues.set_limits(max_turns=1, max_operators=1)
    assert dialogues.turns("anna") == ()
    assert dialogues.turns("ben") == (turn(3),)
    dialogues.set_limits(max_turns=0, max_operators=1)
    assert dialogues.append("ben", turn(4)) == 0
    assert dialogues.turns("ben") == ()


@pytest.mark.parametrize("said_before", [0, 2])
def test_an_answer_begun_before_a_reset_does_not_come_back(said_before: int) -> None:
    dialogues = Dialogues()
    for i in range(said_before):
        dialogues.append("anna", turn(i))
    recall = dialogues.recall("anna")
    dialogues.reset("anna")
    assert dialogues.append("anna", turn(9), recall.generation) == 0
    assert dialogues.turns("anna") == ()
    again = dialogues.recall("anna")
    assert dialogues.append("anna", turn(9), recall.generation) == 0
    assert dialogues.append("anna", turn(10), again.generation) == 1


def test_many_threads_lose_nothing() -> None:
    dialogues = Dialogues(max_turns=1000)
    threads = [
        threading.Thread(target=lambda name=name: [dialogues.append(name, turn(i)) for i in range(200)])
        for name in ("anna", "ben", "anna", "ben")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dialogues.turns("anna")) == len(dialogues.turns("ben")) == 400


def test_operator_names() -> None:
    assert operator_name("") == "default"
    assert operator_name("Ünal 3") == "Ünal 3"
    assert operator_name("x" * 64) == "x" * 64


@pytest.mark.parametrize("bad", ["x" * 65, "   ", "a\nb", "a\x00b", "\u200b"])
def test_bad_operator_names_are_refused(bad: str) -> None:
    with pytest.raises(OperatorError, match="1 to 64 printable"):
        operator_name(bad)
