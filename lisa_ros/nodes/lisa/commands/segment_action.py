# SPDX-License-Identifier: Apache-2.0
"""The action `~/segment`: a command whose words and masks are told as they come, and that can be cancelled."""

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
_WORDS_EVERY_S = 0.05
_RESULT_KEPT_S = 60
"""How long a result with its masks waits for a client that asks late."""


class SegmentAction:
    """Makes requests of goals. A goal is accepted or rejected at once; `~/segmentation` says why it was rejected."""

    def __init__(self, node: Node, commands: Commands) -> None:
        """Create the server on the node."""
        self._commands = commands
        self._accepted: dict[int, _Watched] = {}
        self._running: dict[bytes, _Watched] = {}
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
        """Ends the server; the executor must have stopped. A node that is destroyed before its server crashes."""
        self._server.destroy()

    def _on_goal(self, goal: Segment.Goal) -> GoalResponse:
        watched = _Watched()
        watched.request = self._commands.request(goal.command, listener=watched)
        if not self._commands.accept(watched.request):
            return GoalResponse.REJECT
        self._accepted[id(goal)] = watched
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        watched = self._accepted.pop(id(handle.request))
        self._running[bytes(handle.goal_id.uuid)] = watched
        watched.watch(handle)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._commands.take_back(self._running[bytes(handle.goal_id.uuid)].request)
        return CancelResponse.ACCEPT

    def _on_result(self, handle: ServerGoalHandle) -> Segment.Result:
        """Rclpy calls it when the answer is there."""
        message = self._running.pop(bytes(handle.goal_id.uuid)).answer
        if message.status in (Segmentation.OK, Segmentation.NO_OBJECT):
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return Segment.Result(segmentation=message)


class _Watched:
    """A goal's request, from whatever thread it is answered on. What comes before the goal is known is kept."""

    request: Request
    answer: Segmentation

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: ServerGoalHandle | None = None
        self._untold: list[Segment.Feedback] = []
        self._settled = False
        self._words = ""
        self._told_s = 0.0

    def watch(self, handle: ServerGoalHandle) -> None:
        """The goal is known from now on."""
        with self._lock:
            self._handle = handle
            for feedback in self._untold:
                handle.publish_feedback(feedback)
            if self._settled:
                _execute(handle)

    def hear(self, event: Event, header: Header) -> None:
        """A part of the answer, about the picture of this header."""
        if isinstance(event, TextDelta):
            self._words += event.text
            if time.monotonic() - self._told_s > _WORDS_EVERY_S:
                self._tell(Segment.Feedback(header=header, answer=sendable(self._words)))
        elif isinstance(event, MaskFound):
            found = object_message(event.object, header)
            self._tell(Segment.Feedback(header=header, answer=sendable(self._words), found=[found]))

    def settle(self, answer: Segmentation) -> None:
        """The whole answer."""
        with self._lock:
            self.answer, self._settled = answer, True
            if self._handle is not None:
                _execute(self._handle)

    def _tell(self, feedback: Segment.Feedback) -> None:
        self._told_s = time.monotonic()
        with self._lock:
            if self._handle is None:
                self._untold.append(feedback)
            else:
                self._handle.publish_feedback(feedback)


def _execute(handle: ServerGoalHandle) -> None:
    """Lets the goal have its result."""
    try:
        handle.execute()
    except rclpy_implementation.RCLError:
        # A cancel came between rclpy's look at the goal's state and its change; now it sees it.
        handle.execute()
