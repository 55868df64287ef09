# SPDX-License-Identifier: Apache-2.0
"""Commands to the segmentation node: sent, cancelled, their answers passed on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from lisa_ros.action import Segment
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common import endpoints
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.common.stamps import time_message
from lisa_ros.speech.language.understanding import Understood
from lisa_ros.srv import ResetDialogue

_WAIT_FOR_NODE_S = 1.0

Answered = Callable[[str, Segmentation], None]
"""Called with the operator and the answer to a command, on the executor's thread."""


@dataclass
class _Goal:
    """A command without an answer.

    Attributes:
        operator: Whose.
        processes: That may have taken it.
        handle: Once the goal is accepted.
        cancelled: Whether it is to be cancelled as soon as it is accepted.
    """

    operator: str
    processes: endpoints.Endpoints
    handle: Any = None
    cancelled: bool = False


class GoalClient(ActionClient):
    """A client of `~/segment` whose goals may be sent, cancelled and waited for in another thread than the executor's.

    rclpy's own would ignore a response that comes before it has noted the request, and the goal would never end.
    """

    def __init__(self, node: Node, name: str) -> None:
        """Takes the node and the action's name."""
        self._sending = threading.Lock()
        super().__init__(node, Segment, name, **endpoints.SEGMENT_CLIENT_QOS)

    def send_goal_async(self, *arguments: Any, **options: Any) -> Any:
        """See rclpy."""
        with self._sending:
            return super().send_goal_async(*arguments, **options)

    def _cancel_goal_async(self, goal_handle: Any) -> Any:
        with self._sending:
            return super()._cancel_goal_async(goal_handle)

    def _get_result_async(self, goal_handle: Any) -> Any:
        with self._sending:
            return super()._get_result_async(goal_handle)

    async def execute(self, taken_data: Any) -> None:
        """See rclpy."""
        with self._sending:
            pass
        await super().execute(taken_data)


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
        self._client = GoalClient(node, f"{lisa}/segment")
        self._reset = node.create_client(ResetDialogue, f"{lisa}/reset_dialogue")
        # A copy for people and recorders; nobody answers it.
        self._sent = node.create_publisher(Command, "~/command", 10)
        self._lock = threading.Lock()
        self._goals: dict[str, _Goal] = {}
        """By the command's id."""

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
            self._goals[command.id] = _Goal(operator, endpoints.publishers_of(self._node, self._answers))
        future = self._client.send_goal_async(Segment.Goal(command=command))
        future.add_done_callback(guarded_by(self._node, lambda sent: self._on_sent(command, sent), False))
        self._sent.publish(command)
        return str(command.id), ""

    def cancel(self, operator: str) -> int:
        """Cancels the operator's commands that have no answer; how many."""
        with self._lock:
            mine = [goal for goal in self._goals.values() if goal.operator == operator]
            for goal in mine:
                goal.cancelled = True
        for goal in mine:
            if goal.handle is not None:
                goal.handle.cancel_goal_async()
        return len(mine)

    def reset(self, operator: str) -> str:
        """Begins the operator's dialogue anew; returns one sentence why that is not possible, or ""."""
        if not self._reset.wait_for_service(_WAIT_FOR_NODE_S):
            return f"There is no service {self._lisa}/reset_dialogue; is lisa_node running?"
        self._reset.call_async(ResetDialogue.Request(operator_id=operator))
        return ""

    def check(self) -> None:
        """Answers commands of a node that has ended, which nobody else will; to be called once a second."""
        with self._lock:
            waiting = dict(self._goals)
        for command_id, goal in waiting.items():
            if not goal.processes:  # the action was discovered before the topic of its answers
                goal.processes = endpoints.publishers_of(self._node, self._answers)
            if endpoints.have_ended(self._node, self._answers, goal.processes):
                self._end(command_id, goal.operator, Segmentation.FAILED, endpoints.HAS_ENDED)

    def close(self) -> None:
        """Ends the action's client; the executor must have stopped."""
        self._client.destroy()

    @property
    def _answers(self) -> str:
        return f"{self._lisa}/segmentation"

    def _end(self, command_id: str, operator: str, status: int, detail: str) -> None:
        with self._lock:
            if self._goals.pop(command_id, None) is None:
                return
        self._answered(operator, Segmentation(id=command_id, operator_id=operator, status=status, detail=detail))

    def _on_sent(self, command: Command, sent: Any) -> None:
        handle = sent.result()
        if handle is None or not handle.accepted:
            detail = "The command was rejected; ~/segmentation says why."
            self._end(command.id, command.operator_id, Segmentation.REJECTED, detail)
            return
        with self._lock:
            goal = self._goals.get(command.id)
            if goal is not None:
                goal.handle = handle
        if goal is None or goal.cancelled:
            handle.cancel_goal_async()
        result = handle.get_result_async()
        result.add_done_callback(guarded_by(self._node, lambda done: self._on_result(command, done), False))

    def _on_result(self, command: Command, done: Any) -> None:
        if (answer := endpoints.answer_in(done.result())) is None:
            self._end(command.id, command.operator_id, Segmentation.FAILED, endpoints.DOES_NOT_KNOW)
            return
        with self._lock:
            if self._goals.pop(command.id, None) is None:
                return
        self._answered(command.operator_id, answer)
