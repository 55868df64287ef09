# SPDX-License-Identifier: Apache-2.0
"""A Python client of the node for planners, similar to nav2's simple commander.

Example:
    rclpy.init()
    with LisaClient() as lisa:
        lisa.segment("the red mug", operator="ann")
        while not lisa.is_complete():
            print(lisa.feedback())
        result = lisa.result()
        if result.status is Status.OK:
            u, v = result.objects[0].centroid_pixel
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal

import rclpy
from builtin_interfaces.msg import Time
from rclpy.action import ActionClient
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from lisa_ros.action import Segment
from lisa_ros.client_result import (
    Feedback,
    FoundObject,
    ObjectGrip,
    ObjectPose,
    Result,
    Status,
    found_object,
    result_of,
)
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common import endpoints
from lisa_ros.nodes.lisa.commands.command_fields import command_of

__all__ = ["Feedback", "FoundObject", "LisaClient", "ObjectGrip", "ObjectPose", "Result", "Status"]

_numbers = itertools.count(1)
_ANSWERS_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_POLL_S = 0.1
_NOT_SENT = "No command was sent yet."
_UNFINISHED = "The command has no answer yet."
_CLOSED = "The client was closed before the command had an answer."
_NO_REASON = "The node rejected the command; the reason did not arrive in time."

Masks = Literal["image", "rle", "none"]
_OUTPUTS = {"image": 0, "rle": Command.OUTPUT_RUN_LENGTH_MASKS, "none": Command.OUTPUT_NO_MASKS}


class LisaClient:
    """Sends one command at a time. It has its own node and executor, which run while one of its methods runs.

    Another thread may cancel or close while one waits; commands come from one thread.
    """

    def __init__(self, lisa: str = "lisa", *, context: Any = None) -> None:
        """Create the client; `rclpy.init()` must have been called.

        Args:
            lisa: Name of the node, with its namespace if it has one, for example "lisa" or "/front/lisa".
            context: rclpy's context; None: the default one.
        """
        name = f"lisa_client_{os.getpid()}_{next(_numbers)}"
        # Launch files rename all nodes of a process, and two of one name would both answer for its parameters.
        name_kept = ["--ros-args", "-r", f"__node:={name}"]
        self._node: Node = rclpy.create_node(name, context=context, cli_args=name_kept, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._action = ActionClient(self._node, Segment, f"{lisa}/segment", **endpoints.SEGMENT_CLIENT_QOS)
        self._answers = f"{lisa}/segmentation"
        self._node.create_subscription(Segmentation, self._answers, self._on_answer, _ANSWERS_QOS)
        self._lisa = lisa
        self._turn = threading.Lock()
        """Of the thread that runs the executor: two at once are an error of rclpy."""
        self._closed = False
        self._id = ""
        self._processes: endpoints.Endpoints = frozenset()
        self._goal: Any = None
        self._result_future: Any = None
        self._final: Result | None = None
        self._feedback = Feedback("", ())

    def __enter__(self) -> LisaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Destroy the client's node. A command that is being processed is not cancelled; its answer is not received.

        Methods that wait in another thread return. A second call has no effect.
        """
        already, self._closed = self._closed, True
        if already:
            return
        with self._turn:  # a thread that waits leaves it within _POLL_S
            self._executor.shutdown()
            self._action.destroy()  # the node does not destroy it, and would stay in ROS's graph as long as it is there
            self._node.destroy_node()

    def wait_until_ready(self, timeout_s: float = 60.0) -> bool:
        """Wait for the node. Returns whether it is there."""
        return self._spin_until(self._action.server_is_ready, timeout_s)

    def segment(
        self,
        text: str,
        *,
        operator: str = "",
        answer: str = "",
        references: Sequence[int] = (),
        stamp: Time | None = None,
        dialogue: str = "",
        masks: Masks = "image",
        feedback_masks: bool = True,
        frame: str = "",
        split_objects: str = "",
        grip: str = "",
        timeout_s: float = 10.0,
    ) -> bool:
        """Send a command, and wait until the node has accepted it.

        Args:
            text: The command, for example "the red mug".
            operator: The operator whose dialogue it continues; empty: "default".
            answer: "full" or "mask_only"; empty: as the node's parameter `answer` says.
            references: Numbers of earlier turns that the text refers to.
            stamp: Time of the command. With command_frame "nearest", the frame nearest to it is used. None: now.
            dialogue: "none": an independent question, which neither sees nor changes the operator's dialogue.
            masks: How masks are sent: "image", "rle" (run lengths, a small message) or "none".
            feedback_masks: False: objects in the feedback have no mask, which saves most of the traffic.
            frame: Frame of poses, boxes and grips, for example "base_link"; empty: as target_frame says.
            split_objects: "auto" or "never"; empty: as the node's parameter says.
            grip: "none", "centroid", "top_plane" or "antipodal"; empty: as the node's parameter says.
            timeout_s: Maximum time to wait, in seconds.

        Returns:
            Whether the node accepted it; if not, `result` has the reason.

        Raises:
            RuntimeError: The last command has no answer yet; wait for it or cancel it first. Or the client is closed.
            TypeError, ValueError: An argument has another type, or a value that it cannot have.
        """
        if masks not in _OUTPUTS:
            raise ValueError(f"masks is {masks!r}; it must be {', '.join(map(repr, _OUTPUTS))}")
        texts = {"text": text, "operator_id": operator, "answer": answer, "dialogue": dialogue}
        texts |= {"target_frame": frame, "split_objects": split_objects, "grip": grip}
        command = command_of(references=references, stamp=stamp, **texts)
        if self._closed:
            raise RuntimeError("the client is closed")
        if self._result_future is not None and not self._result_future.done():
            raise RuntimeError("the last command has no answer yet; wait until is_complete() or call cancel()")
        self._id, self._feedback, self._processes = uuid.uuid4().hex, Feedback("", ()), frozenset()
        self._goal, self._result_future, self._final = None, None, None
        until_s = time.monotonic() + timeout_s
        if not self.wait_until_ready(timeout_s):
            missing = f"There is no action server {self._lisa}/segment; check that the node runs."
            self._final = Result(Status.NO_NODE, missing)
            return False
        command.id = self._id
        command.outputs = _OUTPUTS[masks] | (0 if feedback_masks else Command.OUTPUT_NO_FEEDBACK_MASKS)
        self._action._feedback_callbacks.clear()  # rclpy keeps those of rejected commands
        feedback = functools.partial(self._on_feedback, self._id)
        sent = self._action.send_goal_async(Segment.Goal(command=command), feedback)
        if not self._spin_until(sent.done, until_s - time.monotonic()):
            self._final = Result(Status.NO_NODE, f"The node did not accept the command within {timeout_s:g} s.")
            sent.add_done_callback(_cancel_accepted)
            return False
        self._goal = sent.result()
        if self._goal.accepted:
            self._result_future = self._goal.get_result_async()
            self._processes = endpoints.publishers_of(self._node, self._answers)
        else:
            self._spin_until(lambda: self._final is not None, until_s - time.monotonic())
        return bool(self._goal.accepted)

    def is_complete(self, wait_s: float = _POLL_S) -> bool:
        """Wait up to wait_s seconds for the answer. Returns whether it is there.

        Feedback is received meanwhile. If the node has ended, so that no answer will come, the return value is True and
        `result` has the reason, also if it was started again. Before the first command and after `close` there is
        nothing to wait for, and the return value is True.
        """
        future = self._result_future
        if future is None or self._spin_until(future.done, wait_s) or self._closed:
            return True
        if not self._open_and(self._node_ended):
            return self._closed
        self._give_up(endpoints.HAS_ENDED)
        return True

    def feedback(self) -> Feedback:
        """The answer so far."""
        return self._feedback

    def result(self) -> Result:
        """The result of the last command. UNFINISHED: there is none yet, or the client was closed before it came."""
        future, goal = self._result_future, self._goal
        if future is None and self._final is not None:
            return self._final
        if goal is not None and not goal.accepted:
            return Result(Status.REJECTED, _NO_REASON)
        if future is None or not future.done():
            return Result(Status.UNFINISHED, _CLOSED if self._closed else _UNFINISHED if self._id else _NOT_SENT)
        answer = endpoints.answer_in(future.result())
        return Result(Status.NO_NODE, endpoints.DOES_NOT_KNOW) if answer is None else result_of(answer)

    def cancel(self, timeout_s: float = 10.0) -> bool:
        """Cancel the command. Returns whether the node stopped processing it; `result` has its result."""
        future = self._result_future
        if self._closed or future is None or future.done():
            return False
        cancelled = self._goal.cancel_goal_async()
        if self._spin_until(lambda: cancelled.done() and future.done(), timeout_s):
            return True
        if not self._closed:
            self._give_up(f"The node did not stop within {timeout_s:g} s.")
        return False

    def _give_up(self, why: str) -> None:
        """Set the result without waiting for the answer any longer."""
        self._final, self._result_future = Result(Status.NO_NODE, why), None

    def _on_feedback(self, command_id: str, message: Any) -> None:
        if command_id != self._id:  # of an earlier command, whose result was faster than its last feedback
            return
        feedback = message.feedback
        self._feedback = Feedback(feedback.answer, (*self._feedback.objects, *map(found_object, feedback.found)))

    def _on_answer(self, message: Segmentation) -> None:
        if message.id == self._id and self._result_future is None:
            self._final = result_of(message)

    def _node_ended(self) -> bool:
        """Whether the node that accepted the command is no longer there."""
        if not self._processes:  # the action may be discovered before the topic of its answers
            self._processes = endpoints.publishers_of(self._node, self._answers)
        return endpoints.have_ended(self._node, self._answers, self._processes) or not self._action.server_is_ready()

    def _open_and(self, condition: Callable[[], bool]) -> bool:
        """Whether the client is open and the condition is true; another thread may close the client meanwhile."""
        try:
            return not self._closed and condition()
        except InvalidHandle:
            if not self._closed:
                raise
            return False

    def _spin_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Run the executor until done(). Returns whether it is; False also after close()."""
        until_s = time.monotonic() + timeout_s
        while not self._open_and(done):
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._closed:
                return False
            self._spin_once(min(left_s, _POLL_S))
        return True

    def _spin_once(self, timeout_s: float) -> None:
        if not self._turn.acquire(timeout=timeout_s):
            return  # another thread runs the executor, for this one too
        try:
            if not self._closed:
                self._executor.spin_once(timeout_sec=timeout_s)
        finally:
            self._turn.release()


def _cancel_accepted(sent: Any) -> None:
    """Cancel a goal that was accepted too late."""
    if sent.result() is not None and sent.result().accepted:
        sent.result().cancel_goal_async()
