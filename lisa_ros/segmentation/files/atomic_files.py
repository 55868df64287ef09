# SPDX-License-Identifier: Apache-2.0
"""Text files that are complete whenever they exist: written beside their name and then renamed."""

from __future__ import annotations

import json
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Write a UTF-8 text. A reader sees the old file or the new one, never a part of it.

    Characters that UTF-8 cannot hold (lone surrogates) are written as XML character references.
    """
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    part.replace(file)


def write_json(file: Path, value: object) -> None:
    """Write a value as indented JSON, see `write_text`."""
    write_text(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
