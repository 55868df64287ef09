# SPDX-License-Identifier: Apache-2.0
"""Output folders, made and tried before the work whose results they get, and locked for one process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lisa_ros.segmentation.errors import LisaError

_UNFINISHED = ".unfinished"
"""File in a folder that `whole_folder` has not given its name yet."""


class OutputError(LisaError):
    """An output folder cannot be used; the text says why, and what would be right."""


def make_output_folder(folder: Path) -> None:
    """Makes a folder, with its parents, and writes a file into it for a moment.

    Raises:
        OutputError: it is a file, or nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder for the output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"the output folder {folder} cannot be written: {error.strerror or error}") from error


def check_output_folder(folder: Path) -> None:
    """Checks that a folder can be made and written, without making it.

    Raises:
        OutputError: it is a file, or lies where nothing can be written.
    """
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(f"{nearest} is a file; name a folder for the output")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"the output folder {folder} cannot be written: no permission in {nearest}")


def check_output_file(file: Path) -> None:
    """Checks that a file can be written, without making it or its folder.

    Raises:
        OutputError: it is a folder or a device, or its folder cannot be made or written.
    """
    if file.is_dir():
        raise OutputError(f"{file} is a folder; name a file for the output")
    if file.exists() and not file.is_file():
        raise OutputError(f"{file} is a device or a pipe; name a file for the output")
    check_output_folder(file.parent)


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """The folder to write into, OUTPUT.part, which gets its name when the block has ended without an exception.

    What a killed process left there is deleted. An empty output that cannot be replaced, because it is a mount point or
    its parent cannot be written, is written into directly; after an exception, what was written there is deleted.

    Args:
        output: new, or empty.

    Raises:
        OutputError: nothing can be written there, another process writes it, or OUTPUT.part is something else.
    """
    check_output_folder(output)
    output = output.resolve()
    if output.is_dir() and (output.is_mount() or not os.access(output.parent, os.W_OK | os.X_OK)):
        make_output_folder(output)
        before = set(output.iterdir())
        try:
            yield output
        except BaseException:
            with suppress(OSError):
                _empty(output, before)
            raise
        return
    part = output.with_name(f"{output.name}.part")
    mark = part / _UNFINISHED
    if part.is_dir() and any(part.iterdir()) and not mark.is_file():
        raise OutputError(f"{part}, which is needed for a moment, is not empty; name another folder for the output")
    make_output_folder(part)
    with mark.open("a") as stream:
        lock(stream, output)
        try:
            _empty(part, {mark})
            yield part
            mark.unlink()
            if output.is_dir():
                output.rmdir()  # empty; if no longer, this refuses
            part.rename(output)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _empty(folder: Path, kept: Collection[Path]) -> None:
    for path in set(folder.iterdir()).difference(kept):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def lock(stream: IO[Any], written: Path) -> None:
    """Locks an open file for this process; the system releases the lock when the process ends, however it ends.

    Args:
        stream: the file, open for writing.
        written: what the lock stands for, for the message.

    Raises:
        OutputError: another process has locked it.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"another process is writing {written} now") from None
    except OSError:  # a file system without locks
        pass
