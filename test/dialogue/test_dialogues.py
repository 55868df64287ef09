# SPDX-License-Identifier: Apache-2.0
"""Dialogues: separate for each operator, limited, and consistent when a reset meets a pending answer."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from lisa_ros.dialogue.dialogues import (
    DialogueLimits,
    Dialogues,
    ForgottenTurnError,
    UndoError,
)
from lisa_ros.dialogue.operators import OperatorError, operator_name
from lisa_ros.segmentation.answers import Finished, ObjectMask
from lisa_ros.segmentation.turns import Turn, turn_of


def turn(number: int) -> Turn:
    return Turn(f"command {number}", f"answer {number}")


def kept(dialogues: Dialogues, operator: str) -> list[tuple[int, str]]:
    """Numbers and commands of an operator's turns."""
    return [(one.number, one.command) for one in dialogues.turns(operator)]


def test_turns_are_kept_per_operator_in_order() -> None:
    dialogues = Dialogues()
    assert [dialogues.append("anna", turn(i)) for i in (1, 2)] == [1, 2]
    assert dialogues.append("ben", turn(3)) == 1
    assert kept(dialogues, "anna") == [(1, "command 1"), (2, "command 2")]
    assert kept(dialogues, "ben") == [(1, "command 3")]
    assert kept(dialogues, "carl") == []


def test_a_turn_is_kept_without_its_probabilities_and_refined_masks() -> None:
    """They are not counted in max_dialogue_mib, and not in the file."""
    dialogues = Dialogues()
    mask = np.ones((2, 3), dtype=np.bool_)
    probability = lambda: np.ones((2, 3), dtype=np.float32)  # noqa: E731
    found = ObjectMask(mask, (0, 5), score=0.5, probability=probability, refined=~mask)
    dialogues.append("anna", Turn("where?", "[SEG]", (found,)))
    (stored,) = dialogues.turns("anna")[0].objects
    assert stored.probability is None and found.probability is not None
    assert stored.refined is None and found.refined is not None
    assert stored.mask is mask and (stored.span, stored.score) == ((0, 5), 0.5)


def test_a_turn_has_the_references_of_its_answer() -> None:
    found = ObjectMask(np.ones((2, 2), np.bool_), (0, 5))
    made = turn_of("the lid", Finished("[SEG]", (found,), "end", references=(1, 3)), 4)
    assert (made.number, made.references) == (4, (1, 3))
    assert (made.command, made.answer, made.objects) == ("the lid", "[SEG]", (found,))


def test_reset_forgets_one_operator_and_numbers_begin_again() -> None:
    dialogues = Dialogues()
    dialogues.append("anna", turn(1))
    dialogues.append("ben", turn(1))
    assert dialogues.reset("anna") == 1
    assert dialogues.reset("anna") == 0
    assert kept(dialogues, "ben") == [(1, "command 1")]
    assert dialogues.append("anna", turn(2)) == 1


def test_the_oldest_turns_are_forgotten_and_the_others_keep_their_numbers() -> None:
    dialogues = Dialogues(DialogueLimits(max_turns=2))
    assert [dialogues.append("anna", turn(i)) for i in (1, 2, 3)] == [1, 2, 3]
    assert kept(dialogues, "anna") == [(2, "command 2"), (3, "command 3")]
    snapshot = dialogues.snapshot("anna")
    snapshot.check_kept([3, 2])
    with pytest.raises(ForgottenTurnError, match=r"turn 1 .*turns 2 to 3 are kept"):
        snapshot.check_kept([3, 1])
    with pytest.raises(ForgottenTurnError, match="turn 4"):
        snapshot.check_kept([4])
    with pytest.raises(ForgottenTurnError, match="no turn is kept"):
        dialogues.snapshot("ben").check_kept([1])


def test_the_operator_idle_longest_is_forgotten_first() -> None:
    dialogues = Dialogues(DialogueLimits(max_operators=2))
    for operator in ("anna", "ben"):
        dialogues.append(operator, turn(1))
    dialogues.append("anna", turn(2))
    dialogues.append("carl", turn(1))
    assert dialogues.turns("ben") == ()
    assert dialogues.turns("anna") and dialogues.turns("carl")


def test_a_snapshot_changes_nothing() -> None:
    dialogues = Dialogues(DialogueLimits(max_operators=2))
    for operator in ("anna", "ben"):
        dialogues.append(operator, turn(1))
    for operator in ("carl", "dora", "anna"):
        dialogues.snapshot(operator)
    assert dialogues.turns("anna") and dialogues.turns("ben")
    dialogues.append("carl", turn(1))
    assert dialogues.turns("anna") == ()
    assert dialogues.turns("ben") and dialogues.turns("carl")


def test_a_forgotten_dialogue_does_not_return_by_a_pending_answer() -> None:
    dialogues = Dialogues(DialogueLimits(max_operators=1))
    dialogues.append("anna", turn(1))
    snapshot = dialogues.snapshot("anna")
    dialogues.append("ben", turn(1))
    assert dialogues.append("anna", turn(2), snapshot.generation) == 0
    assert kept(dialogues, "ben") == [(1, "command 1")]


def test_resets_of_other_operators_do_not_drop_an_answer() -> None:
    dialogues = Dialogues()
    anna, ben = dialogues.snapshot("anna"), dialogues.snapshot("ben")
    dialogues.reset("anna")
    for i in range(500):
        dialogues.reset(f"operator {i}")
    assert dialogues.append("ben", turn(1), ben.generation) == 1
    for i in range(2000):
        dialogues.reset(f"operator {i}")
    assert dialogues.append("anna", turn(1), anna.generation) == 0
    assert dialogues.append("anna", turn(1), dialogues.snapshot("anna").generation) == 1


def test_limits_can_be_tightened() -> None:
    dialogues = Dialogues()
    for operator in ("anna", "ben"):
        for i in (1, 2, 3):
            dialogues.append(operator, turn(i))
    dialogues.set_limits(DialogueLimits(max_turns=1, max_operators=1))
    assert dialogues.turns("anna") == ()
    assert kept(dialogues, "ben") == [(3, "command 3")]
    dialogues.set_limits(DialogueLimits(max_turns=0, max_operators=1))
    assert dialogues.append("ben", turn(4)) == 0
    assert dialogues.turns("ben") == ()


@pytest.mark.parametrize("turns_before", [0, 2])
def test_an_answer_begun_before_a_reset_is_not_kept(turns_before: int) -> None:
    dialogues = Dialogues()
    for i in range(turns_before):
        dialogues.append("anna", turn(i))
    snapshot = dialogues.snapshot("anna")
    dialogues.reset("anna")
    assert dialogues.append("anna", turn(9), snapshot.generation) == 0
    assert dialogues.turns("anna") == ()
    later = dialogues.snapshot("anna")
    assert dialogues.append("anna", turn(9), snapshot.generation) == 0
    assert dialogues.append("anna", turn(10), later.generation) == 1


def test_many_threads_lose_nothing() -> None:
    dialogues = Dialogues(DialogueLimits(max_turns=1000))
    threads = [
        threading.Thread(target=lambda name=name: [dialogues.append(name, turn(i)) for i in range(200)])
        for name in ("anna", "ben", "anna", "ben")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for operator in ("anna", "ben"):
        assert [number for number, _ in kept(dialogues, operator)] == list(range(1, 401))


def test_idle_dialogues_are_forgotten() -> None:
    now = [0.0]
    dialogues = Dialogues(DialogueLimits(max_idle_s=60), running_s=lambda: now[0])
    dialogues.append("anna", turn(1))
    now[0] = 61.0
    assert dialogues.turns("anna") == () and dialogues.summaries() == ()


def test_a_clock_that_is_set_does_not_change_how_long_a_dialogue_is_idle() -> None:
    """A robot without a battery for its clock begins in 1970, until it finds the network."""
    now, running = [100.0], [5.0]
    dialogues = Dialogues(DialogueLimits(max_idle_s=60), now_s=lambda: now[0], running_s=lambda: running[0])
    dialogues.append("anna", turn(1))
    for clock in (1.8e9, 50.0):
        now[0] = clock
        running[0] += 20.0
        assert len(dialogues.turns("anna")) == 1
    assert dialogues.summaries()[0].idle_s == 40.0
    running[0] += 21.0
    assert dialogues.turns("anna") == ()


def test_the_clock_that_the_node_uses_is_one_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    dialogues = Dialogues(DialogueLimits(max_idle_s=60))
    dialogues.append("anna", turn(1))
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert len(dialogues.turns("anna")) == 1


def test_a_reset_cannot_be_taken_back_after_a_new_turn_nor_twice() -> None:
    dialogues = Dialogues()
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ann")
    dialogues.append("ann", turn(1))
    dialogues.reset("ann")
    dialogues.append("ann", turn(2))
    with pytest.raises(UndoError, match="new turns"):
        dialogues.undo_reset("ann")


def test_what_a_reset_deleted_ends_with_the_next_turn_even_if_that_is_taken_back() -> None:
    """docs/privacy.md: until the next turn."""
    dialogues = Dialogues()
    dialogues.append("ann", turn(1))
    dialogues.reset("ann")
    dialogues.append("ann", turn(2))
    dialogues.undo_turn("ann")
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ann")


def test_the_answer_to_a_command_that_saw_a_turn_which_is_taken_back_is_not_kept() -> None:
    """It got the number of that turn, so that a turn that refers to it referred to itself."""
    dialogues = Dialogues()
    for number in (1, 2):
        dialogues.append("ann", turn(number))
    pending, of_ben = dialogues.snapshot("ann").generation, dialogues.snapshot("ben").generation
    assert dialogues.undo_turn("ann") == 1
    assert dialogues.append("ann", replace(turn(3), references=(2,)), pending) == 0
    assert dialogues.append("ben", turn(3), of_ben) == 1
    assert dialogues.append("ann", turn(4), dialogues.snapshot("ann").generation) == 2


def test_the_numbers_of_dropped_turns_are_not_used_again_though_all_kept_ones_are_taken_back() -> None:
    """A command that refers to the dropped turn 1 must not get the mask of another turn."""
    dialogues = Dialogues(DialogueLimits(max_turns=1))
    assert [dialogues.append("ann", turn(number)) for number in (1, 2)] == [1, 2]
    assert dialogues.undo_turn("ann") == 0
    with pytest.raises(ForgottenTurnError):
        dialogues.snapshot("ann").check_kept([1])
    with pytest.raises(UndoError, match="no turn"):
        dialogues.undo_turn("ann")
    assert dialogues.append("ann", turn(3)) == 2
    dialogues.reset("ann")
    assert dialogues.append("ann", turn(4)) == 1


def test_what_a_reset_deleted_follows_the_limits_too() -> None:
    now = [0.0]
    dialogues = Dialogues(DialogueLimits(max_idle_s=60), running_s=lambda: now[0])
    dialogues.append("ann", turn(1))
    dialogues.reset("ann")
    now[0] = 61.0
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ann")
    dialogues.append("ann", turn(2))
    dialogues.append("ben", turn(3))
    now[0] = 122.0
    assert dialogues.reset("ann") == 0
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ann")
    with pytest.raises(UndoError, match="no turn"):
        dialogues.undo_turn("ben")


def test_without_turns_no_operator_is_kept() -> None:
    dialogues = Dialogues()
    for operator in ("ann", "ben"):
        dialogues.append(operator, turn(1))
    dialogues.reset("ben")
    dialogues.set_limits(DialogueLimits(max_turns=0))
    assert dialogues.summaries() == ()
    dialogues.set_limits(DialogueLimits())
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ben")


def test_operator_names() -> None:
    assert operator_name("") == "default"
    assert operator_name("Ünal 3") == "Ünal 3"
    assert operator_name("x" * 64) == "x" * 64


@pytest.mark.parametrize("bad", ["x" * 65, "   ", "a\nb", "a\x00b", "\u200b"])
def test_invalid_operator_names_are_refused(bad: str) -> None:
    with pytest.raises(OperatorError, match="1 to 64 printable"):
        operator_name(bad)


def test_a_dialogue_has_a_largest_size_and_keeps_the_newest_turn() -> None:
    """Masks of 100 pixels, and texts of three characters."""
    mask = np.zeros((10, 10), dtype=np.bool_)
    turn = Turn("a", "bc", (ObjectMask(mask, (0, 1)),))
    dialogues = Dialogues(DialogueLimits(max_bytes=310))
    for _ in range(5):
        dialogues.append("ann", turn)
    assert [one.number for one in dialogues.turns("ann")] == [3, 4, 5]
    dialogues.append("ben", turn)
    assert len(dialogues.turns("ann")) == 3, "another operator's turns do not count"
    dialogues.set_limits(DialogueLimits(max_bytes=1))
    assert [one.number for one in dialogues.turns("ann")] == [5]
    assert dialogues.append("ann", turn) == 6
