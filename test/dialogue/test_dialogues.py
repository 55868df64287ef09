# SPDX-License-Identifier: Apache-2.0
"""Dialogues: apart from each other, bounded, and safe against a reset while a command is being answered."""

import json
import sqlite3
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.dialogue.dialogues import Dialogues, ForgottenTurnError, OperatorError, UndoError, operator_name
from lisa_ros.dialogue.store import DialogueStore, StoreError
from lisa_ros.segmentation.answers import Finished, ObjectMask, Region
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


def test_a_turn_is_kept_without_what_only_its_answer_needs() -> None:
    dialogues = Dialogues()
    mask = np.ones((2, 3), dtype=np.bool_)
    found = ObjectMask(mask, (0, 5), score=0.5, probability=lambda: np.ones((2, 3), dtype=np.float32))
    dialogues.append("anna", Turn("where?", "[SEG]", (found,)))
    (stored,) = dialogues.turns("anna")[0].objects
    assert stored.probability is None and found.probability is not None
    assert stored.mask is mask and (stored.span, stored.score) == ((0, 5), 0.5)


def test_reset_forgets_one_operator_and_counts_anew() -> None:
    dialogues = Dialogues()
    dialogues.append("anna", turn(1))
    dialogues.append("ben", turn(1))
    assert dialogues.reset("anna") == 1
    assert dialogues.reset("anna") == 0
    assert kept(dialogues, "ben") == [(1, "command 1")]
    assert dialogues.append("anna", turn(2)) == 1


def test_oldest_turns_are_dropped_and_the_others_keep_their_numbers() -> None:
    dialogues = Dialogues(max_turns=2)
    assert [dialogues.append("anna", turn(i)) for i in (1, 2, 3)] == [1, 2, 3]
    assert kept(dialogues, "anna") == [(2, "command 2"), (3, "command 3")]
    snapshot = dialogues.snapshot("anna")
    snapshot.check_kept([3, 2])
    with pytest.raises(ForgottenTurnError, match=r"turn 1 .*turns 2 to 3 are kept"):
        snapshot.check_kept([3, 1])
    with pytest.raises(ForgottenTurnError, match="turn 4"):
        snapshot.check_kept([4])


def test_reference_into_an_empty_dialogue_is_refused() -> None:
    with pytest.raises(ForgottenTurnError, match="no turn is kept"):
        Dialogues().snapshot("anna").check_kept([1])


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
        dialogues.snapshot(operator)
    assert dialogues.turns("anna") and dialogues.turns("ben")
    dialogues.append("carl", turn(1))
    assert dialogues.turns("anna") == ()
    assert dialogues.turns("ben") and dialogues.turns("carl")


def test_a_dialogue_that_fell_off_does_not_come_back_half() -> None:
    dialogues = Dialogues(max_operators=1)
    dialogues.append("anna", turn(1))
    recall = dialogues.snapshot("anna")
    dialogues.append("ben", turn(1))
    assert dialogues.append("anna", turn(2), recall.generation) == 0
    assert kept(dialogues, "ben") == [(1, "command 1")]


def test_a_reset_counts_however_many_follow_and_those_of_others_do_not() -> None:
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
    dialogues.set_limits(max_turns=1, max_operators=1)
    assert dialogues.turns("anna") == ()
    assert kept(dialogues, "ben") == [(3, "command 3")]
    dialogues.set_limits(max_turns=0, max_operators=1)
    assert dialogues.append("ben", turn(4)) == 0
    assert dialogues.turns("ben") == ()


@pytest.mark.parametrize("said_before", [0, 2])
def test_an_answer_begun_before_a_reset_does_not_come_back(said_before: int) -> None:
    dialogues = Dialogues()
    for i in range(said_before):
        dialogues.append("anna", turn(i))
    recall = dialogues.snapshot("anna")
    dialogues.reset("anna")
    assert dialogues.append("anna", turn(9), recall.generation) == 0
    assert dialogues.turns("anna") == ()
    again = dialogues.snapshot("anna")
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


def seen_turn(number: int) -> Turn:
    mask = np.zeros((5, 7 + number), dtype=np.bool_)
    mask[1:3, number:] = True
    return Turn(f"command {number}", "the [SEG] \u00e9", (ObjectMask(mask, (4, 9)), ObjectMask(~mask, (10, 15))))


def same(one: Turn, other: Turn) -> bool:
    pairs = list(zip(one.objects, other.objects, strict=True))
    masks = all(np.array_equal(a.mask, b.mask) and a.mask.dtype == b.mask.dtype and a.span == b.span for a, b in pairs)
    return masks and (one.command, one.answer) == (other.command, other.answer)


def test_a_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "d.sqlite"
    dialogues = Dialogues(max_turns=2, store=DialogueStore(file))
    for number in (1, 2, 3):
        dialogues.append("anna", seen_turn(number))
    dialogues.append("ben", turn(1))
    dialogues.append("carl", turn(1))
    assert dialogues.reset("carl") == 1
    dialogues.close()
    again = Dialogues(max_turns=2, store=DialogueStore(file))
    assert again.turns("carl") == () and kept(again, "ben") == [(1, "command 1")]
    assert [number for number, _ in kept(again, "anna")] == [2, 3]
    assert all(map(same, again.turns("anna"), (seen_turn(2), seen_turn(3))))
    assert again.append("anna", turn(4)) == 4
    assert [(one.operator, one.turns, one.last_turn) for one in again.summaries()] == [("ben", 1, 1), ("anna", 2, 4)]
    again.close()


def test_a_store_keeps_what_a_later_turn_is_shown(tmp_path: Path) -> None:
    region = Region(np.eye(9, dtype=np.bool_), (-1.5, 0.0, 8.25, 9.0))
    plain, shown = seen_turn(1), seen_turn(2)
    objects = (replace(shown.objects[0], region=region, score=0.75), shown.objects[1])
    dialogues = Dialogues(store=DialogueStore(tmp_path / "d.sqlite"))
    dialogues.append("anna", plain)
    dialogues.append("anna", replace(shown, objects=objects, references=(1,)))
    dialogues.close()
    again = Dialogues(store=DialogueStore(tmp_path / "d.sqlite"))
    first, second = again.turns("anna")
    assert same(first, plain) and same(second, shown)
    assert (first.references, second.references) == ((), (1,))
    one, other = second.objects
    assert one.region is not None and np.array_equal(one.region.mask, region.mask)
    assert (one.region.box, one.score, other.region, other.score) == (region.box, 0.75, None, None)
    again.close()


def test_a_store_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    """As 0.1 wrote it: no column for references, and nothing of an object but its mask."""
    old = seen_turn(1)
    told = json.dumps([{"span": list(found.span), "shape": list(found.mask.shape)} for found in old.objects])
    bits = zlib.compress(b"".join(np.packbits(found.mask).tobytes() for found in old.objects))
    with sqlite3.connect(tmp_path / "d.sqlite") as database:
        database.execute(
            "create table turns (operator text not null, number integer not null, spoken_s real not null,"
            " command text not null, answer text not null, objects text not null, masks blob not null,"
            " primary key (operator, number)) without rowid"
        )
        database.execute(
            "insert into turns values (?, ?, ?, ?, ?, ?, ?)", ("anna", 4, 1.0, old.command, old.answer, told, bits)
        )
        database.execute("pragma user_version = 1")
    database.close()
    dialogues = Dialogues(store=DialogueStore(tmp_path / "d.sqlite"))
    (first,) = dialogues.turns("anna")
    assert first.number == 4 and same(first, old)
    assert dialogues.append("anna", replace(seen_turn(2), references=(4,))) == 5
    dialogues.close()
    again = Dialogues(store=DialogueStore(tmp_path / "d.sqlite"))
    assert [one.references for one in again.turns("anna")] == [(), (4,)]
    again.close()


def test_a_store_of_the_second_format_is_taken_over(tmp_path: Path) -> None:
    """Its references said how many turns back they lie; now they are turn numbers."""
    file = tmp_path / "d.sqlite"
    dialogues = Dialogues(store=DialogueStore(file))
    for number in (1, 2, 3, 4):
        dialogues.append("anna", turn(number))
    dialogues.close()
    with sqlite3.connect(file) as database:
        database.execute("update turns set refers = '[3, 1]' where number = 4")
        database.execute("pragma user_version = 2")
    database.close()
    for _ in range(2):
        again = Dialogues(store=DialogueStore(file))
        assert [one.references for one in again.turns("anna")] == [(), (), (), (1, 3)]
        again.close()


def test_what_is_kept_of_an_answer() -> None:
    found = ObjectMask(np.ones((2, 2), np.bool_), (0, 5))
    made = turn_of("the lid", Finished("[SEG]", (found,), "end", references=(1, 3)), 4)
    assert (made.number, made.references) == (4, (1, 3))
    assert (made.command, made.answer, made.objects) == ("the lid", "[SEG]", (found,))


def test_bounds_hold_for_what_a_store_brings(tmp_path: Path) -> None:
    file = tmp_path / "d.sqlite"
    dialogues = Dialogues(store=DialogueStore(file))
    for operator in ("anna", "ben", "carl"):
        for number in (1, 2, 3):
            dialogues.append(operator, turn(number))
    dialogues.close()
    fewer = Dialogues(max_turns=1, max_operators=2, store=DialogueStore(file))
    assert [(one.operator, one.turns, one.last_turn) for one in fewer.summaries()] == [("ben", 1, 3), ("carl", 1, 3)]
    fewer.close()
    with sqlite3.connect(file) as database:
        assert database.execute("select operator, number from turns").fetchall() == [("ben", 3), ("carl", 3)]


def test_idle_dialogues_are_forgotten(tmp_path: Path) -> None:
    now = [1000.0]
    file = tmp_path / "d.sqlite"
    dialogues = Dialogues(max_idle_s=60, store=DialogueStore(file), now_s=lambda: now[0])
    dialogues.append("anna", turn(1))
    now[0] += 50
    dialogues.append("ben", turn(1))
    recall = dialogues.snapshot("anna")
    assert len(recall.turns) == 1
    now[0] += 20
    assert dialogues.snapshot("anna").turns == () and dialogues.turns("ben")
    assert dialogues.append("anna", turn(2), recall.generation) == 0, "its dialogue ended while it was answered"
    dialogues.close()
    now[0] += 100
    later = Dialogues(max_idle_s=60, store=DialogueStore(file), now_s=lambda: now[0])
    assert later.summaries() == ()
    later.close()


def test_idle_dialogues_have_no_turns() -> None:
    now = [0.0]
    dialogues = Dialogues(max_idle_s=60, now_s=lambda: now[0])
    dialogues.append("ann", Turn("red", "[SEG]"))
    now[0] = 61.0
    assert dialogues.turns("ann") == ()


def test_a_full_disk_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DialogueStore(tmp_path / "dialogues.sqlite")
    store._database.execute("create trigger full before insert on turns begin select raise(fail, 'disk is full'); end")
    dialogues = Dialogues(store=store)
    assert dialogues.append("ann", Turn("red", "[SEG]")) == 1
    assert [turn.command for turn in dialogues.turns("ann")] == ["red"]
    assert "disk is full" in caplog.text and "dialogues.sqlite" in caplog.text
    dialogues.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = DialogueStore(tmp_path / "dialogues.sqlite")
    Dialogues(store=store).append("ann", Turn("red", "[SEG]"))
    store._database.execute("update turns set masks = x'00'")
    with pytest.raises(StoreError, match=r"dialogues\.sqlite are damaged"):
        store.load()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="garbage: file is not a database"):
        DialogueStore(garbage)
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as database:
        database.execute("pragma user_version = 9")
    with pytest.raises(StoreError, match="format 9"):
        DialogueStore(newer)
    first = DialogueStore(tmp_path / "taken.sqlite")
    with pytest.raises(StoreError, match="another node has it open"):
        DialogueStore(tmp_path / "taken.sqlite")
    first.close()


def test_a_reset_is_taken_back_with_its_numbers_and_its_file(tmp_path: Path) -> None:
    file = tmp_path / "dialogues.sqlite"
    dialogues = Dialogues(max_turns=2, store=DialogueStore(file))
    for text in ("one", "two", "three"):
        dialogues.append("ann", Turn(text, "Sure."))
    assert dialogues.reset("ann") == 2
    assert dialogues.turns("ann") == ()
    assert dialogues.undo_reset("ann") == 2
    assert [(turn.number, turn.command) for turn in dialogues.turns("ann")] == [(2, "two"), (3, "three")]
    with pytest.raises(UndoError, match="new turns"):
        dialogues.undo_reset("ann")
    assert dialogues.append("ann", Turn("four", "Sure.")) == 4
    dialogues.close()
    assert [turn.command for turn in Dialogues(store=DialogueStore(file)).turns("ann")] == ["three", "four"]


def test_a_reset_cannot_be_taken_back_after_a_new_turn_nor_twice() -> None:
    dialogues = Dialogues()
    with pytest.raises(UndoError, match="no reset"):
        dialogues.undo_reset("ann")
    dialogues.append("ann", Turn("one", "Sure."))
    dialogues.reset("ann")
    dialogues.append("ann", Turn("two", "Sure."))
    with pytest.raises(UndoError, match="new turns"):
        dialogues.undo_reset("ann")


def test_the_newest_turn_is_taken_back_until_none_is_left(tmp_path: Path) -> None:
    file = tmp_path / "dialogues.sqlite"
    dialogues = Dialogues(store=DialogueStore(file))
    dialogues.append("ann", Turn("one", "Sure."))
    dialogues.append("ann", Turn("two", "Sure."))
    assert dialogues.undo_turn("ann") == 1
    assert dialogues.append("ann", Turn("another", "Sure.")) == 2
    dialogues.undo_turn("ann")
    assert dialogues.undo_turn("ann") == 0
    with pytest.raises(UndoError, match="no turn"):
        dialogues.undo_turn("ann")
    dialogues.close()
    assert Dialogues(store=DialogueStore(file)).turns("ann") == ()
