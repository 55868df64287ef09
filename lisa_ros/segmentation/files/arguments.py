# SPDX-License-Identifier: Apache-2.0
"""Types of command line arguments, for argparse."""

from __future__ import annotations

import errno
import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

_LAST_PORT = 65_535
LARGEST = 2**31 - 1
"""Far more than any option means. Larger numbers overflow in torch, OpenMP and others."""


def given_path(text: str) -> Path:
    """The path of an option.

    Raises:
        ArgumentTypeError: The text is empty, as an unset variable of a script leaves it; pathlib would take it for the
            current folder. Or it is a loop of symbolic links, for which pathlib raises a RuntimeError, or it has a NUL.
    """
    if not text.strip():
        raise ArgumentTypeError("the path is empty; the current folder is '.'")
    path = Path(text)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArgumentTypeError(
                f"{text} is a symbolic link that leads back to itself; name a path without it"
            ) from None
    except ValueError:
        raise ArgumentTypeError(f"{text!r:.80} has a NUL; no path has one") from None
    return path


def given_text(text: str) -> str:
    """The type of an option whose text is never empty, see `given_path`."""
    if not text.strip():
        raise ArgumentTypeError("the text is empty; leave the option out for its default")
    return text


def at_least(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """The type of an option that takes whole numbers of `least` or more, up to `most`."""
    return _whole_number(least, most, f"a whole number of {least} or more")


def tcp_port(least: int) -> Callable[[str], int]:
    """The type of an option that takes a TCP port; `least` is 0 where that stands for any free one, otherwise 1."""
    return _whole_number(least, _LAST_PORT, f"a port from {least} to {_LAST_PORT}")


def _whole_number(least: int, most: int, wanted: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not text.isascii() or float(text) < least:
            raise ArgumentTypeError(f"{text!r:.80} is not {wanted}")
        if float(text) > most:  # int() itself refuses more than 4300 digits
            raise ArgumentTypeError(f"{text!r:.80} is not {wanted}, and at most {most}")
        return int(text)

    return read


def number(least: float, wanted: str, *, above: bool = False, most: float = math.inf) -> Callable[[str], float]:
    """The type of an option that takes a finite number.

    Args:
        least: the smallest.
        wanted: what is expected, for the message: "... is not WANTED".
        above: whether `least` itself is too small.
        most: the largest.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value) or (above and value == least):
            raise ArgumentTypeError(f"{text!r:.80} is not {wanted}")
        return value

    return read


seconds = number(0, "a number of seconds above 0", above=True)
"""The type of an option that takes a time to wait, above 0 s."""
