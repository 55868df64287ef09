# SPDX-License-Identifier: Apache-2.0
"""The node's parameters while it runs: declared, checked at every change, and available as one immutable value."""

import dataclasses
import threading
from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from lisa_ros.nodes.common.command_line import nearest
from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, TYPES, Bounds, NodeParameters, ParameterError
from lisa_ros.segmentation.text import quoted


class LiveParameters:
    """The parameters of one node: declares them, checks changes, and holds the current values.

    Attributes:
        current: The values now; replaced as a whole.
        changing: Held while parameters are set, from their check to the new `current`.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool]) -> None:
        """Declare all parameters on the node.

        Args:
            node: The node.
            is_configured: Whether the node is configured, or just being configured, so that the parameters that are
                read then are in use.

        Raises:
            ParameterError: A value from the command line or a file is invalid.
        """
        self._node, self._is_configured = node, is_configured
        self.changing = threading.RLock()
        for entry in dataclasses.fields(NodeParameters):
            _declare(node, entry)
        self.current = NodeParameters(
            **{e.name: node.get_parameter(e.name).value for e in dataclasses.fields(NodeParameters)}
        )
        self._listeners: list[Callable[[NodeParameters], None]] = []
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._apply)

    def on_change(self, listener: Callable[[NodeParameters], None]) -> None:
        """Call a listener with the new values after each change, on the executor's thread."""
        self._listeners.append(listener)

    def refused(self, parameters: list[Parameter]) -> SetParametersResult | None:
        """The result if one of the parameters does not exist, with its name: rclpy's own names none. None: all do."""
        names = [parameter.name for parameter in parameters if not self._node.has_parameter(parameter.name)]
        if not names:
            return None
        meant = nearest(names[0], list(FIELD_BOUNDS))
        sentence = f"There is no parameter {quoted(names[0])}{f'; is {meant!r} meant?' if meant else '.'}"
        return SetParametersResult(successful=False, reason=sentence)

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                check_choice(parameter.name, parameter.value)
                self._check_moment(parameter.name)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_moment(self, name: str) -> None:
        bounds = FIELD_BOUNDS.get(name)
        if bounds and bounds.at_configure and self._is_configured():
            raise ParameterError(f"Parameter {name} is read when the node is configured; clean the node up first.")

    def _apply(self, parameters: list[Parameter]) -> None:
        changed = {parameter.name: parameter.value for parameter in parameters if parameter.name in FIELD_BOUNDS}
        self.current = dataclasses.replace(self.current, **changed)
        for listener in self._listeners:
            listener(self.current)


def check_choice(name: str, value: object) -> None:
    """Raise ParameterError for a text that is not one of the parameter's choices. rclpy checks types and ranges."""
    bounds = FIELD_BOUNDS.get(name)
    if bounds and bounds.choices and value not in bounds.choices:
        raise ParameterError(f"Parameter {name} is {value!r}; it must be one of {', '.join(bounds.choices)}.")


def descriptor(name: str) -> ParameterDescriptor:
    """The parameter's descriptor, as shown by `ros2 param describe`."""
    bounds = FIELD_BOUNDS[name]
    return ParameterDescriptor(
        name=name,
        description=bounds.description,
        additional_constraints=f"One of: {', '.join(bounds.choices)}" if bounds.choices else "",
        read_only=bounds.read_only,
        integer_range=list(_range(IntegerRange, int, bounds)) if TYPES[name] is int else [],
        floating_point_range=list(_range(FloatingPointRange, float, bounds)) if TYPES[name] is float else [],
    )


def _range(message: Any, kind: type, bounds: Bounds) -> Iterable[Any]:
    if bounds.minimum is not None and bounds.maximum is not None:
        yield message(from_value=kind(bounds.minimum), to_value=kind(bounds.maximum))


def _declare(node: Node, entry: dataclasses.Field[Any]) -> None:
    try:
        value = node.declare_parameter(entry.name, entry.default, descriptor(entry.name)).value
    except ParameterException as error:
        bounds = FIELD_BOUNDS[entry.name]
        limits = f" from {bounds.minimum:g} to {bounds.maximum:g}" if bounds.maximum is not None else ""
        kind = {
            "int": "a whole number",
            "float": "a number with a decimal point",
            "str": "a text",
            "bool": "true or false",
        }[type(entry.default).__name__]
        raise ParameterError(f"Parameter {entry.name} must be {kind}{limits} ({error}).") from error
    check_choice(entry.name, value)
