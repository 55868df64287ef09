# SPDX-License-Identifier: Apache-2.0
"""The files of a checkpoint folder other than weights: configuration, tokenizer, licences."""

from __future__ import annotations

from pathlib import Path

from lisa_ros.models.common.checkpoints.configuration import UNFINISHED

_PATTERNS = ("*.json", "*.model", "*.txt", "*.md", "LICENSE*", "NOTICE*")


def description_files(folder: Path) -> list[Path]:
    """The files that a copy of a checkpoint folder needs besides the weights and their index, sorted."""
    found = {file for pattern in _PATTERNS for file in folder.glob(pattern) if file.is_file()}
    return sorted(file for file in found if not file.name.endswith(".index.json") and file.name != UNFINISHED)
