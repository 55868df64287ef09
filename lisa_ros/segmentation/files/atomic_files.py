# SPDX-License-Identifier: Apache-2.0
"""Files that are complete whenever they exist: written beside their name and then renamed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path


def write_bytes(file: Path, data: bytes) -> None:
    """Write a file. A reader sees the old file or the new one, never a part of it.

    Raises:
        OSError: it cannot be written, for example on a full disk; the text names the file. No part of it is left.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        part.write_bytes(data)
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise OSError(f"{file} cannot be written: {error.strerror or error}") from error


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 text, see `write_bytes`.

    Characters that UTF-8 cannot hold (lone surrogates) are written as XML character references.
    """
    write_bytes(file, text.encode("utf-8", errors="xmlcharrefreplace"))


def write_json(file: Path, value: object) -> None:
    """Write a value as indented JSON, see `write_text`."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
