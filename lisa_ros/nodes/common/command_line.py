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
from rclpy.qos import HistoryPolicy, QoSPolicyKind, ReliabilityPolicy

from lisa_ros.nodes.common.starting import StartError

_HELP_FLAGS = frozenset({"-h", "--help"})
_QOS_OVERRIDES = "qos_overrides."
_QOS_NAME = re.compile(r"qos_overrides\.(/.+)\.(?:publisher|subscription)(?:_\w+)?\.(\w+)")
_QOS_EXAMPLE = "qos_overrides./image.subscription.reliability"
_QOS_VALUES = {
    "history": [one.lower() for one in HistoryPolicy.__members__ if one != "UNKNOWN"],
    "reliability": [one.lower() for one in ReliabilityPolicy.__members__ if one != "UNKNOWN"],
}
_QOS_POLICIES = [one.lower() for one in QoSPolicyKind.__members__ if one != "INVALID"]
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


def check_qos(given: Mapping[str, Any]) -> None:
    """Checks QoS that was given as parameters; rclpy would only refuse it with a traceback, or not read it.

    Args:
        given: names of parameters -> their values; others than `qos_overrides.*` are left out.

    Raises:
        StartError: a name or value is wrong.
    """
    for name, value in given.items():
        if not name.startswith(_QOS_OVERRIDES):
            continue
        found = _QOS_NAME.fullmatch(name)
        if found is None or found[2] not in _QOS_POLICIES:
            known = ", ".join([*_QOS_VALUES, "depth"])
            raise StartError(
                f"Parameter {name!r} sets no QoS; the name is as {_QOS_EXAMPLE}, and the last part {known}"
            )
        choices = _QOS_VALUES.get(found[2])
        if choices and str(value).lower() not in choices:
            raise StartError(f"Parameter {name!r} is {value!r}; it must be one of {', '.join(choices)}")
        if found[2] == "depth" and (type(value) is not int or value < 0):
            raise StartError(f"Parameter {name!r} is {value!r}; it must be a whole number of 0 or more")


def check_given_qos(node: Node) -> None:
    """As `check_qos`, for what was given to a node; to be called before it makes publishers.

    Raises:
        StartError: a name or value is wrong.
    """
    # rclpy has no public list of what was given but not declared.
    check_qos({name: one.value for name, one in node._parameter_overrides.items()})


def misspelt_remappings(args: Sequence[str] | None, topics: Sequence[str]) -> list[str]:
    """One sentence for each remapping whose left side is no topic of the node and resembles one.

    Names with a namespace are left out: they may be in full, or of other nodes of a launch file's group.

    Args:
        args: as `sys.argv`; None: the process's own.
        topics: the node's inputs, as they are remapped.
    """
    args = sys.argv if args is None else args
    rules = [after for flag, after in itertools.pairwise(args) if flag in ("-r", "--remap") and ":=" in after]
    names = {rule: rule.split(":=")[0].rpartition(":")[2].strip("/") for rule in rules}
    return [
        f"Remapping {rule} has no effect: this node has no topic {name!r}; is {meant!r} meant?"
        for rule, name in names.items()
        if "/" not in name and name not in topics and (meant := nearest(name, topics))
    ]


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


def report_overrides(node: Node, args: Sequence[str] | None, topics: Sequence[str] = ()) -> None:
    """Warns of parameters, parameter files and remappings that were given and have no effect on a node.

    Args:
        node: with all of its parameters declared.
        args: as `sys.argv`; None: the process's own.
        topics: the node's inputs, as they are remapped; empty: remappings are not looked at.

    Raises:
        StartError: a parameter's name is a typing error, or QoS that was given is none.
    """
    declared = node.list_parameters([], 0).names
    # rclpy has no public list of what was given but not declared.
    for name in check_overrides(list(node._parameter_overrides), declared):
        node.get_logger().warning(f"Parameter {name!r} was given, but this node has no parameter of that name.")
    check_given_qos(node)
    for sentence in misspelt_remappings(args, topics):
        node.get_logger().warning(sentence)
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
