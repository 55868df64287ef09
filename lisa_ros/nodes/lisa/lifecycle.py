# SPDX-License-Identifier: Apache-2.0
"""Lifecycle transitions on a thread of their own: other callbacks run while a transition loads a model."""

import threading
import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

from lisa_ros.nodes.common.guarding import GuardedExecutor

_CHANGE_STATE = "/change_state"


class NodeExecutor(GuardedExecutor):
    """Runs callbacks one at a time on the spinning thread, but those of one service each on a thread of its own."""

    def __init__(self, service: Any, *, context: Any = None) -> None:
        """Start without a node.

        Args:
            service: The one whose callbacks take long. It has its own callback group.
            context: rclpy's context; None: the default one.
        """
        super().__init__(context=context)
        self._service = service
        self._running: set[Any] = set()

    @property
    def in_transition(self) -> bool:
        """Whether a thread of the service still runs."""
        return any(not one.done() for one in self._running)

    def execute(self, handler: Any, entity: Any, node: Any) -> None:
        """See GuardedExecutor."""
        if entity is not self._service:
            super().execute(handler, entity, node)
        elif handler not in self._running:
            self._running = {one for one in self._running if not one.done()} | {handler}
            threading.Thread(target=handler, name="lisa_transition", daemon=True).start()


def guard_transitions(node: LifecycleNode) -> Any:
    """Make a node's service change_state safe, and give it a callback group of its own.

    In rclpy, a transition that is not possible in the node's state ends the executor. Here it is refused with one line
    in the log.

    Returns:
        the service.
    """
    service = next(one for one in node.services if one.srv_type is ChangeState and one.srv_name.endswith(_CHANGE_STATE))
    service.callback_group = MutuallyExclusiveCallbackGroup()
    service.callback_group.add_entity(service)
    service.callback = _refusing(node, service.callback)
    return service


def _refusing(node: Any, change_state: Callable[..., Any]) -> Callable[..., Any]:
    def refuse_invalid(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except rclpy_implementation.RCLError:
            transition = request.transition.label or request.transition.id
            node.get_logger().warning(f"The transition {transition} is not possible in the node's state; refused.")
        except BaseException:  # the node must survive every error
            node.callback_errors += 1
            node.get_logger().error(f"A lifecycle transition failed:\n{traceback.format_exc()}")
        response.success = False
        return response

    return refuse_invalid
