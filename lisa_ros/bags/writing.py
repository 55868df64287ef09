# SPDX-License-Identifier: Apache-2.0
"""The bag with the answers."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from lisa_ros.bags.answering import BagAnswer
from lisa_ros.bags.outputs.answer import messages_of
from lisa_ros.bags.reading import Stored
from lisa_ros.bags.types import serialize, typestore
from lisa_ros.segmentation.files.output_folders import OutputError

Storage = Literal["mcap", "sqlite3"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3")
_VERSION: Literal[8, 9] = 9
"""Of rosbag2's format: that of Jazzy."""


class OutputBag:
    """A rosbag2 folder that gets its name when it is complete; until then it is in a folder beside it, OUT.part."""

    def __init__(self, path: Path, prefix: str, storage: Storage, *, compress: bool, foxglove: bool) -> None:
        """Begin the bag; what an interrupted run left is deleted.

        Args:
            path: The folder; must not exist.
            prefix: The node's name, such as "/lisa".
            storage: The file format.
            compress: Whether messages are compressed with zstd.
            foxglove: Whether each answer also has Foxglove's own messages.
        """
        self.path, self._prefix, self._foxglove = path, prefix.rstrip("/"), foxglove
        # The writer names the files in the bag after its folder, hence the folder in a folder.
        self._part = _part_of(path)
        check_part(path)
        if self._part.is_dir():
            shutil.rmtree(self._part)
        self._writer = Writer(self._part / path.name, version=_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        if compress:
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[str, Connection] = {}

    def add(self, answer: BagAnswer, identity: str, image_type: str) -> None:
        """Write all messages of an answer, at the time of its command; see messages_of."""
        for topic, message in messages_of(answer, identity, image_type, foxglove=self._foxglove):
            self._write(topic, answer.time_ns, message.__msgtype__, serialize(message))

    def copy(self, topic: str, stored: Stored, kind: str, time_ns: int) -> None:
        """Write a message of the camera as it was recorded, at another time."""
        self._write(topic, time_ns, kind, stored.data)

    def finish(self) -> None:
        """Write the index and give the folder its name."""
        with _named(self.path):
            self._writer.close()
        (self._part / self.path.name).rename(self.path)
        self.clean()

    def clean(self) -> None:
        """Delete the folder that the finished bag was in."""
        with suppress(FileNotFoundError):
            self._part.rmdir()

    def abandon(self) -> None:
        """Close without an index."""
        with suppress(OSError, sqlite3.Error):  # what is left to write does not fit either
            self._writer.abort()

    def _write(self, topic: str, time_ns: int, kind: str, data: Any) -> None:
        name = f"{self._prefix}/{topic}"
        with _named(self.path):
            self._write_as(name, time_ns, kind, data)

    def _write_as(self, name: str, time_ns: int, kind: str, data: Any) -> None:
        if name not in self._connections:
            self._connections[name] = self._writer.add_connection(name, kind, typestore=typestore())
        self._writer.write(self._connections[name], time_ns, data)


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def check_part(path: Path) -> None:
    """Refuses a bag whose OUT.part is something else than what an interrupted run left: that would be deleted.

    Raises:
        OutputError: It is.
    """
    part = _part_of(path)
    if not part.exists() and not part.is_symlink():
        return
    if part.is_symlink() or not part.is_dir() or {one.name for one in part.iterdir()} - {path.name}:
        raise OutputError(f"{part}, which is needed for a moment, is something else; name another output")


@contextmanager
def _named(bag: Path) -> Iterator[None]:
    """Names the bag in an error of the system, such as that its disk is full."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{bag} cannot be written: {reason}; correct this and repeat the command, it goes on") from error
