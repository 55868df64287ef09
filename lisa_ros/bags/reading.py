# SPDX-License-Identifier: Apache-2.0
"""Reads rosbag2 folders and files (sqlite3 and MCAP, compressed or not), and what is left of damaged ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader

from lisa_ros.bags.recovery import Recovered, recover, storage_files
from lisa_ros.segmentation.errors import LisaError


@dataclass(frozen=True)
class Stored:
    """One message of a bag.

    Attributes:
        topic: Its topic.
        time_ns: When it was recorded, nanoseconds since 1970.
        data: The message, serialized (CDR).
    """

    topic: str
    time_ns: int
    data: bytes


@dataclass
class Bag:
    """An open bag.

    Attributes:
        path: The folder or file.
        types: Topic -> message type, such as "sensor_msgs/msg/Image".
        start_ns: Time of the first message.
        end_ns: Time of the last message.
        reader: Reads by the index; None: the bag is damaged.
        problems: One sentence for each part that could not be read; grows while messages are read.
    """

    path: Path
    types: dict[str, str]
    start_ns: int
    end_ns: int
    reader: Reader | None = None
    problems: list[str] = field(default_factory=list)

    def messages(self, topics: Sequence[str]) -> Iterator[Stored]:
        """The messages of some topics by time; of a damaged bag, those that are left, in the order of the file."""
        last_ns, newest = -1, Counter[str]()
        if self.reader is not None:
            wanted = [one for one in self.reader.connections if one.topic in topics]
            try:
                for connection, time_ns, data in self.reader.messages(wanted):
                    newest = newest if time_ns == last_ns else Counter()
                    last_ns = time_ns
                    newest[connection.topic] += 1
                    yield Stored(connection.topic, time_ns, bytes(data))
                return
            except GeneratorExit:
                raise
            except Exception as error:  # sqlite, lz4, zstd and rosbags each have their own for damaged data
                self._report_damage(error)
        yield from self._recovered(topics, last_ns, newest)

    def close(self) -> None:
        """Close the files."""
        if self.reader is not None:
            self.reader.close()

    def check_topic(self, topic: str, option: str, kinds: Sequence[str]) -> None:
        """Raises a LisaError unless the bag has the topic with one of these message types."""
        found = self.types.get(topic)
        if found in kinds:
            return
        others = ", ".join(sorted(name for name, kind in self.types.items() if kind in kinds)) or "none"
        what = f"is of type {found}" if found else "is not in the bag"
        raise LisaError(f"{option} {topic} {what}; topics of type {' or '.join(kinds)} are: {others}")

    def _report_damage(self, error: Exception) -> None:
        self.problems.append(f"{self.path} is damaged ({type(error).__name__}: {error}); what is left of it is read.")

    def _recovered(self, topics: Sequence[str], after_ns: int, known: Counter[str]) -> Iterator[Stored]:
        """The messages after a time, and those of that time but as many of each topic as are known already."""
        for file in storage_files(self.path):
            found = Recovered()
            for topic, time_ns, data in recover(file, found):
                if topic not in topics or time_ns < after_ns:
                    continue
                if time_ns == after_ns and known[topic]:
                    known[topic] -= 1
                    continue
                yield Stored(topic, time_ns, data)
            if found.problem:
                self.problems.append(found.problem)


def open_bag(path: Path) -> Bag:
    """Open a rosbag2 folder, or one of its .mcap or .db3 files.

    Raises:
        LisaError: There is no such bag, or nothing of it can be read; the text has the reason.
    """
    if not path.exists():
        raise LisaError(f"there is no bag {path}")
    try:
        reader = Reader(path)
        reader.open()
        types = {_text(one.topic): _text(one.msgtype) for one in reader.connections}
        count, start_ns, end_ns = (int(one) for one in (reader.message_count, reader.start_time, reader.end_time))
    except Exception as error:  # the storage libraries' own, see Bag.messages; metadata.yaml can hold anything
        return _open_damaged(path, error)
    if not count:
        reader.close()
        return _open_damaged(path, LisaError("its index names no message"))
    return Bag(path, types, start_ns, end_ns - 1, reader)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a topic's name or type is a {type(value).__name__} instead of a text")
    return value


def _open_damaged(path: Path, error: Exception) -> Bag:
    """Reads the files once from their beginnings, for their topics and times."""
    found, start_ns, end_ns = Recovered(), 0, 0
    for file in storage_files(path):
        for _, time_ns, _data in recover(file, found):
            start_ns = min(start_ns or time_ns, time_ns)
            end_ns = max(end_ns, time_ns)
    if not end_ns:
        reason = found.problem or str(error)
        raise LisaError(f"nothing can be read of {path}, which must be a rosbag2 folder, .mcap or .db3 file: {reason}")
    bag = Bag(path, found.types, start_ns, end_ns)
    bag.problems.append(
        f"{path} was not recorded to its end, or lost its index ({error}); its messages are read without it."
    )
    return bag
