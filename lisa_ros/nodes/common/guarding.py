# SPDX-License-Identifier: Apache-2.0
"""rclpy's executor dies of an exception in a callback; a guarded callback logs it and the node goes on."""

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.executors import ExternalShutdownException

Callback = TypeVar("Callback", bound=Callable[..., Any])


def guarded(callback: Callback) -> Callback:
    """For methods of a node that the executor calls. The node counts the errors in `callback_errors`.

    After an error a service answers with its response as far as it was filled in; rclpy ignores what other callbacks
    return.
    """

    @functools.wraps(callback)
    def guard(self: Any, *arguments: Any) -> Any:
        try:
            return callback(self, *arguments)
        except Exception as error:  # this is where a callback's errors end
            if not self.context.ok():  # ROS was ended under it, which is no fault of the callback
                raise ExternalShutdownException from error
            self.callback_errors += 1
            self.get_logger().error(f"{callback.__name__} failed:\n{traceback.format_exc()}")
            return arguments[-1]

    return guard  # type: ignore[return-value]


def guarded_by(node: Any, callback: Callable[..., Any], instead: Any = None) -> Callable[..., Any]:
    """The same for a callback that is no method of the node, whose errors the node counts and logs.

    Args:
        node: the node.
        callback: called with what rclpy calls it with.
        instead: returned after an error; None: the last argument, as a service's response.
    """

    def call(_node: Any, *arguments: Any) -> Any:
        return callback(*arguments[: len(arguments) - (instead is not None)])

    functools.update_wrapper(call, callback)
    safe = functools.partial(guarded(call), node)
    return safe if instead is None else lambda *arguments: safe(*arguments, instead)
