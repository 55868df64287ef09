# SPDX-License-Identifier: Apache-2.0
"""Guarded callbacks: an exception is logged and the node keeps running. In rclpy it would end the executor."""

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.executors import ExternalShutdownException

Callback = TypeVar("Callback", bound=Callable[..., Any])


def guarded(callback: Callback) -> Callback:
    """Guard a method of a node that the executor calls. The node counts errors in its attribute `callback_errors`.

    After an error, a service sends its response as far as it was filled in. rclpy ignores the return values of other
    callbacks.
    """

    @functools.wraps(callback)
    def guard(self: Any, *arguments: Any) -> Any:
        try:
            return callback(self, *arguments)
        except Exception as error:
            if not self.context.ok():  # ROS was shut down meanwhile: not an error of the callback
                raise ExternalShutdownException from error
            self.callback_errors += 1
            self.get_logger().error(f"{callback.__name__} failed:\n{traceback.format_exc()}")
            return arguments[-1] if arguments else None  # a timer's callback has none

    return guard  # type: ignore[return-value]


def guarded_by(node: Any, callback: Callable[..., Any], instead: Any = None) -> Callable[..., Any]:
    """Guard a callback that is not a method of the node. The node counts and logs its errors.

    Args:
        node: The node.
        callback: The callback; it gets rclpy's arguments unchanged.
        instead: Return value after an error; None: the last argument, which is a service's response.
    """

    def call(_node: Any, *arguments: Any) -> Any:
        return callback(*arguments[: len(arguments) - (instead is not None)])

    functools.update_wrapper(call, callback)
    safe = functools.partial(guarded(call), node)
    return safe if instead is None else lambda *arguments: safe(*arguments, instead)
