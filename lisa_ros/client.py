# SPDX-License-Identifier: Apache-2.0
"""How a planner's author asks the node, in the manner of nav2's simple commander.

with LisaClient() as lisa:
lisa.segment("the red mug", operator="ann")
while not lisa.is_complete():
print(lisa.feedback())
result = lisa.result()
if result.status is Status.OK:
u, v = result.objects[0].centroid_pixel
"""

from __future__ import annotations

import enum
import itertools
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from lisa_ros.action import Segment
from lisa_ros.msg import Command, ObjectMask, Segmentation
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.spatial.box import Quaternion, Vector

_numbers = itertools.count(1)
_ANSWERS_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_POLL_S = 0.1


class Status(enum.Enum):
    """What became of a command: Segmentation's, and two that no node says."""

    OK = Segmentation.OK
    NO_OBJECT = Segmentation.NO_OBJECT
    REJECTED = Segmentation.REJECTED
    NO_IMAGE = Segmentation.NO_IMAGE
    CANCELLED = Segmentation.CANCELLED
    FAILED = Segmentation.FAILED
    NO_NODE = 100
    """There is no node, or it did not take the command in time."""
    UNFINISHED = 101
    """The answer is not there yet."""


@dataclass(frozen=True)
class ObjectPose:
    """Where an object is, metres, in the camera's optical frame: that of the answer's header.

    Attributes:
        point_m: of its surface, the one that centroid_pixel stands for.
        orientation: quaternion x, y, z, w of the box's axes; z is up where the object stands on something.
        box_centre_m: the middle of the box around it.
        box_size_m: along the box's axes.
    """

    point_m: Vector
    orientation: Quaternion
    box_centre_m: Vector
    box_size_m: Vector


@dataclass(frozen=True)
class FoundObject:
    """One object of an answer.

    Attributes:
        mask: (H, W), size of the camera's picture.
        centroid_pixel: (u, v) on the object, pixels; None for an empty mask.
        bbox: (x, y, width, height), pixels.
        place: in metres; None where it is not known.
        no_place: one sentence, why not.
        score: how likely the mask is right, 0 to 1; None: the model does not say.
        phrase: the words of the answer that name it; empty: the model does not say.
    """

    mask: NDArray[np.bool_]
    centroid_pixel: tuple[float, float] | None
    bbox: tuple[int, int, int, int]
    pose: ObjectPose | None = None
    no_pose: str = ""
    score: float | None = None
    phrase: str = ""


@dataclass(frozen=True)
class Feedback:
    """What has come of an answer so far.

    Attributes:
        answer: the raw answer, "[SEG]" in place of each object.
        objects: found so far.
    """

    answer: str
    objects: tuple[FoundObject, ...]


@dataclass(frozen=True)
class Result:
    """What became of a command.

    Attributes:
        status: in one word.
        message: one sentence for people; empty with OK.
        explanation: the answer for people, with the number of its object ("①") in place of each "[SEG]".
        objects: in the order of the answer.
        segmentation: the whole message, for its header and times; None where the node said nothing.
    """

    status: Status
    message: str = ""
    explanation: str = ""
    objects: tuple[FoundObject, ...] = ()
    segmentation: Segmentation | None = None


class LisaClient:
    """Asks one thing at a time. Has a node and an executor of its own, which run while one of its methods does."""

    def __init__(self, lisa: str = "lisa", *, context: Any = None) -> None:
        """Takes the name of the node to ask, with its namespace where it has one; rclpy must have been started.

        Args:
            lisa: for example "lisa" or "/front/lisa".
            context: rclpy's; None: the default one.
        """
        self._node: Node = rclpy.create_node(f"lisa_client_{os.getpid()}_{next(_numbers)}", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._action = ActionClient(self._node, Segment, f"{lisa}/segment")
        self._node.create_subscription(Segmentation, f"{lisa}/segmentation", self._on_answer, _ANSWERS_QOS)
        self._lisa = lisa
        self._id = ""
        self._goal: Any = None
        self._told: Any = None
        self._refused: Result | None = None
        self._feedback = Feedback("", ())

    def __enter__(self) -> LisaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the client's node; a command on its way goes on."""
        self._executor.shutdown()
        self._node.destroy_node()

    def wait_until_ready(self, timeout_s: float = 60.0) -> bool:
        """Waits for the node; whether it is there."""
        return self._spin_until(self._action.server_is_ready, timeout_s)

    def segment(
        self,
        text: str,
        *,
        operator: str = "",
        answer: str = "",
        references: Sequence[int] = (),
        stamp: Time | None = None,
        timeout_s: float = 10.0,
    ) -> bool:
        """Sends a command, and waits until the node has taken it.

        Args:
            text: what is wanted.
            operator: whose dialogue it continues; empty: "default".
            answer: "full" or "mask_only"; empty: as the node's parameter says.
            references: earlier turns that the text is about.
            stamp: the command's time; with the node's command_frame "nearest", of the picture that is meant. None: now.
            timeout_s: longest wait.

        Returns:
            whether it was taken; else `result` says why not.

        Raises:
            RuntimeError: the last command has no answer yet; wait for it, or cancel it first.
        """
        if self._told is not None and not self._told.done():
            raise RuntimeError("the last command is still being answered; wait until is_complete(), or cancel() it")
        self._id, self._feedback, self._told, self._refused = uuid.uuid4().hex, Feedback("", ()), None, None
        until_s = time.monotonic() + timeout_s
        if not self.wait_until_ready(timeout_s):
            self._refused = Result(Status.NO_NODE, f"There is no action {self._lisa}/segment; does the node run?")
            return False
        command = Command(id=self._id, text=text, operator_id=operator, answer=answer, references=list(references))
        command.stamp = stamp or Time()
        sent = self._action.send_goal_async(Segment.Goal(command=command), feedback_callback=self._on_feedback)
        if not self._spin_until(sent.done, until_s - time.monotonic()):
            self._refused = Result(Status.NO_NODE, f"The node did not take the command within {timeout_s:g} s.")
            sent.add_done_callback(_take_back)
            return False
        self._goal = sent.result()
        if self._goal.accepted:
            self._told = self._goal.get_result_async()
        else:
            self._spin_until(lambda: self._refused is not None, until_s - time.monotonic())
        return bool(self._goal.accepted)

    def is_complete(self, wait_s: float = _POLL_S) -> bool:
        """Whether the answer is there; waits up to wait_s for it, and hears what has come meanwhile.

        True as well where none will come, since the node has ended; `result` says so.
        """
        if self._told is None or self._spin_until(self._told.done, wait_s):
            return True
        if self._action.server_is_ready():
            return False
        self._give_up("The node ended before it answered.")
        return True

    def feedback(self) -> Feedback:
        """What has come of the answer so far."""
        return self._feedback

    def result(self) -> Result:
        """What became of the last command."""
        if self._told is None:
            return self._refused or Result(Status.REJECTED, "The node refused the command and did not say why.")
        if not self._told.done():
            return Result(Status.UNFINISHED, "The answer is not there yet.")
        return _result(self._told.result().result.segmentation)

    def cancel(self, timeout_s: float = 10.0) -> bool:
        """Takes the command back; whether the node stopped. `result` has the rest."""
        if self._told is None or self._told.done():
            return False
        asked = self._goal.cancel_goal_async()
        if self._spin_until(lambda: asked.done() and self._told.done(), timeout_s):
            return True
        self._give_up(f"The node did not stop within {timeout_s:g} s.")
        return False

    def _give_up(self, why: str) -> None:
        """Waits no longer for the last command's answer."""
        self._refused, self._told = Result(Status.NO_NODE, why), None

    def _on_feedback(self, message: Any) -> None:
        told = message.feedback
        self._feedback = Feedback(told.answer, (*self._feedback.objects, *map(_found, told.found)))

    def _on_answer(self, message: Segmentation) -> None:
        if message.id == self._id and self._told is None:
            self._refused = _result(message)

    def _spin_until(self, done: Any, timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not done():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left_s, _POLL_S))
        return True


def _take_back(sent: Any) -> None:
    """Cancels a goal that was accepted when nobody waited for it any more."""
    if sent.result() is not None and sent.result().accepted:
        sent.result().cancel_goal_async()


def _result(message: Segmentation) -> Result:
    objects = tuple(_found(found) for found in message.objects)
    return Result(Status(message.status), message.detail, message.explanation, objects, message)


def _found(message: ObjectMask) -> FoundObject:
    mask = rgb_image_from(message.mask)[:, :, 0] > 0
    box = message.bbox
    point = (message.centroid_pixel.x, message.centroid_pixel.y) if message.pixels else None
    bbox = (box.x_offset, box.y_offset, box.width, box.height)
    score = None if message.score < 0 else float(message.score)
    return FoundObject(mask, point, bbox, _place(message), message.location_detail, score, message.phrase)


def _place(message: ObjectMask) -> ObjectPose | None:
    if not message.located:
        return None
    axes, point = message.pose.orientation, message.pose.position
    centre, size = message.box_centre, message.box_size
    return ObjectPose(
        point_m=(point.x, point.y, point.z),
        orientation=(axes.x, axes.y, axes.z, axes.w),
        box_centre_m=(centre.x, centre.y, centre.z),
        box_size_m=(size.x, size.y, size.z),
    )
