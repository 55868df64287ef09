# SPDX-License-Identifier: Apache-2.0
"""Text files that a user names: read up to a size, so that a wrong or endless one does not fill the memory."""

from __future__ import annotations

from pathlib import Path

from lisa_ros.segmentation.errors import LisaError

MOST_BYTES = 10_000_000
"""Far more than a person writes."""


def read_limited(file: Path, error: type[Exception] = LisaError, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file. Devices and pipes are read as well; their end, if they have one, is found by reading.

    Args:
        file: what to read.
        error: the class of the error.
        most_bytes: the largest size.

    Raises:
        Exception: of the class `error`: the file is larger.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise error(f"{file} has more than {most_bytes / 1e6:g} MB, which are the most; is another file meant?")
    return data


def read_text(file: Path, error: type[Exception] = LisaError) -> str:
    """The text of a UTF-8 file of at most MOST_BYTES, with or without a byte order mark, as editors on Windows save it.

    Raises:
        Exception: of the class `error`: the file is larger, or is not UTF-8.
        OSError: it cannot be read.
    """
    try:
        return read_limited(file, error).decode("utf-8-sig")
    except UnicodeDecodeError as failed:
        raise error(f"{file} is not UTF-8 text ({failed}); convert it") from failed
