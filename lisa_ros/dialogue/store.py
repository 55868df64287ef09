# SPDX-License-Identifier: Apache-2.0
"""Dialogues in an SQLite file, so that a node that was killed goes on with them.

A turn is in the file before its command is answered. Masks are kept with their turn, one bit a pixel and compressed,
and so is what a model wants to be given again with them.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.segmentation.answers import Mask, ObjectMask, Region
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
# Up to format 2, `refers` said how many turns back a reference lies; since then it has the turn's number.
_FROM_FORMAT_2 = """
update turns set refers = (select json_group_array(number - value) from json_each(refers)) where refers != '[]';
"""
_CHANGES = {0: _TABLES, 1: _FROM_FORMAT_1, 2: _FROM_FORMAT_2, FORMAT: ""}


class StoreError(ValueError):
    """A file that dialogues cannot be kept in; the text is one sentence."""


@dataclass(frozen=True)
class StoredDialogue:
    """What a file holds of one operator.

    Attributes:
        turns: oldest first, at least one.
        spoken_s: when the newest was added, seconds since 1970.
    """

    operator: str
    turns: tuple[Turn, ...]
    spoken_s: float


class DialogueStore:
    """One file, for one process at a time. To be called by one thread at a time."""

    def __init__(self, file: Path) -> None:
        """Opens the file, or makes it.

        Raises:
            StoreError: it is something else, another node has it, or it cannot be written.
        """
        try:
            self._file = file
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=1.0, check_same_thread=False, isolation_level=None)
            self._prepare(file)
        except (OSError, sqlite3.Error) as error:
            reason = "another node has it open" if "locked" in str(error) else str(error)
            raise StoreError(f"Dialogues cannot be kept in {file}: {reason}.") from error

    def load(self) -> list[StoredDialogue]:
        """All dialogues, the one that was silent longest first.

        Raises:
            StoreError: the file is damaged.
        """
        try:
            return self._load()
        except (sqlite3.Error, zlib.error, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"The dialogues in {self._file} are damaged ({error}); move the file away.") from error

    def _load(self) -> list[StoredDialogue]:
        rows = self._database.execute("select * from turns order by operator, number").fetchall()
        by_operator: dict[str, list[Any]] = {}
        for row in rows:
            by_operator.setdefault(row[0], []).append(row)
        found = [
            StoredDialogue(operator, tuple(_turn(*row[1:2], *row[3:]) for row in own), max(row[2] for row in own))
            for operator, own in by_operator.items()
        ]
        return sorted(found, key=lambda dialogue: dialogue.spoken_s)

    def add(self, operator: str, turn: Turn, spoken_s: float) -> None:
        """Adds a turn; it survives the process when this returns, unless the log says otherwise."""
        objects, masks = _packed(turn.objects)
        refers = json.dumps(turn.references)
        row = (operator, turn.number, spoken_s, turn.command, turn.answer, objects, masks, refers)
        self._change("insert or replace into turns values (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def drop_before(self, operator: str, number: int) -> None:
        """Removes an operator's turns with smaller numbers."""
        self._change("delete from turns where operator = ? and number < ?", (operator, number))

    def drop_turn(self, operator: str, number: int) -> None:
        """Removes one turn of an operator."""
        self._change("delete from turns where operator = ? and number = ?", (operator, number))

    def forget(self, operator: str) -> None:
        """Removes an operator's dialogue."""
        self._change("delete from turns where operator = ?", (operator,))

    def close(self) -> None:
        """Lets the file go."""
        self._database.close()

    def _change(self, statement: str, values: tuple[Any, ...]) -> None:
        """A full disk must not cost an operator the answer: the dialogue goes on in memory."""
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            _LOG.error(
                "Dialogues are not kept in %s: %s. They live in memory until it can be written.", self._file, error
            )

    def _prepare(self, file: Path) -> None:
        self._database.execute("pragma locking_mode = exclusive")
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a killed process loses nothing, a power cut the newest
        (found,) = self._database.execute("pragma user_version").fetchone()
        if found not in _CHANGES:
            raise StoreError(
                f"Dialogues cannot be kept in {file}: it has format {found}, this version writes {FORMAT}."
            )
        self._database.executescript(f"begin; {_CHANGES[found]} pragma user_version = {FORMAT}; commit;")


def _packed(objects: Sequence[ObjectMask]) -> tuple[str, bytes]:
    """What objects are as JSON, and all masks' bits, an object's region's after its own."""
    bits = b"".join(
        _bits(found.mask) + (_bits(found.region.mask) if found.region is not None else b"") for found in objects
    )
    return json.dumps([_told(found) for found in objects]), zlib.compress(bits)


def _told(found: ObjectMask) -> dict[str, Any]:
    told: dict[str, Any] = {"span": list(found.span), "shape": list(found.mask.shape), "score": found.score}
    if found.region is not None:
        told["region"] = {"shape": list(found.region.mask.shape), "box": list(found.region.box)}
    return told


def _turn(number: int, command: str, answer: str, told: str, packed: bytes, refers: str) -> Turn:
    bits = BytesIO(zlib.decompress(packed))
    objects = tuple(_object(one, bits) for one in json.loads(told))
    return Turn(command, answer, objects, tuple(json.loads(refers)), number)


def _object(told: dict[str, Any], bits: BytesIO) -> ObjectMask:
    mask, region = _mask(bits, told["shape"]), None
    if (kept := told.get("region")) is not None:
        x0, y0, x1, y1 = kept["box"]
        region = Region(_mask(bits, kept["shape"]), (x0, y0, x1, y1))
    return ObjectMask(mask, tuple(told["span"]), score=told.get("score"), region=region)


def _bits(mask: Mask) -> bytes:
    return np.packbits(mask).tobytes()


def _mask(bits: BytesIO, shape: Sequence[int]) -> Mask:
    height, width = shape
    packed = np.frombuffer(bits.read(-(-height * width // 8)), np.uint8)
    return np.unpackbits(packed, count=height * width).reshape(height, width).astype(np.bool_)
