# SPDX-License-Identifier: Apache-2.0
"""Dialogues in an SQLite file, so that a node that was killed goes on with them.

A turn is in the file before its command is answered. Masks are kept with their turn, one bit a pixel and compressed.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.dialogue import Turn
from lisa_ros.segmenter import Mask, ObjectMask

FORMAT = 1
_TABLES = """
create table if not exists turns (
    operator text not null, number integer not null, spoken_s real not null,
    command text not null, answer text not null, objects text not null, masks blob not null,
    primary key (operator, number)
) without rowid;
"""


class StoreError(ValueError):
    """A file that dialogues cannot be kept in; the text is one sentence."""


@dataclass(frozen=True)
class StoredDialogue:
    """What a file holds of one operator.

    Attributes:
        first: number of the oldest turn, counted from 1.
        turns: oldest first.
        spoken_s: when the newest was added, seconds since 1970.
    """

    operator: str
    first: int
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
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=1.0, check_same_thread=False, isolation_level=None)
            self._prepare(file)
        except (OSError, sqlite3.Error) as error:
            reason = "another node has it open" if "locked" in str(error) else str(error)
            raise StoreError(f"Dialogues cannot be kept in {file}: {reason}.") from error

    def load(self) -> list[StoredDialogue]:
        """All dialogues, the one that was silent longest first."""
        rows = self._database.execute("select * from turns order by operator, number").fetchall()
        by_operator: dict[str, list[Any]] = {}
        for row in rows:
            by_operator.setdefault(row[0], []).append(row)
        found = [
            StoredDialogue(operator, own[0][1], tuple(_turn(*row[3:]) for row in own), max(row[2] for row in own))
            for operator, own in by_operator.items()
        ]
        return sorted(found, key=lambda dialogue: dialogue.spoken_s)

    def add(self, operator: str, number: int, turn: Turn, spoken_s: float) -> None:
        """Adds a turn; it survives the process when this returns."""
        objects, masks = _packed(turn.objects)
        row = (operator, number, spoken_s, turn.command, turn.answer, objects, masks)
        self._database.execute("insert or replace into turns values (?, ?, ?, ?, ?, ?, ?)", row)

    def drop_before(self, operator: str, number: int) -> None:
        """Removes an operator's turns with smaller numbers."""
        self._database.execute("delete from turns where operator = ? and number < ?", (operator, number))

    def forget(self, operator: str) -> None:
        """Removes an operator's dialogue."""
        self._database.execute("delete from turns where operator = ?", (operator,))

    def close(self) -> None:
        """Lets the file go."""
        self._database.close()

    def _prepare(self, file: Path) -> None:
        self._database.execute("pragma locking_mode = exclusive")
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a killed process loses nothing, a power cut the newest
        (found,) = self._database.execute("pragma user_version").fetchone()
        if found not in (0, FORMAT):
            raise StoreError(
                f"Dialogues cannot be kept in {file}: it has format {found}, this version writes {FORMAT}."
            )
        self._database.executescript(_TABLES)
        self._database.execute(f"pragma user_version = {FORMAT}")


def _packed(objects: Sequence[ObjectMask]) -> tuple[str, bytes]:
    """Spans and shapes as JSON, and all masks' bits."""
    told = [{"span": list(found.span), "shape": list(found.mask.shape)} for found in objects]
    bits = b"".join(np.packbits(found.mask).tobytes() for found in objects)
    return json.dumps(told), zlib.compress(bits)


def _turn(command: str, answer: str, told: str, packed: bytes) -> Turn:
    bits, objects = zlib.decompress(packed), []
    for one in json.loads(told):
        height, width = one["shape"]
        size = -(-height * width // 8)
        objects.append(ObjectMask(_mask(bits[:size], height, width), tuple(one["span"])))
        bits = bits[size:]
    return Turn(command, answer, tuple(objects))


def _mask(bits: bytes, height: int, width: int) -> Mask:
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
    return flat.reshape(height, width).astype(np.bool_)
