# SPDX-License-Identifier: Apache-2.0
"""The commands that a bag is asked, with their times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lisa_ros.dialogue.operators import DEFAULT_OPERATOR, operator_name
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.text_files import read_text

_LINE = re.compile(r"\s*(?P<time>\d+(?:\.\d+)?)\s*s?\s+(?:(?P<operator>[^\s:]+):\s+)?(?P<text>\S.*?)\s*")
_EPOCH_S = 1e8
"""A larger time is in seconds since 1970, a smaller one since the bag's first message."""


@dataclass(frozen=True)
class BagCommand:
    """One command.

    Attributes:
        time_s: Seconds since the bag's first message or, from 1e8 on, since 1970.
        operator: Whose dialogue it continues.
        text: The command.
    """

    time_s: float
    operator: str
    text: str

    def time_ns(self, start_ns: int) -> int:
        """Its time in nanoseconds since 1970, for a bag that begins at start_ns."""
        return round(self.time_s * 1e9) + (start_ns if self.time_s < _EPOCH_S else 0)


def parse_command(line: str) -> BagCommand:
    """Read a command such as "12.5s operator1: the red mug"; without an operator it is that of "default".

    Raises:
        LisaError: The line has another form.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        raise LisaError(f"{line!r} is not a command with its time; write for example '12.5s operator1: the red mug'")
    return BagCommand(float(found["time"]), operator_name(found["operator"] or DEFAULT_OPERATOR), found["text"])


def read_commands(file: Path) -> list[BagCommand]:
    """Read a file with one command per line; empty lines and those that begin with # are skipped.

    Raises:
        LisaError: A line has another form, and the text names its number; or the file is not UTF-8 text, or too large.
        OSError: The file cannot be read.
    """
    commands = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                commands.append(parse_command(line))
            except LisaError as error:
                raise LisaError(f"{file}, line {number}: {error}") from error
    return commands


def in_order(commands: Iterable[BagCommand], start_ns: int, end_ns: int) -> list[BagCommand]:
    """The commands sorted by time.

    Raises:
        LisaError: There is none, or one is before the bag's first or after its last message.
    """
    ordered = sorted(commands, key=lambda command: command.time_ns(start_ns))
    if not ordered:
        raise LisaError("there is no command; give --command or --commands")
    for command in ordered:
        if not start_ns <= command.time_ns(start_ns) <= end_ns:
            raise LisaError(
                f"the command at {command.time_s:.12g} s ({command.text!r}) is outside the bag, which is"
                f" {(end_ns - start_ns) / 1e9:.1f} s long"
            )
    return ordered
