# SPDX-License-Identifier: Apache-2.0
"""Dialogues in an SQLite file, so that a node that was killed continues them.

A turn is in the file before its command is answered. Masks are stored with their turn, one bit per pixel and
compressed, as is the region that a model wants back in later turns.
"""

from __future__ import annotations

import glob
import logging
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_ros.dialogue.open_file import OpenFile
from lisa_ros.dialogue.stored_turn import check_row, insertion, turn_of_row
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.turns import Turn

_LOG = logging.getLogger(__name__)

FORMAT = 3
_TABLES = """
create table if not exists turns (
    operator text not null, number integer not null, spoken_s real not null,
    command text not null, answer text not null, objects text not null, masks blob not null,
    refers text not null default '[]',
    primary key (operator, number)
) without rowid;
"""
_FROM_FORMAT_1 = "alter table turns add column refers text not null default '[]';"
# Up to format 2, `refers` had the distance to the turn that a reference means; since then it has that turn's number.
_FROM_FORMAT_2 = """
update turns set refers = (select json_group_array(number - value) from json_each(refers)) where refers != '[]';
"""
_CHANGES = {0: _TABLES, 1: _FROM_FORMAT_1, 2: _FROM_FORMAT_2, FORMAT: ""}
_SQLITE_MAGIC = b"SQLite format 3\x00"
_SUFFIX = ".sqlite"
_SIDE_FILES = ("", "-wal", "-shm")
_NOT_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)


class StoreError(LisaError):
    """A file that dialogues cannot be kept in; the text is one sentence."""


class FileLostError(StoreError):
    """The file that was open is not at its path any more: what it held must be written again, to a new one."""


class _DamagedError(Exception):
    """The file holds something that cannot be read as dialogues."""


@dataclass(frozen=True)
class StoredDialogue:
    """One operator's dialogue in the file.

    Attributes:
        turns: oldest first, at least one.
        last_turn_s: when the newest was added, seconds since 1970.
    """

    operator: str
    turns: tuple[Turn, ...]
    last_turn_s: float


class DialogueStore:
    """One file, for one process at a time. To be used by one thread at a time."""

    def __init__(self, file: Path) -> None:
        """Open the file, or create it. A damaged file is renamed with a warning, and a new one begun.

        A file that is no SQLite database counts as damaged if its name ends with .sqlite, as that of a dialogue file
        does, and otherwise as a wrong path.

        Raises:
            StoreError: The file is something else than a dialogue file, has a newer format, is open in another node,
                or cannot be written.
        """
        self._file = file
        self._is_open = False
        try:
            self._open()
        except _DamagedError as error:
            self._set_aside(error)

    def check(self) -> None:
        """Check that the file is still at its path. If an earlier check found that it is not, open a new one.

        SQLite itself goes on writing to a deleted or moved file, and reports nothing. Every change calls this first.

        Raises:
            FileLostError: It was deleted, moved, replaced or overwritten. It is closed; what another program has put in
                its place is kept aside with a warning when a new file is begun.
            StoreError: A new one cannot be opened.
        """
        try:
            if not self._is_open:
                self._open_again()
            elif what := self._known.changed():
                self._leave()
                raise FileLostError(f"The dialogue file {self._file} {what}.")
        except OSError as error:
            raise StoreError(f"Dialogues cannot be kept in {self._file}: {error}.") from error

    def load(self) -> list[StoredDialogue]:
        """All dialogues, the one that was idle longest first.

        A damaged file is renamed with a warning, and a new one begun.

        Raises:
            StoreError: The file cannot be read.
        """
        try:
            return self._load()
        except sqlite3.Error as error:
            if _is_damage(error):
                return self._set_aside(error)
            raise StoreError(f"The dialogues in {self._file} cannot be read: {error}.") from error
        except (zlib.error, ValueError, LookupError, TypeError, AttributeError, MemoryError, RecursionError) as error:
            return self._set_aside(error)

    def replace(self, operator: str, turns: Sequence[Turn], last_turn_s: float) -> None:
        """Make the file hold exactly these turns of an operator; without turns, nothing of the operator.

        Raises:
            StoreError: The file cannot be written, for example because the disk is full. Then it is unchanged.
        """
        with self._changing():
            self._database.execute("begin immediate")
            self._database.execute("delete from turns where operator = ?", (operator,))
            for turn in turns:
                self._database.execute(*insertion(operator, turn, last_turn_s))
            self._database.execute("commit")

    def add(self, operator: str, turn: Turn, last_turn_s: float) -> None:
        """Add a turn. It survives the process as soon as this returns.

        Raises:
            StoreError: The file cannot be written. Then it is unchanged.
        """
        self._execute(*insertion(operator, turn, last_turn_s))

    def drop_before(self, operator: str, number: int) -> None:
        """Remove an operator's turns with smaller numbers.

        Raises:
            StoreError: The file cannot be written. Then it is unchanged.
        """
        self._execute("delete from turns where operator = ? and number < ?", (operator, number))

    def drop_turn(self, operator: str, number: int) -> None:
        """Remove one turn of an operator.

        Raises:
            StoreError: The file cannot be written. Then it is unchanged.
        """
        self._execute("delete from turns where operator = ? and number = ?", (operator, number))

    def erase(self, operator: str) -> int:
        """Erase an operator's turns, also from the file's free pages and its log; returns their number.

        Raises:
            StoreError: The file cannot be written. Then it is unchanged.
        """
        with self._changing():
            erased = self._database.execute("delete from turns where operator = ?", (operator,)).rowcount
            self._database.execute("vacuum")
            self._database.execute("pragma wal_checkpoint(truncate)")
        return int(erased)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def file(self) -> Path:
        """Where the dialogues are."""
        return self._file

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._changing():
            self._database.execute(statement, values)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.check()
        try:
            yield
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):  # a failing disk refuses the end of the transaction, too
                if self._database.in_transaction:
                    self._database.execute("rollback")
            raise StoreError(f"Dialogues cannot be written to {self._file}: {error}.") from error
        finally:
            self._known.note()

    def _open(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            is_ours = _may_hold_dialogues(self._file)
            self._database = sqlite3.connect(self._file, timeout=1.0, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"Dialogues cannot be kept in {self._file}: {error}.") from error
        try:
            self._prepare()
        except StoreError:
            self._database.close()
            raise
        except sqlite3.Error as error:
            self._database.close()
            if _is_damage(error) and is_ours:
                raise _DamagedError(str(error)) from error
            reason = "another node has it open" if "locked" in str(error) else str(error)
            raise StoreError(f"Dialogues cannot be kept in {self._file}: {reason}.") from error
        self._known, self._is_open = OpenFile(self._file), True

    def _open_again(self) -> None:
        """Begin a new file. Turns that another program has put at its path are kept aside."""
        is_own = self._known.is_same_file()
        try:
            self._open()
        except _DamagedError as error:
            self._set_aside(error)
        if not is_own and self._database.execute("select 1 from turns limit 1").fetchone():
            self._is_open = False
            self._database.close()
            aside = self._rename("replaced")
            _LOG.warning("Another dialogue file was at %s; it is kept as %s.", self._file, aside)
            self._open()

    def _leave(self) -> None:
        """Close the file. A moved one is complete then, and what was copied over it is kept aside."""
        is_overwritten = self._known.is_same_file() and self._known.is_overwritten()
        if is_overwritten:
            aside = self._file.with_name(self._aside_name("replaced"))
            shutil.copy2(self._file, aside)
            _LOG.warning("What was written over %s is kept as %s.", self._file, aside)
        self._is_open = False
        with suppress(sqlite3.Error):
            self._database.execute("pragma wal_checkpoint(truncate)")
        self._database.close()
        if is_overwritten:
            self._file.unlink()
        self._known.delete_log()

    def _prepare(self) -> None:
        self._database.execute("pragma locking_mode = exclusive")
        tables = {name for (name,) in self._database.execute("select name from sqlite_master where type = 'table'")}
        if tables and "turns" not in tables:
            raise StoreError(f"Dialogues cannot be kept in {self._file}: it is a database of another program.")
        (found,) = self._database.execute("pragma user_version").fetchone()
        if found not in _CHANGES:
            raise StoreError(
                f"Dialogues cannot be kept in {self._file}: it has format {found}, this version writes {FORMAT}."
            )
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a killed process loses nothing, a power cut the newest
        while found != FORMAT:
            following = FORMAT if found == 0 else found + 1
            self._database.executescript(f"begin; {_CHANGES[found]} pragma user_version = {following}; commit;")
            found = following

    def _load(self) -> list[StoredDialogue]:
        rows = self._database.execute("select * from turns order by operator, number").fetchall()
        by_operator: dict[str, list[Any]] = {}
        for row in rows:
            check_row(row)
            by_operator.setdefault(row[0], []).append(row)
        found = [
            StoredDialogue(operator, tuple(turn_of_row(row[1], *row[3:]) for row in own), max(row[2] for row in own))
            for operator, own in by_operator.items()
        ]
        for dialogue in found:
            first = dialogue.turns[0].number
            if [turn.number for turn in dialogue.turns] != list(range(first, first + len(dialogue.turns))):
                raise ValueError(f"the turns of {dialogue.operator!r} are not consecutive")
        return sorted(found, key=lambda dialogue: dialogue.last_turn_s)

    def _set_aside(self, error: Exception) -> list[StoredDialogue]:
        """Rename the damaged file and begin a new one, which holds nothing."""
        self._is_open = False
        self._database.close()
        damaged = self._rename("damaged")
        _LOG.warning(
            "The dialogues in %s are damaged (%s: %.200s). The file is kept as %s, and a new one is begun.",
            *(self._file, type(error).__name__, error, damaged),
        )
        try:
            self._open()
        except _DamagedError as again:
            raise StoreError(f"Dialogues cannot be kept in {self._file}: {again}.") from again
        return []

    def _rename(self, why: str) -> Path:
        """Keep the file and its log under another name, which is returned."""
        aside = self._file.with_name(self._aside_name(why))
        for ending in _SIDE_FILES:
            side_file = self._file.with_name(self._file.name + ending)
            if side_file.exists():
                side_file.rename(aside.with_name(aside.name + ending))
        return aside

    def _aside_name(self, why: str) -> str:
        return f"{self._file.name}.{why}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns()}"


def kept_aside(file: Path) -> list[Path]:
    """What was renamed beside a dialogue file since it was damaged, or put in the place of an open one."""
    found = [one for why in ("damaged", "replaced") for one in file.parent.glob(f"{glob.escape(file.name)}.{why}-*")]
    return sorted(one for one in found if not one.name.endswith(_SIDE_FILES[1:]))


def _may_hold_dialogues(file: Path) -> bool:
    """False for a file of something else, which must be left alone."""
    if file.suffix == _SUFFIX or not file.exists() or file.stat().st_size == 0:
        return True
    with file.open("rb") as stream:
        return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the content is to blame, and not the disk, a lock or the rights. Extended codes have more bits."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF not in _NOT_DAMAGE
