# SPDX-License-Identifier: Apache-2.0
"""The dialogue file: complete after a restart, with any limits, on a full disk, and when it is damaged."""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lisa_ros.dialogue.dialogues import DialogueLimits, Dialogues, UndoError
from lisa_ros.dialogue.store import FORMAT, DialogueStore, StoreError
from lisa_ros.segmentation.answers import ObjectMask, Region
from lisa_ros.segmentation.turns import Turn


def turn(number: int) -> Turn:
    return Turn(f"command {number}", f"answer {number}")


def masked_turn(number: int) -> Turn:
    mask = np.zeros((5, 7 + number), dtype=np.bool_)
    mask[1:3, number:] = True
    return Turn(f"command {number}", "the [SEG] \u00e9", (ObjectMask(mask, (4, 9)), ObjectMask(~mask, (10, 15))))


def same(one: Turn, other: Turn) -> bool:
    pairs = list(zip(one.objects, other.objects, strict=True))
    masks = all(np.array_equal(a.mask, b.mask) and a.mask.dtype == b.mask.dtype and a.span == b.span for a, b in pairs)
    return masks and (one.command, one.answer) == (other.command, other.answer)


def opened(file: Path, max_turns: int = 8, max_operators: int = 16) -> Dialogues:
    return Dialogues(DialogueLimits(max_turns, max_operators), store=DialogueStore(file))


def commands(dialogues: Dialogues, operator: str = "anna") -> list[str]:
    return [one.command for one in dialogues.turns(operator)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "dialogues.sqlite"


def test_a_restart_continues_the_dialogues(file: Path) -> None:
    dialogues = opened(file, max_turns=2)
    for number in (1, 2, 3):
        dialogues.append("anna", masked_turn(number))
    dialogues.append("ben", turn(1))
    dialogues.append("carl", turn(1))
    assert dialogues.reset("carl") == 1
    dialogues.close()
    again = opened(file, max_turns=2)
    assert commands(again, "carl") == [] and commands(again, "ben") == ["command 1"]
    assert [one.number for one in again.turns("anna")] == [2, 3]
    assert all(map(same, again.turns("anna"), (masked_turn(2), masked_turn(3))))
    assert again.append("anna", turn(4)) == 4
    assert [(one.operator, one.turns, one.last_turn) for one in again.summaries()] == [("ben", 1, 1), ("anna", 2, 4)]
    again.close()


def test_what_a_later_turn_needs_is_stored(file: Path) -> None:
    region = Region(np.eye(9, dtype=np.bool_), (-1.5, 0.0, 8.25, 9.0))
    plain, full = masked_turn(1), masked_turn(2)
    objects = (replace(full.objects[0], region=region, score=0.75, score_calibrated=True), full.objects[1])
    dialogues = opened(file)
    dialogues.append("anna", plain)
    dialogues.append("anna", replace(full, objects=objects, references=(1,)))
    dialogues.close()
    again = opened(file)
    first, second = again.turns("anna")
    assert same(first, plain) and same(second, full)
    assert (first.references, second.references) == ((), (1,))
    one, other = second.objects
    assert one.region is not None and np.array_equal(one.region.mask, region.mask)
    assert (one.region.box, one.score, one.score_calibrated) == (region.box, 0.75, True)
    assert (other.region, other.score, other.score_calibrated) == (None, None, False)
    again.close()


def test_numbers_of_numpy_and_texts_that_are_not_unicode_are_stored(file: Path) -> None:
    """A model of a package of its own may give them."""
    mask = np.eye(3, dtype=np.bool_)
    region = Region(mask, tuple(np.float32([0, 1, 2, 3])))
    found = ObjectMask(mask, (np.int64(0), np.int64(5)), np.float32(0.5), np.bool_(True), region=region)
    dialogues = opened(file)
    number = dialogues.append("anna", Turn("the \udce9", "[SEG] \udce9", (found,), (np.int64(1),)))
    assert number == 1
    dialogues.close()
    again = opened(file)
    (stored,) = again.turns("anna")
    assert (stored.command, stored.answer, stored.references) == ("the ?", "[SEG] ?", (1,))
    (found,) = stored.objects
    assert (found.span, found.score, found.score_calibrated) == ((0, 5), 0.5, True)
    again.close()


@pytest.mark.parametrize(
    ("max_turns", "max_operators", "kept"),
    [(30, 20, 600), (50, 40, 600), (8, 16, 8 * 16), (8, 40, 8 * 20), (50, 3, 30 * 3), (1, 1, 1), (0, 16, 0)],
)
def test_a_restart_keeps_exactly_what_the_limits_say(file: Path, max_turns: int, max_operators: int, kept: int) -> None:
    """600 turns of 20 operators, stored with limits above the defaults, are not trimmed to the defaults first."""
    dialogues = opened(file, max_turns=50, max_operators=40)
    for operator in range(20):
        for number in range(1, 31):
            dialogues.append(f"operator {operator}", turn(number))
    dialogues.close()
    for _ in range(2):
        again = opened(file, max_turns, max_operators)
        assert sum(one.turns for one in again.summaries()) == kept
        newest = again.turns("operator 19")
        assert [one.number for one in newest] == list(range(31 - min(30, max_turns), 31))
        again.close()
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("select count(*) from turns").fetchone() == (kept,)


def test_an_idle_dialogue_that_nobody_asks_for_leaves_the_file(file: Path) -> None:
    now = [0.0]
    limits = DialogueLimits(max_idle_s=60)
    dialogues = Dialogues(limits, store=DialogueStore(file), running_s=lambda: now[0])
    dialogues.append("anna", turn(1))
    now[0] = 61.0
    assert dialogues.save() == 0  # the node calls it once a second
    dialogues.close()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("select count(*) from turns").fetchone() == (0,)


def test_idle_dialogues_are_forgotten_in_the_file_too(file: Path) -> None:
    now = [1000.0]

    def opened_now() -> Dialogues:
        clock = lambda: now[0]  # noqa: E731
        return Dialogues(DialogueLimits(max_idle_s=60), store=DialogueStore(file), now_s=clock, running_s=clock)

    dialogues = opened_now()
    dialogues.append("anna", turn(1))
    now[0] += 50
    dialogues.append("ben", turn(1))
    snapshot = dialogues.snapshot("anna")
    assert len(snapshot.turns) == 1
    now[0] += 20
    assert dialogues.turns("anna") == () and dialogues.turns("ben")
    assert dialogues.append("anna", turn(2), snapshot.generation) == 0, "its dialogue ended before it was answered"
    dialogues.close()
    now[0] += 100
    later = opened_now()
    assert later.summaries() == ()
    later.close()


def test_a_file_of_the_first_format_is_converted(file: Path) -> None:
    """As version 0.1 wrote it: no column for references, and only the mask of an object."""
    old = masked_turn(1)
    objects = json.dumps([{"span": list(found.span), "shape": list(found.mask.shape)} for found in old.objects])
    bits = zlib.compress(b"".join(np.packbits(found.mask).tobytes() for found in old.objects))
    file.parent.mkdir()
    with sqlite3.connect(file) as database:
        database.execute(
            "create table turns (operator text not null, number integer not null, spoken_s real not null,"
            " command text not null, answer text not null, objects text not null, masks blob not null,"
            " primary key (operator, number)) without rowid"
        )
        database.execute(
            "insert into turns values (?, ?, ?, ?, ?, ?, ?)", ("anna", 4, 1.0, old.command, old.answer, objects, bits)
        )
        database.execute("pragma user_version = 1")
    database.close()
    dialogues = opened(file)
    (first,) = dialogues.turns("anna")
    assert first.number == 4 and same(first, old)
    assert dialogues.append("anna", replace(masked_turn(2), references=(4,))) == 5
    dialogues.close()
    again = opened(file)
    assert [one.references for one in again.turns("anna")] == [(), (4,)]
    again.close()


def test_a_file_of_the_second_format_is_converted(file: Path) -> None:
    """Its references had the distance to the turn that they mean; now they have its number."""
    dialogues = opened(file)
    for number in (1, 2, 3, 4):
        dialogues.append("anna", turn(number))
    dialogues.close()
    with sqlite3.connect(file) as database:
        database.execute("update turns set refers = '[3, 1]' where number = 4")
        database.execute("pragma user_version = 2")
    database.close()
    for _ in range(2):
        again = opened(file)
        assert [one.references for one in again.turns("anna")] == [(), (), (), (1, 3)]
        again.close()


def limit_pages(store: DialogueStore, spare: int | None) -> None:
    """Give the database so many more pages, as a full disk would; None: no limit."""
    (used,) = store._database.execute("pragma page_count").fetchone()
    store._database.execute(f"pragma max_page_count = {2**31 if spare is None else used + spare}")


def test_turns_of_a_full_disk_are_written_when_it_has_room_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = DialogueStore(file)
    dialogues = Dialogues(DialogueLimits(max_turns=3), store=store)
    dialogues.append("ann", turn(1))
    dialogues.append("ben", turn(1))
    dialogues.append("carl", turn(1))
    limit_pages(store, 0)
    long = "x" * 100_000
    assert [dialogues.append("ann", Turn(f"{i} {long}", "Sure.")) for i in (2, 3, 4)] == [2, 3, 4]
    dialogues.append("ben", Turn(long, "Sure."))
    dialogues.reset("carl")
    assert dialogues.save() >= 2
    errors = [one for one in caplog.records if one.levelname == "ERROR"]
    assert len(errors) == 1 and "disk is full" in caplog.text and str(file) in caplog.text, (
        "reported once, not per turn"
    )
    limit_pages(store, None)
    assert dialogues.save() == 0
    assert "can be written" in caplog.text
    store.close()  # as if the process were killed: Dialogues.close() would write, too
    again = opened(file)
    assert [(one.number, one.command[:2]) for one in again.turns("ann")] == [(2, "2 "), (3, "3 "), (4, "4 ")]
    assert commands(again, "ben") == ["command 1", long] and commands(again, "carl") == []
    again.close()


def test_the_next_turn_writes_what_a_full_disk_refused(file: Path) -> None:
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    limit_pages(store, 0)
    dialogues.append("ann", Turn("x" * 100_000, "Sure."))
    limit_pages(store, None)
    dialogues.append("ben", turn(1))
    store.close()
    again = opened(file)
    assert len(again.turns("ann")) == len(again.turns("ben")) == 1
    again.close()


def test_what_cannot_be_written_until_the_end_is_reported(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DialogueStore(file)
    dialogues = Dialogues(store=store)
    limit_pages(store, 0)
    dialogues.append("ann", Turn("x" * 100_000, "Sure."))
    dialogues.close()
    assert "newest turns of 1 operators could not be written and are lost" in caplog.text


def damaged_rows(change: str) -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        database = sqlite3.connect(file, isolation_level=None)
        database.execute(change)
        database.close()

    return apply


def overwritten(begin: int, size: int, byte: bytes = b"\xff") -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[begin : begin + size] = byte * len(data[begin : begin + size])
        file.write_bytes(data)

    return apply


DAMAGE = {
    "masks": damaged_rows("update turns set masks = x'00'"),
    "missing masks": damaged_rows("update turns set masks = zeroblob(0)"),
    "not UTF-8": damaged_rows("update turns set command = cast(x'80ff' as text)"),
    "objects are no JSON": damaged_rows("update turns set objects = '['"),
    "objects are deep": damaged_rows(f"update turns set objects = '{'[' * 200_000}'"),
    "objects are something else": damaged_rows("update turns set objects = '[3]'"),
    "a huge shape": damaged_rows(
        'update turns set objects = \'[{"span": [0, 5], "shape": [4000000000, 4000000000]}]\''
    ),
    "a negative shape": damaged_rows('update turns set objects = \'[{"span": [0, 5], "shape": [-4, -4]}]\''),
    "references are a number": damaged_rows("update turns set refers = '7'"),
    "another table": damaged_rows("drop table turns"),
    "the header": overwritten(0, 100),
    "everything": overwritten(0, 1 << 20, b"\x00"),
    "pages": overwritten(4096, 4096),
    "the schema": overwritten(100, 2000),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:5000]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_kept_aside_and_a_new_one_begun(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    dialogues = opened(file)
    for number in range(1, 9):
        dialogues.append("anna", masked_turn(number))
    dialogues.close()
    DAMAGE[damage](file)
    before = file.read_bytes()
    again = opened(file)
    assert again.summaries() == ()
    assert again.append("anna", turn(1)) == 1
    again.close()
    (aside,) = file.parent.glob("dialogues.sqlite.damaged-*[0-9]")
    assert aside.read_bytes()[:100] == before[:100] and str(aside) in caplog.text
    (warning,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "is kept as" in warning.message and "\n" not in warning.message
    third = opened(file)
    assert commands(third) == ["command 1"]
    third.close()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Somebody may have given the wrong path; the file must stay where it is."""
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match="garbage: file is not a database"):
        DialogueStore(garbage)
    newer = tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(newer)) as database:
        database.execute(f"pragma user_version = {FORMAT + 1}")
    with pytest.raises(StoreError, match=f"format {FORMAT + 1}"):
        DialogueStore(newer)
    first = DialogueStore(tmp_path / "taken.sqlite")
    with pytest.raises(StoreError, match="another node has it open"):
        DialogueStore(tmp_path / "taken.sqlite")
    first.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["garbage", "newer.sqlite", "taken.sqlite"]


def test_a_reset_is_taken_back_with_its_numbers_and_its_file(file: Path) -> None:
    dialogues = opened(file, max_turns=2)
    for text in ("one", "two", "three"):
        dialogues.append("anna", Turn(text, "Sure."))
    assert dialogues.reset("anna") == 2
    assert dialogues.turns("anna") == ()
    assert dialogues.undo_reset("anna") == 2
    assert [(one.number, one.command) for one in dialogues.turns("anna")] == [(2, "two"), (3, "three")]
    with pytest.raises(UndoError, match="new turns"):
        dialogues.undo_reset("anna")
    assert dialogues.append("anna", Turn("four", "Sure.")) == 4
    dialogues.close()
    again = opened(file)
    assert commands(again) == ["three", "four"]
    again.close()


def test_the_newest_turn_is_taken_back_until_none_is_left(file: Path) -> None:
    dialogues = opened(file)
    dialogues.append("anna", Turn("one", "Sure."))
    dialogues.append("anna", Turn("two", "Sure."))
    assert dialogues.undo_turn("anna") == 1
    assert dialogues.append("anna", Turn("another", "Sure.")) == 2
    dialogues.undo_turn("anna")
    assert dialogues.undo_turn("anna") == 0
    with pytest.raises(UndoError, match="no turn"):
        dialogues.undo_turn("anna")
    dialogues.close()
    again = opened(file)
    assert commands(again) == []
    again.close()
