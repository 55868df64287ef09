# SPDX-License-Identifier: Apache-2.0
"""Whether an open SQLite file is still the one at its path, with its log."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class OpenFile:
    """A database file and its log, as this process has left them."""

    def __init__(self, file: Path) -> None:
        """Remember the file, which this process has just opened."""
        self._file, self._log = file, file.with_name(f"{file.name}-wal")
        self._own, self._own_log = _stat(file), _stat(self._log)

    def note(self) -> None:
        """Remember what this process has just written."""
        self._own_log = self._own_log or _stat(self._log)
        now = _stat(self._file)
        if _is_same(now, self._own):
            self._own = now

    def changed(self) -> str:
        """What others have done to the file since `note`, as the end of a sentence; empty: nothing."""
        now = _stat(self._file)
        if now is None:
            return "was deleted or moved, or cannot be reached any more"
        if not _is_same(now, self._own):
            return f"was replaced by {'a folder' if stat.S_ISDIR(now.st_mode) else 'another file'}"
        if self.is_overwritten():
            return "was overwritten by another program"
        if self._own_log is not None and not _is_same(_stat(self._log), self._own_log):
            return f"has lost its log {self._log.name}"
        return ""

    def is_same_file(self) -> bool:
        """Whether the file at the path is the one that was opened."""
        return _is_same(_stat(self._file), self._own)

    def is_overwritten(self) -> bool:
        """Whether somebody else has written to the file."""
        now = _stat(self._file)
        return now is None or self._own is None or _written(now) != _written(self._own)

    def delete_log(self) -> None:
        """Delete the closed file's own log: SQLite would apply it to the next file of this name.

        Raises:
            OSError: It cannot be deleted.
        """
        if self._own_log is not None and _is_same(_stat(self._log), self._own_log):
            self._log.unlink()


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    return one is not None and other is not None and os.path.samestat(one, other)


def _written(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
