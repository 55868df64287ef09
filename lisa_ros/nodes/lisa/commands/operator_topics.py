# SPDX-License-Identifier: Apache-2.0
"""Topics of single operators, so that access rules (SROS2) can give each operator only their own."""

import re
from functools import partial

from lisa_ros.msg import Command
from lisa_ros.nodes.lisa.commands.command_topics import CommandTopics
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.parameters import ParameterError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""An operator id that can be a part of a topic's name."""


def operator_ids(operators: str) -> tuple[str, ...]:
    """The ids in the parameter `operators`.

    Raises:
        ParameterError: One cannot be a part of a topic's name, or is there twice.
    """
    names = tuple(one.strip() for one in operators.split(",")) if operators.strip() else ()
    for name in names:
        if not _NAME.fullmatch(name):
            raise ParameterError(
                f"Parameter operators has {name!r}; an operator with topics of their own needs an id of letters, digits"
                " and underscores that begins with a letter."
            )
    if len(set(names)) < len(names):
        raise ParameterError(f"Parameter operators names an operator twice: {operators}.")
    return names


class OperatorTopics:
    """Subscribes to the command topics of single operators. The topic says who speaks, not the message."""

    def __init__(self, topics: CommandTopics, operators: tuple[str, ...], commands: Commands) -> None:
        """Create the subscriptions."""
        self._commands = commands
        for operator in operators:
            topics.subscribe(Command, f"~/operators/{operator}/command", partial(self._on_command, operator))

    def _on_command(self, operator: str, message: Command) -> None:
        claimed, message.operator_id = message.operator_id, operator
        request = self._commands.request(message)
        if claimed in ("", operator):
            self._commands.accept(request)
        else:
            self._commands.reject(request, f"This topic is {operator}'s; the command names another operator.")
