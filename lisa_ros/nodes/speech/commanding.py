# SPDX-License-Identifier: Apache-2.0
"""Commands to the segmentation node: sent, cancelled, their answers passed on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.common.stamps import time_message
from lisa_ros.speech.language.understanding import Understood
from lisa_ros.srv import ResetDialogue

_WAIT_FOR_NODE_S = 1.0

Answered = Callable[[str, Segmentation], None]
"""Called with the operator and the answer to a command, on the executor's thread."""


class Commanding:
    """Sends commands as goals of the action, so that they can be cancelled."""

    def __init__(self, node: Node, lisa: str, answered: Answered) -> None:
        """Creates the clients on the node.

        Args:
            node: the node.
            lisa: name of the node that segments.
            answered: takes each answer.
        """
        self._node, self._lisa, self._answered = node, lisa, answered
        self._client = ActionClient(node, Segment, f"{lisa}/segment")
        self._reset = node.create_client(ResetDialogue, f"{lisa}/reset_dialogue")
        # A copy for people and recorders; nobody answers it.
        self._sent = node.create_publisher(Command, "~/command", 10)
        self._lock = threading.Lock()
        self._goals: dict[str, tuple[str, Any]] = {}
        """By the command's id: the operator, and the goal's handle once it is accepted."""
        self._cancelled: set[str] = set()

    @property
    def waiting(self) -> int:
        """Commands that have no answer yet."""
        with self._lock:
            return len(self._goals)

    def send(self, operator: str, understood: Understood, start_ns: int) -> tuple[str, str]:
        """Sends a command.

        Args:
            operator: who said it.
            understood: what was said.
            start_ns: when the utterance began, nanoseconds; the answer is about an image of that moment.

        Returns:
            the command's id and "", or "" and one sentence why it was not sent.
        """
        if not self._client.wait_for_server(_WAIT_FOR_NODE_S):
            return "", f"There is no action {self._lisa}/segment; is lisa_node running?"
        command = Command(
            id=uuid.uuid4().hex,
            operator_id=operator,
            text=understood.used,
            heard=understood.heard,
            stamp=time_message(max(0, start_ns)),
        )
        with self._lock:
            self._goals[command.id] = (operator, None)
        future = self._client.send_goal_async(Segment.Goal(command=command))
        future.add_done_callback(guarded_by(self._node, lambda sent: self._on_sent(command, sent), False))
        self._sent.publish(command)
        return str(command.id), ""

    def cancel(self, operator: str) -> int:
        """Cancels the operator's commands that have no answer; how many."""
        with self._lock:
            mine = {name: handle for name, (whose, handle) in self._goals.items() if whose == operator}
            self._cancelled |= set(mine)
        for handle in mine.values():
            if handle is not None:
                handle.cancel_goal_async()
        return len(mine)

    def reset(self, operator: str) -> str:
        """Begins the operator's dialogue anew; returns one sentence why that is not possible, or ""."""
        if not self._reset.wait_for_service(_WAIT_FOR_NODE_S):
            return f"There is no service {self._lisa}/reset_dialogue; is lisa_node running?"
        self._reset.call_async(ResetDialogue.Request(operator_id=operator))
        return ""

    def close(self) -> None:
        """Ends the action's client; the executor must have stopped."""
        self._client.destroy()

    def _on_sent(self, command: Command, sent: Any) -> None:
        handle = sent.result()
        if handle is None or not handle.accepted:
            with self._lock:
                self._goals.pop(command.id, None)
            rejected = Segmentation(
                id=command.id,
                operator_id=command.operator_id,
                status=Segmentation.REJECTED,
                detail="The command was rejected; ~/segmentation says why.",
            )
            self._answered(command.operator_id, rejected)
            return
        with self._lock:
            self._goals[command.id] = (command.operator_id, handle)
            is_cancelled = command.id in self._cancelled
        if is_cancelled:
            handle.cancel_goal_async()
        result = handle.get_result_async()
        result.add_done_callback(guarded_by(self._node, lambda done: self._on_result(command, done), False))

    def _on_result(self, command: Command, done: Any) -> None:
        with self._lock:
            self._goals.pop(command.id, None)
            self._cancelled.discard(command.id)
        self._answered(command.operator_id, done.result().result.segmentation)
