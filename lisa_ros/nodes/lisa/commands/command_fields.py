# SPDX-License-Identifier: Apache-2.0
"""A Command from a program's values, with their types checked."""

import operator
from collections.abc import Iterable

from builtin_interfaces.msg import Time

from lisa_ros.msg import Command


def command_of(*, references: Iterable[int], stamp: Time | None, **texts: str) -> Command:
    """Make a command.

    rclpy's messages do not check their fields by default: a text that is None aborts the process when it is sent.

    Args:
        references: Numbers of turns.
        stamp: Time of the command; None: not set.
        texts: Further fields.

    Raises:
        TypeError: A value has another type.
        ValueError: A text is no valid Unicode, or a reference is no number of a turn.
    """
    for name, value in texts.items():
        _check_text(name, value)
    numbers = [operator.index(number) for number in references]
    if not all(0 <= number < 2**32 for number in numbers):
        raise ValueError(f"references are {numbers}; they must be numbers of turns, counted from 1")
    if not (stamp is None or isinstance(stamp, Time)):
        raise TypeError(f"stamp is {stamp!r}; it must be a builtin_interfaces/Time")
    return Command(references=numbers, stamp=stamp or Time(), **texts)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; it must be a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is {value!r}, which is no valid Unicode") from error
