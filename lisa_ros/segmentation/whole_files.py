# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import json
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Writes a UTF-8 text beside the file and renames it, so that no reader ever sees half of it.

    Characters that UTF-8 cannot hold (lone surrogates) are written as XML character references.
    """
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    part.replace(file)


def write_json(file: Path, value: object) -> None:
    """Writes a value as indented JSON, see write_whole."""
    write_whole(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
