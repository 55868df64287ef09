# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON files of a checkpoint folder. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lisa_ros.models.common.errors import CheckpointError

_MAX_BYTES = 64 << 20
"""Far more than the index of the largest checkpoint has."""


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a checkpoint folder.

    Raises:
        CheckpointError: the file is missing, is no regular file, is not JSON, or does not hold an object.
    """
    if not path.exists():
        raise CheckpointError(f"{path} is missing; a checkpoint folder has it")
    if not path.is_file():  # to open a named pipe would wait for a writer
        raise CheckpointError(f"{path} is not a regular file; a checkpoint folder has a JSON file of that name")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES >> 20} MiB")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}, an object is expected")
    return value


def config_of(folder: Path) -> dict[str, Any]:
    """The object in a folder's config.json; empty where it cannot be read."""
    try:
        return read_json(folder / "config.json")
    except CheckpointError:
        return {}
