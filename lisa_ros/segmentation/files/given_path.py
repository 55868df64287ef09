# SPDX-License-Identifier: Apache-2.0
"""Files and folders as they are given on a command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path


def given_path(text: str) -> Path:
    """The path of an option.

    Raises:
        ArgumentTypeError: The text is empty, as an unset variable of a script leaves it; pathlib would take it for the
            current folder.
    """
    if not text.strip():
        raise ArgumentTypeError("the path is empty; the current folder is '.'")
    return Path(text)
