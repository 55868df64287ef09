# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to commands.

Messages arrive serialized and are read here. Fast DDS itself drops bytes that it cannot read without a word, so that
their sender would wait for an answer and nobody would know why.
"""

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from lisa_ros.nodes.common.guarding import guarded_by

# Commands are small, so all of them are kept until the executor takes them, whatever their number.
COMMAND_QOS = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)


class CommandTopics:
    """The node's subscriptions to commands. While there is no room for answers, commands wait in the middleware."""

    def __init__(self, node: Node, has_room: Callable[[], bool], on_unreadable: Callable[[], None]) -> None:
        """Start without subscriptions.

        Args:
            node: The node.
            has_room: Returns whether a further answer can be queued.
            on_unreadable: Called for each message that cannot be read.
        """
        self._node, self._on_unreadable = node, on_unreadable
        self._group = _GroupWithRoom(has_room)

    def subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Call a guarded callback with each message of a class on a topic."""

        def read(data: bytes) -> None:
            try:
                message = deserialize_message(data, kind)
            except Exception:  # rclpy has no narrower class for the middleware's refusals
                self._on_unreadable()
                sentence = f"A message of {len(data)} bytes on {topic} is not a {kind.__name__}; it is ignored."
                self._node.get_logger().warning(sentence, throttle_duration_sec=10.0)
                return
            callback(message)

        safe = guarded_by(self._node, read)

        def receive(data: bytes) -> None:  # rclpy inspects the callback's arguments
            safe(data)

        self._node.create_subscription(kind, topic, receive, COMMAND_QOS, callback_group=self._group, raw=True)


class _GroupWithRoom(MutuallyExclusiveCallbackGroup):
    """A callback group that the executor leaves out while there is no room.

    The executor looks again when it wakes, for a timer at the latest: diagnostics have one of a second.
    """

    def __init__(self, has_room: Callable[[], bool]) -> None:
        super().__init__()
        self._has_room = has_room

    def can_execute(self, entity: Any) -> bool:
        """See rclpy's CallbackGroup."""
        return self._has_room() and bool(super().can_execute(entity))
