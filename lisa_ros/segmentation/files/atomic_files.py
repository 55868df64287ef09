# SPDX-License-Identifier: Apache-2.0
"""Files that are complete whenever they exist: written beside their name and then renamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Names a file in an error of the system; of a disk that is full while a file is written, Python names none.

    Raises:
        OSError: the block raised one, or an error that was raised because of one, as torch.save does.
    """
    try:
        yield
    except Exception as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(f"{file} cannot be written: {cause.strerror or cause}") from error


def write_bytes(file: Path, data: bytes) -> None:
    """Write a file. A reader sees the old file or the new one, never a part of it.

    Raises:
        OSError: it cannot be written, for example on a full disk; the text names the file. No part of it is left.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with naming(file):
            part.write_bytes(data)
            part.replace(file)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 text, see `write_bytes`.

    Characters that UTF-8 cannot hold (lone surrogates) are written as XML character references.
    """
    write_bytes(file, text.encode("utf-8", errors="xmlcharrefreplace"))


def write_json(file: Path, value: object) -> None:
    """Write a value as indented JSON, see `write_text`."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
