# SPDX-License-Identifier: Apache-2.0
"""Guarded callbacks: an exception is logged and the node keeps running. In rclpy it would end the executor."""

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)

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


class GuardedExecutor(Executor):
    """Runs callbacks one at a time on the spinning thread, and survives errors of those that rclpy adds to a node.

    These are not guarded: `/clock`, and the parameter services. The node counts errors in `callback_errors`.
    """

    def add_node(self, node: Any) -> bool:
        """See rclpy."""
        _answer_malformed_parameters(node)
        return bool(super().add_node(node))

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """See rclpy's Executor."""
        try:
            handler, entity, node = self.wait_for_ready_callbacks(timeout_sec)
            self.execute(handler, entity, node)
        except (ShutdownException, TimeoutException, ConditionReachedException):
            pass
        except InvalidHandle:  # a callback destroyed what this thread was using
            pass
        except Exception:
            if not self._is_shutdown:  # else its shutdown by another thread destroyed what this one was using
                raise

    def execute(self, handler: Any, entity: Any, node: Any) -> None:
        """Run one callback.

        Args:
            handler: rclpy's task that runs it.
            entity: What it belongs to, for example a subscription; None: a task.
            node: Its node; None: a task, whose exception is raised.
        """
        handler()
        try:
            handler.result()  # raises the callback's exception
        except (InvalidHandle, ExternalShutdownException):
            raise
        except Exception as error:
            if node is None or self._is_shutdown or not self.context.ok():
                raise
            node.callback_errors += 1
            trace = "".join(traceback.format_exception(error))
            node.get_logger().error(f"A callback of {_name_of(entity)} failed:\n{trace}")


def _name_of(entity: Any) -> str:
    """For people."""
    return str(getattr(entity, "topic_name", "") or getattr(entity, "srv_name", "") or type(entity).__name__)


def _answer_malformed_parameters(node: Any) -> None:
    """Let the node's parameter services refuse requests for which rclpy raises an exception and sends no response."""
    for service in node.services:
        if service.srv_type in (SetParameters, SetParametersAtomically):
            service.callback = _refusing(service.callback)


def _refusing(set_parameters: Callable[..., Any]) -> Callable[..., Any]:
    def refuse_malformed(request: Any, response: Any) -> Any:
        try:
            return set_parameters(request, response)
        except Exception as error:  # for example ValueError: a type that does not exist
            refused = SetParametersResult(successful=False, reason=f"The request is malformed: {error}")
        if isinstance(response, SetParameters.Response):
            response.results.extend([refused] * (len(request.parameters) - len(response.results)))
        else:
            response.result = refused
        return response

    return refuse_malformed
