# SPDX-License-Identifier: Apache-2.0
"""Reads the files of damaged bags from their beginnings, without index, as far as they go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader

_SUFFIXES = (".mcap", ".db3")
_MAX_RECORD = 2**30
"""Bytes; a damaged length must not take all memory."""


@dataclass
class Recovered:
    """What was found in the files.

    Attributes:
        types: Topic -> message type.
        problem: Where a file could not be read any further, in one sentence; empty: it was read to its end.
    """

    types: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def storage_files(path: Path) -> list[Path]:
    """The files of a bag that hold messages, in their order."""
    if path.is_file():
        return [path]
    return sorted(
        (file for file in path.iterdir() if file.suffix in _SUFFIXES),
        key=lambda file: (len(file.name), file.name),  # ..._2 before ..._10
    )


def recover(file: Path, found: Recovered) -> Iterator[tuple[str, int, bytes]]:
    """The messages of a file up to its first damage.

    Args:
        file: .mcap or .db3.
        found: Gets the topics and, at the end, the problem.

    Yields:
        Topic, time in nanoseconds, serialized message.
    """
    read = _mcap if file.suffix == ".mcap" else _sqlite
    last_ns = 0
    try:
        for topic, time_ns, data in read(file, found):
            last_ns = time_ns
            yield topic, time_ns, data
    except GeneratorExit:
        raise
    except Exception as error:  # each kind of damage has another
        where = f"after its message of {last_ns / 1e9:.3f} s" if last_ns else "from its beginning"
        found.problem = f"{file.name} cannot be read {where} ({type(error).__name__}: {error})."


def _mcap(file: Path, found: Recovered) -> Iterator[tuple[str, int, bytes]]:
    schemas: dict[int, str] = {}
    topics: dict[int, str] = {}
    with file.open("rb") as stream:
        for record in StreamReader(stream, record_size_limit=_MAX_RECORD).records:
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel):
                topics[record.id] = record.topic
                found.types[record.topic] = schemas.get(record.schema_id, "")
            elif isinstance(record, Message):
                yield topics[record.channel_id], record.log_time, record.data


def _sqlite(file: Path, found: Recovered) -> Iterator[tuple[str, int, bytes]]:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        # SQLite refuses a file that is shorter than its header says, unless it may be repaired.
        database.execute("PRAGMA writable_schema=ON")
        topics = {number: (name, kind) for number, name, kind in database.execute("SELECT id, name, type FROM topics")}
        found.types.update({name: kind for name, kind in topics.values()})
        # By rowid: the index on time may be what is damaged.
        for number, time_ns, data in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"):
            yield topics[number][0], time_ns, data
