# SPDX-License-Identifier: Apache-2.0
"""Output folders, made and tried before the work whose results they get."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lisa_ros.segmentation.errors import LisaError


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
