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

import enum
import functools
import itertools
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

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
from lisa_ros.nodes.common import endpoints
from lisa_ros.nodes.common.masks import mask_of
from lisa_ros.nodes.lisa.commands.command_fields import command_of
from lisa_ros.spatial.rotation import Quaternion, Vector

_numbers = itertools.count(1)
_ANSWERS_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_POLL_S = 0.1
_NO_REASON = "The node rejected the command; the reason did not arrive in time."

Masks = Literal["image", "rle", "none"]
_OUTPUTS = {"image": 0, "rle": Command.OUTPUT_RUN_LENGTH_MASKS, "none": Command.OUTPUT_NO_MASKS}


class Status(enum.Enum):
    """The status of a command: those of Segmentation, and two of the client."""

    OK = Segmentation.OK
    NO_OBJECT = Segmentation.NO_OBJECT
    REJECTED = Segmentation.REJECTED
    NO_IMAGE = Segmentation.NO_IMAGE
    CANCELLED = Segmentation.CANCELLED
    FAILED = Segmentation.FAILED
    NO_NODE = 100
    """There is no node, or it did not accept the command in time."""
    UNFINISHED = 101
    """The command has no answer yet."""


@dataclass(frozen=True)
class ObjectPose:
    """The pose and the box of an object, in metres, in `Result.frame`.

    Attributes:
        point_m: The point of the object's surface at centroid_pixel.
        orientation: Quaternion x, y, z, w of the box's axes; z is the normal of the supporting surface, if found.
        box_centre_m: Centre of the box around the object.
        box_size_m: Size of the box along its axes.
    """

    point_m: Vector
    orientation: Quaternion
    box_centre_m: Vector
    box_size_m: Vector


@dataclass(frozen=True)
class ObjectGrip:
    """Where to grip an object, in metres, in `Result.frame`; see Grip.msg.

    Attributes:
        strategy: "centroid", "top_plane", "antipodal" or, where that does not fit across a hollow object, "rim".
        position_m: A point of the surface or, for antipodal and rim, the middle between the finger tips.
        orientation: Quaternion x, y, z, w; z is the approach direction; for antipodal and rim, the fingers close
            along y.
        opening_m: Of the gripper on the way down, for antipodal and rim; otherwise 0.
        clear_diameter_m: Of the largest circle around the point on the flat patch, for top_plane; otherwise 0.
    """

    strategy: str
    position_m: Vector
    orientation: Quaternion
    opening_m: float = 0.0
    clear_diameter_m: float = 0.0


@dataclass(frozen=True)
class FoundObject:
    """One object of an answer.

    Attributes:
        mask: (H, W), size of the image; None: the command asked for no masks.
        centroid_pixel: (u, v) on the object, in pixels; None for an empty mask.
        bbox: (x, y, width, height) in pixels.
        pose: In metres; None: not known.
        no_pose: Why the pose is not known, in one sentence.
        score: Confidence of the mask, 0 to 1; None: the model reports none.
        score_calibrated: Whether the score comes from a calibration. If not, it is no probability.
        phrase: The phrase of the answer that names the object; empty: the model reports none.
        name: Its phrase or, without one, the noun phrase of the command; never empty.
        grip: Where to grip it; None: not known.
        no_grip: Why not, in one sentence; empty: no grip was computed.
    """

    mask: NDArray[np.bool_] | None
    centroid_pixel: tuple[float, float] | None
    bbox: tuple[int, int, int, int]
    pose: ObjectPose | None = None
    no_pose: str = ""
    score: float | None = None
    phrase: str = ""
    name: str = ""
    grip: ObjectGrip | None = None
    no_grip: str = ""
    score_calibrated: bool = False


@dataclass(frozen=True)
class Feedback:
    """An answer so far.

    Attributes:
        answer: The raw answer so far, "[SEG]" in place of each object.
        objects: The objects found so far.
    """

    answer: str
    objects: tuple[FoundObject, ...]


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        status: Its status.
        message: The reason in one sentence if the status is not OK.
        explanation: The answer for people, with the number of its object ("①") in place of each "[SEG]".
        objects: In the order of the answer.
        segmentation: The complete message, for its header and times; None: the node sent none.
        frame: Frame of poses, boxes and grips.
    """

    status: Status
    message: str = ""
    explanation: str = ""
    objects: tuple[FoundObject, ...] = ()
    segmentation: Segmentation | None = None
    frame: str = ""


class LisaClient:
    """Sends one command at a time. It has its own node and executor, which run while one of its methods runs."""

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
        self._node.create_subscription(Segmentation, f"{lisa}/segmentation", self._on_answer, _ANSWERS_QOS)
        self._lisa = lisa
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
        """Destroy the client's node. A command that is being processed is not cancelled."""
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
            RuntimeError: The last command has no answer yet; wait for it or cancel it first.
            TypeError, ValueError: An argument has another type, or a value that it cannot have.
        """
        if masks not in _OUTPUTS:
            raise ValueError(f"masks is {masks!r}; it must be {', '.join(map(repr, _OUTPUTS))}")
        texts = {"text": text, "operator_id": operator, "answer": answer, "dialogue": dialogue}
        texts |= {"target_frame": frame, "split_objects": split_objects, "grip": grip}
        command = command_of(references=references, stamp=stamp, **texts)
        if self._result_future is not None and not self._result_future.done():
            raise RuntimeError("the last command has no answer yet; wait until is_complete() or call cancel()")
        self._id, self._feedback, self._result_future, self._final = uuid.uuid4().hex, Feedback("", ()), None, None
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
            self._processes = endpoints.publishers_of(self._node, f"{self._lisa}/segmentation")
        else:
            self._spin_until(lambda: self._final is not None, until_s - time.monotonic())
        return bool(self._goal.accepted)

    def is_complete(self, wait_s: float = _POLL_S) -> bool:
        """Wait up to wait_s seconds for the answer. Returns whether it is there.

        Feedback is received meanwhile. If the node has ended, so that no answer will come, the return value is True and
        `result` has the reason, also if it was started again.
        """
        if self._result_future is None or self._spin_until(self._result_future.done, wait_s):
            return True
        has_ended = endpoints.have_ended(self._node, f"{self._lisa}/segmentation", self._processes)
        if self._action.server_is_ready() and not has_ended:
            return False
        self._give_up(endpoints.HAS_ENDED)
        return True

    def feedback(self) -> Feedback:
        """The answer so far."""
        return self._feedback

    def result(self) -> Result:
        """The result of the last command."""
        if self._result_future is None:
            return self._final or Result(Status.REJECTED, _NO_REASON)
        if not self._result_future.done():
            return Result(Status.UNFINISHED, "The command has no answer yet.")
        answer = endpoints.answer_in(self._result_future.result())
        return Result(Status.NO_NODE, endpoints.DOES_NOT_KNOW) if answer is None else _result(answer)

    def cancel(self, timeout_s: float = 10.0) -> bool:
        """Cancel the command. Returns whether the node stopped processing it; `result` has its result."""
        if self._result_future is None or self._result_future.done():
            return False
        cancelled = self._goal.cancel_goal_async()
        if self._spin_until(lambda: cancelled.done() and self._result_future.done(), timeout_s):
            return True
        self._give_up(f"The node did not stop within {timeout_s:g} s.")
        return False

    def _give_up(self, why: str) -> None:
        """Set the result without waiting for the answer any longer."""
        self._final, self._result_future = Result(Status.NO_NODE, why), None

    def _on_feedback(self, command_id: str, message: Any) -> None:
        if command_id != self._id:  # of an earlier command, whose result was faster than its last feedback
            return
        feedback = message.feedback
        self._feedback = Feedback(feedback.answer, (*self._feedback.objects, *map(_found, feedback.found)))

    def _on_answer(self, message: Segmentation) -> None:
        if message.id == self._id and self._result_future is None:
            self._final = _result(message)

    def _spin_until(self, done: Any, timeout_s: float) -> bool:
        until_s = time.monotonic() + timeout_s
        while not done():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left_s, _POLL_S))
        return True


def _cancel_accepted(sent: Any) -> None:
    """Cancel a goal that was accepted too late."""
    if sent.result() is not None and sent.result().accepted:
        sent.result().cancel_goal_async()


def _result(message: Segmentation) -> Result:
    objects = tuple(_found(found) for found in message.objects)
    status, frame = Status(message.status), message.position_frame
    return Result(status, message.detail, message.explanation, objects, message, frame)


def _found(message: ObjectMask) -> FoundObject:
    box = message.bbox
    point = (message.centroid_pixel.x, message.centroid_pixel.y) if message.pixels else None
    bbox = (box.x_offset, box.y_offset, box.width, box.height)
    score = None if message.score < 0 else float(message.score)
    return FoundObject(
        mask_of(message),
        point,
        bbox,
        _pose(message),
        message.location_detail,
        score,
        message.phrase,
        message.name,
        _grip(message),
        "" if message.grip.found else message.grip.detail,
        bool(message.score_calibrated),
    )


def _grip(message: ObjectMask) -> ObjectGrip | None:
    grip = message.grip
    if not grip.found:
        return None
    place, axes = grip.pose.position, grip.pose.orientation
    return ObjectGrip(
        strategy=grip.strategy,
        position_m=(place.x, place.y, place.z),
        orientation=(axes.x, axes.y, axes.z, axes.w),
        opening_m=float(grip.opening),
        clear_diameter_m=float(grip.clear_diameter),
    )


def _pose(message: ObjectMask) -> ObjectPose | None:
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
