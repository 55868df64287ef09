# SPDX-License-Identifier: Apache-2.0
"""The parser of every subcommand: exact option names, a suggestion for a misspelt one, and options that do not apply.

An option that has an effect only under a condition is declared with it, `add_argument("--union", applies=...)`. It is
refused by name where the condition does not hold, so that no option is ever ignored in silence.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.arguments import given_path

_CLOSE = 0.75
"""Similarity (difflib's ratio, 0 to 1) from which an option counts as a misspelling of a known one."""

_NUMBER = re.compile(r"^-\d*\.?\d+(e[+-]?\d+)?$")


@dataclass(frozen=True)
class Condition:
    """When an option has an effect.

    Attributes:
        text: Completes "OPTION applies only ...", for example "with --protocol generate".
        holds: Whether it applies, given the parsed options.
        found: What was given instead, for the message; empty: nothing to add.
    """

    text: str
    holds: Callable[[argparse.Namespace], bool]
    found: Callable[[argparse.Namespace], str] = lambda options: ""


def with_value(name: str, *values: Any, text: str = "", positional: bool = False) -> Condition:
    """The option applies only with certain values of another one.

    Args:
        name: The other option's name in the namespace, for example "protocol".
        values: The values it may have.
        text: See Condition; empty: made from the name and the values.
        positional: Whether the other one is an argument without a flag; then the message does not name it.
    """
    flag = f"--{name.replace('_', '-')}"
    return Condition(
        text or f"with {flag} {' or '.join(map(str, values))}",
        lambda options: getattr(options, name) in values,
        lambda options: "" if positional or getattr(options, name) is None else f"{flag} is {getattr(options, name)}",
    )


def with_option(name: str) -> Condition:
    """The option applies only where another one is given, one with a value or a switch."""
    return Condition(f"with --{name.replace('_', '-')}", lambda options: _is_given(options, name))


def without(name: str) -> Condition:
    """The option applies only where another one, one with a value or a switch, is not given."""
    return Condition(f"without --{name.replace('_', '-')}", lambda options: not _is_given(options, name))


def _is_given(options: argparse.Namespace, name: str) -> bool:
    value = getattr(options, name)
    return value is not None and value is not False


class Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # no generic at run time
    """The subcommands: the line of `lisa --help` about one is also the first sentence of its own help."""

    def add_parser(self, name: str, *, help: str, description: str = "", **options: Any) -> CommandParser:  # type: ignore[override]
        """Adds one; see argparse."""
        sentence = description or f"{help[0].upper()}{help[1:]}."
        parser: CommandParser = super().add_parser(name, help=help, description=sentence, **options)
        return parser


class CommandParser(argparse.ArgumentParser):
    """Parses the arguments of one subcommand.

    Abbreviations of options are off: `--quant` would mean another option as soon as one of that beginning is added.
    """

    def __init__(self, *names: Any, passes_on: bool = False, **options: Any) -> None:
        """Make a parser.

        Args:
            *names: See argparse.ArgumentParser.
            passes_on: Leave unknown arguments to the subcommand, as `options.rest`.
            **options: See argparse.ArgumentParser.
        """
        self._passes_on = passes_on
        self._conditions: dict[str, tuple[Condition, ...]] = {}
        options["allow_abbrev"] = False
        super().__init__(*names, **options)
        self.register("type", Path, given_path)  # of every argument with type=Path

    def add_argument(self, *names: Any, applies: Condition | Sequence[Condition] = (), **options: Any) -> Any:
        """Add an argument.

        Args:
            *names: See argparse.ArgumentParser.add_argument.
            applies: Conditions that all must hold for the option to have an effect; checked by `check`.
            **options: See argparse.ArgumentParser.add_argument.
        """
        action = super().add_argument(*names, **options)
        conditions = (applies,) if isinstance(applies, Condition) else tuple(applies)
        self._conditions |= {name: conditions for name in action.option_strings}
        return action

    def restrict(self, condition: Condition, unless: Sequence[str]) -> None:
        """Add a condition to all options declared so far but some.

        Args:
            condition: See Condition.
            unless: The options that it does not concern, for example "--output".
        """
        for flag in self._conditions.keys() - set(unless):
            self._conditions[flag] = (condition, *self._conditions[flag])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse the arguments; unknown ones end the program with the nearest known name."""
        if self._subparsers is not None:  # what follows is another parser's
            return super().parse_known_args(args, namespace)
        given = list(args or ())
        options = given[: given.index("--")] if "--" in given else given
        flags = [one.partition("=")[0] for one in options if self._is_option(one)]
        if not self._passes_on:
            self._refuse_unknown(flags)
        parsed, rest = super().parse_known_args(given, namespace)
        if rest and not self._passes_on:
            self.error(f"unexpected argument {rest[0]!r}")
        parsed.parser, parsed.given, parsed.rest = self, flags, rest
        return parsed, []

    def check(self, options: argparse.Namespace) -> None:
        """Refuse options that were given but have no effect.

        Raises:
            LisaError: There is such an option; the text names it, where it applies, and what was given.
        """
        for flag in options.given:
            for condition in self._conditions.get(flag, ()):
                if not condition.holds(options):
                    found = condition.found(options)
                    raise LisaError(f"{flag} applies only {condition.text}{'; ' if found else ''}{found}")

    def error(self, message: str) -> NoReturn:
        """End the program with one sentence, and where to read more."""
        end = "" if message.endswith("?") else "."
        self.exit(2, f"{self.prog}: {message}{end} See `{self.prog} --help`.\n")

    def _is_option(self, argument: str) -> bool:
        """Whether argparse takes an argument for an option: a text with a space in it is a value."""
        known = argument in self._option_string_actions
        return known or (len(argument) > 1 and argument[0] == "-" and not (_NUMBER.match(argument) or " " in argument))

    def _refuse_unknown(self, flags: Sequence[str]) -> None:
        for flag in flags:
            if flag not in self._option_string_actions:
                near = self._nearest(flag)
                self.error(f"there is no option {flag}{f'; is {near} meant?' if near else ''}")

    def _nearest(self, flag: str) -> str:
        """The option that an abbreviation begins, or that a misspelling resembles; empty: none."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        longer = [name for name in known if name.startswith(flag)] if len(flag) > 3 else []
        return next(iter(longer or difflib.get_close_matches(flag, known, n=1, cutoff=_CLOSE)), "")
