# SPDX-License-Identifier: Apache-2.0
"""The base class of the errors that a user can correct, a check of what is given, and how to get what is missing."""

from __future__ import annotations

from typing import Any


class LisaError(ValueError):
    """What a user gave cannot be used; the text is one sentence that says what was wrong and what would be right.

    Programs show the text alone. Any other exception is a fault of the software and is shown with its traceback.
    """


class ImageError(LisaError):
    """An image cannot be used; the text says what was wrong and what would be right."""


def is_kind(value: Any, *kinds: type) -> bool:
    """As isinstance, but True and False are no numbers: Python's bool is an int, and True tokens would be one token."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def sentence_of(error: Exception) -> str:
    """An error's text for people: of the system's errors the file and the reason, without the number before them."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def how_to_install(*extras: str) -> str:
    """The command that installs optional packages; lisa_ros itself is on no package index.

    Args:
        extras: their names in setup.py.
    """
    command = f"pip install -c constraints.txt $(python3 tools/requirements.py --only {' '.join(extras)})"
    return f"in lisa_ros's checkout, type: {command}"
