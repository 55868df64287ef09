# SPDX-License-Identifier: Apache-2.0
"""The action `~/segment`: a command with feedback (text and masks) that can be cancelled."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from std_msgs.msg import Header

from lisa_ros.action import Segment
from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import FEEDBACK_QOS, SERVICE_QOS
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.answers.answer_messages import object_message
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation.answers import Event, MaskFound, TextDelta
from lisa_ros.segmentation.text import without_surrogates

_TEXT_PERIOD_S = 0.05
_RESULT_KEPT_S = 60
"""How long a result, with its masks, is kept for clients that request it late."""
_DROP_PERIOD_S = 10.0
_NO_ROOM = "Goals of ~/segment are rejected: too many answers wait for slow subscribers of ~/segmentation."


class _Server(ActionServer):
    """Calls a goal's result callback when the answer is there, not when the goal begins to be executed.

    rclpy's executor would call a coroutine that waits for the answer again and again in the meantime.
    """

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Callable[..., Any] | None) -> None:
        """The goal is executing."""

    def finish(self, goal_handle: ServerGoalHandle) -> None:
        """Make rclpy call the result callback, unless its executor has ended: the node ends, too."""
        with contextlib.suppress(AttributeError, InvalidHandle):  # of the executor's guard condition, which is deleted
            super().notify_execute(goal_handle, None)

    def drop_result(self, goal_id: bytes) -> None:
        """Free a result; clients that request it get the status UNKNOWN, as when it has expired."""
        future = self._result_futures.get(goal_id)
        if future is not None and future.done():
            future._result = self.action_type.Impl.GetResultService.Response()


class SegmentAction:
    """The action server. A goal is accepted or rejected at once; `~/segmentation` has the reason of a rejection.

    While there is no room for answers, goals are rejected with the reason in log and diagnostics.
    """

    def __init__(self, node: Node, commands: Commands, no_object_aborts: Callable[[], bool]) -> None:
        """Create the server on the node.

        Args:
            node: The node.
            commands: Take the goals' commands.
            no_object_aborts: Returns whether a goal whose answer is NO_OBJECT is aborted.
        """
        self._commands, self._no_object_aborts = commands, no_object_aborts
        self._logger = node.get_logger()
        self._accepted: dict[int, _Goal] = {}
        self._running: dict[bytes, _Goal] = {}
        self._results: deque[tuple[float, bytes]] = deque()
        """(time.monotonic, goal id) of those that are kept."""
        self._server = _Server(
            node,
            Segment,
            "~/segment",
            guarded_by(node, self._on_result),
            goal_callback=guarded_by(node, self._on_goal, GoalResponse.REJECT),
            handle_accepted_callback=guarded_by(node, self._on_accepted),
            cancel_callback=guarded_by(node, self._on_cancel, CancelResponse.REJECT),
            goal_service_qos_profile=SERVICE_QOS,
            result_service_qos_profile=SERVICE_QOS,
            cancel_service_qos_profile=SERVICE_QOS,
            feedback_pub_qos_profile=FEEDBACK_QOS,
            result_timeout=_RESULT_KEPT_S,
        )
        # rclpy's own timeout counts in the node's time, which stands still with use_sim_time and no /clock.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_DROP_PERIOD_S, guarded_by(node, self._drop_results, False), clock=steady)

    def close(self) -> None:
        """Destroy the server, after the executor has stopped. A node that is destroyed before its server crashes."""
        self._server.destroy()

    def _on_goal(self, message: Segment.Goal) -> GoalResponse:
        if not self._commands.has_room():
            self._logger.warning(_NO_ROOM, throttle_duration_sec=10.0)
            return GoalResponse.REJECT
        goal = _Goal(message.command.outputs)
        goal.request = self._commands.request(message.command, listener=goal)
        if not self._commands.accept(goal.request):
            return GoalResponse.REJECT
        # One at a time: what is still here was accepted for a client that went away before rclpy could tell it so.
        self._accepted = {id(message): goal}
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        goal = self._accepted.pop(id(handle.request))
        self._running[bytes(handle.goal_id.uuid)] = goal
        goal.start(handle, self._server)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._commands.cancel(self._running[bytes(handle.goal_id.uuid)].request)
        return CancelResponse.ACCEPT

    def _on_result(self, handle: ServerGoalHandle) -> Segment.Result:
        """Called by rclpy after `execute`."""
        goal_id = bytes(handle.goal_id.uuid)
        message = self._running.pop(goal_id).answer
        self._results.append((time.monotonic(), goal_id))
        if message.status == Segmentation.OK or (
            message.status == Segmentation.NO_OBJECT and not self._no_object_aborts()
        ):
            handle.succeed()
        elif handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return Segment.Result(segmentation=message)

    def _drop_results(self) -> None:
        while self._results and time.monotonic() - self._results[0][0] > _RESULT_KEPT_S:
            self._server.drop_result(self._results.popleft()[1])


class _Goal:
    """The listener of a goal's request, on any thread. Feedback is kept until rclpy has accepted the goal."""

    request: Request
    answer: Segmentation

    def __init__(self, outputs: int) -> None:
        without = outputs & Command.OUTPUT_NO_FEEDBACK_MASKS
        self._outputs = Command.OUTPUT_NO_MASKS if without else outputs
        self._lock = threading.Lock()
        self._handle: ServerGoalHandle | None = None
        self._server: _Server | None = None
        self._started = self._executing = False
        self._pending: list[Segment.Feedback] = []
        self._done = False
        self._text = ""
        self._feedback_s = 0.0

    def start(self, handle: ServerGoalHandle, server: _Server) -> None:
        """Set the goal's handle, after rclpy has accepted the goal."""
        with self._lock:
            self._handle, self._server = handle, server
            if self._started:
                self._execute()
            for feedback in self._pending:
                handle.publish_feedback(feedback)
            if self._done:
                self._finish()

    def on_start(self) -> None:
        """See Listener."""
        with self._lock:
            self._started = True
            if self._handle is not None:
                self._execute()

    def on_event(self, event: Event, header: Header) -> None:
        """See Listener."""
        if isinstance(event, TextDelta):
            self._text += event.text
            if time.monotonic() - self._feedback_s > _TEXT_PERIOD_S:
                self._publish(Segment.Feedback(header=header, answer=without_surrogates(self._text)))
        elif isinstance(event, MaskFound):
            found = object_message(event.object, header, name=self._name(event), outputs=self._outputs)
            self._publish(Segment.Feedback(header=header, answer=without_surrogates(self._text), found=[found]))

    def on_answer(self, answer: Segmentation) -> None:
        """See Listener."""
        with self._lock:
            self.answer, self._done = answer, True
            if self._handle is not None:
                self._finish()

    def _name(self, event: MaskFound) -> str:
        return object_name(event.object.phrase, self.request.text)

    def _execute(self) -> None:
        """The goal becomes EXECUTING, once; under the lock."""
        if not self._executing:
            self._executing = True
            _execute(self._handle)

    def _finish(self) -> None:
        """The answer is there; under the lock."""
        assert self._server is not None
        self._execute()
        self._server.finish(self._handle)

    def _publish(self, feedback: Segment.Feedback) -> None:
        self._feedback_s = time.monotonic()
        with self._lock:
            if self._handle is None:
                self._pending.append(feedback)
            else:
                self._handle.publish_feedback(feedback)


def _execute(handle: ServerGoalHandle) -> None:
    """Set the goal's state to EXECUTING, unless it is being cancelled."""
    try:
        handle.execute()
    except rclpy_implementation.RCLError:
        # A cancel request came between rclpy's check of the goal's state and its change. The second call sees it.
        handle.execute()
