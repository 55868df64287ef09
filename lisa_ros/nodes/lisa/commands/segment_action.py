# SPDX-License-Identifier: Apache-2.0
"""The action `~/segment`: a command with feedback (text and masks) that can be cancelled."""

import threading
import time

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from lisa_ros.action import Segment
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.answers.answer_messages import object_message, sendable
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation.answers import Event, MaskFound, TextDelta

_FEEDBACK_QOS = QoSProfile(depth=100)
_TEXT_PERIOD_S = 0.05
_RESULT_KEPT_S = 60
"""How long a result, with its masks, is kept for clients that request it late."""


class SegmentAction:
    """The action server. A goal is accepted or rejected at once; `~/segmentation` has the reason of a rejection."""

    def __init__(self, node: Node, commands: Commands) -> None:
        """Create the server on the node."""
        self._commands = commands
        self._accepted: dict[int, _Goal] = {}
        self._running: dict[bytes, _Goal] = {}
        self._server = ActionServer(
            node,
            Segment,
            "~/segment",
            guarded_by(node, self._on_result),
            goal_callback=guarded_by(node, self._on_goal, GoalResponse.REJECT),
            handle_accepted_callback=guarded_by(node, self._on_accepted),
            cancel_callback=guarded_by(node, self._on_cancel, CancelResponse.REJECT),
            feedback_pub_qos_profile=_FEEDBACK_QOS,
            result_timeout=_RESULT_KEPT_S,
        )

    def close(self) -> None:
        """Destroy the server, after the executor has stopped. A node that is destroyed before its server crashes."""
        self._server.destroy()

    def _on_goal(self, message: Segment.Goal) -> GoalResponse:
        goal = _Goal()
        goal.request = self._commands.request(message.command, listener=goal)
        if not self._commands.accept(goal.request):
            return GoalResponse.REJECT
        self._accepted[id(message)] = goal
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        goal = self._accepted.pop(id(handle.request))
        self._running[bytes(handle.goal_id.uuid)] = goal
        goal.start(handle)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._commands.cancel(self._running[bytes(handle.goal_id.uuid)].request)
        return CancelResponse.ACCEPT

    def _on_result(self, handle: ServerGoalHandle) -> Segment.Result:
        """Called by rclpy after `execute`."""
        message = self._running.pop(bytes(handle.goal_id.uuid)).answer
        if message.status in (Segmentation.OK, Segmentation.NO_OBJECT):
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return Segment.Result(segmentation=message)


class _Goal:
    """The listener of a goal's request, on any thread. Feedback is kept until rclpy has accepted the goal."""

    request: Request
    answer: Segmentation

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: ServerGoalHandle | None = None
        self._pending: list[Segment.Feedback] = []
        self._done = False
        self._text = ""
        self._feedback_s = 0.0

    def start(self, handle: ServerGoalHandle) -> None:
        """Set the goal's handle, after rclpy has accepted the goal."""
        with self._lock:
            self._handle = handle
            for feedback in self._pending:
                handle.publish_feedback(feedback)
            if self._done:
                _execute(handle)

    def on_event(self, event: Event, header: Header) -> None:
        """See Listener."""
        if isinstance(event, TextDelta):
            self._text += event.text
            if time.monotonic() - self._feedback_s > _TEXT_PERIOD_S:
                self._publish(Segment.Feedback(header=header, answer=sendable(self._text)))
        elif isinstance(event, MaskFound):
            found = object_message(event.object, header)
            self._publish(Segment.Feedback(header=header, answer=sendable(self._text), found=[found]))

    def on_answer(self, answer: Segmentation) -> None:
        """See Listener."""
        with self._lock:
            self.answer, self._done = answer, True
            if self._handle is not None:
                _execute(self._handle)

    def _publish(self, feedback: Segment.Feedback) -> None:
        self._feedback_s = time.monotonic()
        with self._lock:
            if self._handle is None:
                self._pending.append(feedback)
            else:
                self._handle.publish_feedback(feedback)


def _execute(handle: ServerGoalHandle) -> None:
    """Make rclpy call `_on_result`."""
    try:
        handle.execute()
    except rclpy_implementation.RCLError:
        # A cancel request came between rclpy's check of the goal's state and its change. The second call sees it.
        handle.execute()
