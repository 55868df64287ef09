# SPDX-License-Identifier: Apache-2.0
"""Types of command line arguments, for argparse."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

_LAST_PORT = 65_535


def given_path(text: str) -> Path:
    """The path of an option.

    Raises:
        ArgumentTypeError: The text is empty, as an unset variable of a script leaves it; pathlib would take it for the
            current folder.
    """
    if not text.strip():
        raise ArgumentTypeError("the path is empty; the current folder is '.'")
    return Path(text)


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers of `least` or more."""
    return _whole_number(least, math.inf, f"a whole number of {least} or more")


def tcp_port(least: int) -> Callable[[str], int]:
    """The type of an option that takes a TCP port; `least` is 0 where that stands for any free one, otherwise 1."""
    return _whole_number(least, _LAST_PORT, f"a port from {least} to {_LAST_PORT}")


def _whole_number(least: int, most: float, wanted: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not text.isascii() or not least <= int(text) <= most:
            raise ArgumentTypeError(f"{text!r} is not {wanted}")
        return int(text)

    return read


def seconds(text: str) -> float:
    """The type of an option that takes a time to wait, above 0 s."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number
