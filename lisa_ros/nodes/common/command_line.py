# SPDX-License-Identifier: Apache-2.0
"""A node's command line: help, arguments that mean nothing, and parameters that were given but do not exist."""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node

from lisa_ros.nodes.common.starting import StartError

_HELP_FLAGS = frozenset({"-h", "--help"})
_QOS_OVERRIDES = "qos_overrides."
_CLOSE = 0.75
"""Similarity (difflib's ratio, 0 to 1) from which an unknown name counts as a typing error."""


def wants_help(args: Sequence[str] | None) -> bool:
    """Whether a program was asked for its help.

    Args:
        args: as `sys.argv`, the program first; None: the process's own.
    """
    return bool(_HELP_FLAGS & set(_own_arguments(args)))


def check_arguments(args: Sequence[str] | None, parameters: Sequence[str]) -> None:
    """Refuses arguments that are left after ROS's own, which nobody would read.

    Args:
        args: as `sys.argv`, the program first; None: the process's own.
        parameters: names of the node's parameters, to suggest one.

    Raises:
        StartError: there are such arguments; the text says how a parameter is given.
    """
    left = _own_arguments(args)
    if not left:
        return
    name = re.split(r":?=", left[0].lstrip("-"))[0]
    meant = nearest(name, parameters)
    example = f"{meant}:=VALUE" if meant else "NAME:=VALUE"
    raise StartError(
        f"This node has no argument {' '.join(left)!r}; parameters are given as --ros-args -p {example}, "
        "topics as --ros-args -r FROM:=TO"
    )


def check_overrides(given: Sequence[str], declared: Sequence[str]) -> list[str]:
    """Compares parameters that were given with those that exist.

    Args:
        given: names of all parameters that the command line and parameter files set for this node.
        declared: names of the node's parameters.

    Returns:
        the names that do not exist and resemble none that does: a file of `/**` may hold other nodes' parameters.

    Raises:
        StartError: a name resembles an existing one, so that it is a typing error.
    """
    unknown = [name for name in given if name not in declared and not name.startswith(_QOS_OVERRIDES)]
    for name in unknown:
        if meant := nearest(name, declared):
            raise StartError(f"There is no parameter {name!r}; is {meant!r} meant?")
    return unknown


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that a misspelt one resembles most; empty: none does."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
    return found[0] if found else ""


def check_program(args: Sequence[str] | None, program: str, does: str, parameters: Mapping[str, str]) -> bool:
    """The first step of a node's main: prints the help if it was asked for, and refuses unknown arguments.

    Args:
        args: as `sys.argv`; None: the process's own.
        program: name of the executable.
        does: one sentence about the node.
        parameters: name -> description of each parameter.

    Returns:
        whether the help was printed, so that the program ends.

    Raises:
        StartError: there are arguments that nobody reads.
    """
    if wants_help(args):
        lines = [f"  {name}: {text}" for name, text in parameters.items()]
        print(
            f"usage: ros2 run lisa_ros {program} [--ros-args -p NAME:=VALUE ... -r FROM:=TO ... --params-file FILE]\n\n"
            f"{does}\n\nparameters:\n" + "\n".join(lines)
        )
        return True
    check_arguments(args, [*parameters, "use_sim_time"])
    return False


def report_overrides(node: Node, args: Sequence[str] | None) -> None:
    """Warns of parameters and parameter files that were given and have no effect on a node.

    Args:
        node: with all of its parameters declared.
        args: as `sys.argv`; None: the process's own.

    Raises:
        StartError: a parameter's name is a typing error.
    """
    declared = node.list_parameters([], 0).names
    # rclpy has no public list of what was given but not declared.
    for name in check_overrides(list(node._parameter_overrides), declared):
        node.get_logger().warning(f"Parameter {name!r} was given, but this node has no parameter of that name.")
    for file in files_without_effect(args, node.get_fully_qualified_name()):
        node.get_logger().warning(f"{file} has no parameters for {node.get_fully_qualified_name()}.")


def files_without_effect(args: Sequence[str] | None, node: str) -> list[str]:
    """The parameter files on a command line that set nothing of a node.

    Args:
        args: as `sys.argv`; None: the process's own.
        node: the node's full name, for example "/front/lisa".
    """
    args = sys.argv if args is None else args
    files = [after for flag, after in itertools.pairwise(args) if flag == "--params-file"]
    return [file for file in files if not any(_matches(name, node) for name in _sections(file))]


def _own_arguments(args: Sequence[str] | None) -> list[str]:
    """What stands outside of --ros-args; rclpy's remove_ros_args also removes NAME:=VALUE there, an old remapping."""
    own, is_ros = [], False
    for argument in (sys.argv if args is None else args)[1:]:
        if argument == "--ros-args":
            is_ros = True
        elif is_ros and argument == "--":
            is_ros = False
        elif not is_ros:
            own.append(argument)
    return own


def _sections(file: str) -> Iterator[str]:
    """Names of nodes, wildcards included, that a parameter file has parameters for; rcl has read it without error."""
    try:
        # Of the values only their structure counts: as texts, none is refused, such as a day that no month has.
        content = yaml.load(Path(file).read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        found = list(_named(content, ""))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise StartError(f"The parameter file {file} cannot be read: {reason}") from error
    yield from found


def _named(section: Any, path: str) -> Iterator[str]:
    if not isinstance(section, Mapping):
        return
    for key, value in section.items():
        if key == "ros__parameters":
            if value:
                yield path or "/"
        else:
            yield from _named(value, f"{path.rstrip('/')}/{str(key).strip('/')}")


def _matches(pattern: str, node: str) -> bool:
    """ROS 2's wildcards: `*` is one name of the path, `**` any number of them."""
    escaped = re.escape(pattern).replace(r"/\*\*", "(/[^/]+)*").replace(r"\*", "[^/]+")
    return re.fullmatch(escaped, node) is not None
