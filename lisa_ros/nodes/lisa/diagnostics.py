# SPDX-License-Identifier: Apache-2.0
"""The node's state, published once a second on /diagnostics."""

import math
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.segmentation.interface import DeviceMemory

PERIOD_S = 1.0
MAX_PENDING_ANSWERS = 16
_STATUSES = ("OK", "NO_OBJECT", "REJECTED", "NO_IMAGE", "CANCELLED", "FAILED")


@dataclass(frozen=True)
class NodeStatus:
    """The node at one moment.

    Attributes:
        state: Lifecycle state.
        model: Checkpoint, precision, quantization and device.
        waiting: Number of waiting commands.
        queue_size: Maximum number of waiting commands.
        image_age_s: Age of the newest image in seconds; None: no image has arrived.
        callback_errors: Number of errors in callbacks since the start.
        gpu_memory: GPU memory of the model; 0 without a GPU.
        dropped: Number of messages that were replaced by newer ones of their topic because a subscriber is slow.
        pending_answers: Number of answers that are not delivered yet.
        stuck: Number of commands that exceeded answer_timeout and still run.
        tracking: State of the tracked object, for people.
        image_trouble: Why commands cannot be answered, or only about old images; empty: they can.
        depth_trouble: Why answers have no 3-D position although depth arrives; empty: nothing is wrong.
        depth_offset_s: Difference between the stamps of images and depth images, in seconds; nan: no depth arrives.
        lost_images: Number of images that were lost between the camera and the node.
        standard_messages: Whether the topics with messages of vision_msgs are published, or why not.
        unwritten_dialogues: Number of operators whose newest turns are not written to dialogue_file yet.
        image_publishers: Number of publishers of the camera's images.
        model_trouble: Why another model than the wanted one answers; empty: the wanted one does.
    """

    state: str
    model: str
    waiting: int
    queue_size: int
    image_age_s: float | None
    callback_errors: int
    gpu_memory: DeviceMemory
    dropped: int = 0
    pending_answers: int = 0
    stuck: int = 0
    tracking: str = "no object"
    image_trouble: str = ""
    depth_trouble: str = ""
    depth_offset_s: float = math.nan
    lost_images: int = 0
    standard_messages: str = "published"
    unwritten_dialogues: int = 0
    image_publishers: int = 1
    model_trouble: str = ""


class Diagnostics:
    """Publishes the node's state."""

    def __init__(self, node: Node, statistics: Statistics, status: Callable[[], NodeStatus]) -> None:
        """Create the publisher and the timer on the node."""
        self._node, self._statistics, self._node_status = node, statistics, status
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Of the machine: with use_sim_time, the node's own clock may stand still or never come.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(PERIOD_S, guarded_by(node, self.publish, False), clock=steady)

    def publish(self) -> None:
        """Publish the state now."""
        message = DiagnosticArray(status=[self._status()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self) -> DiagnosticStatus:
        status = self._node_status()
        level, sentence = level_of(status, self._statistics.newest_status)
        values = [KeyValue(key=key, value=str(value)) for key, value in self._values(status).items()]
        name = self._node.get_fully_qualified_name().strip("/")
        return DiagnosticStatus(level=level, name=f"{name}: lisa", message=sentence, hardware_id=name, values=values)

    def _values(self, status: NodeStatus) -> dict[str, Any]:
        counted = self._statistics
        age_s = math.nan if status.image_age_s is None else status.image_age_s
        return {
            "state": status.state,
            "model": status.model,
            "waiting commands": status.waiting,
            "image age (s)": f"{age_s:.2f}",
            "image publishers": status.image_publishers,
            "image rate (Hz)": f"{counted.image_rate_hz():.1f}",
            "lost images": status.lost_images,
            "depth offset (ms)": f"{1000 * status.depth_offset_s:.0f}",
            "first mask p50 (ms)": f"{counted.first_mask_ms(0.5):.0f}",
            "first mask p95 (ms)": f"{counted.first_mask_ms(0.95):.0f}",
            "total p50 (ms)": f"{counted.total_ms(0.5):.0f}",
            "total p95 (ms)": f"{counted.total_ms(0.95):.0f}",
            **{f"answers {name}": counted.answers(getattr(Segmentation, name)) for name in _STATUSES},
            "unreadable commands": counted.unreadable,
            "dropped messages": status.dropped,
            "pending answers": status.pending_answers,
            "stuck commands": status.stuck,
            "tracking": status.tracking,
            "standard messages": status.standard_messages,
            "unwritten dialogues": status.unwritten_dialogues,
            "callback errors": status.callback_errors,
            "peak memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
            "GPU memory (MB)": status.gpu_memory.allocated_bytes // 1_000_000,
            "GPU memory reserved (MB)": status.gpu_memory.reserved_bytes // 1_000_000,
        }


def level_of(status: NodeStatus, newest_status: int | None) -> tuple[bytes, str]:
    """(level, one sentence): ERROR if the model fails, WARN if commands cannot be answered, otherwise OK."""
    if status.state != "active":
        return DiagnosticStatus.WARN, f"The node is {status.state}; commands are rejected."
    if newest_status == Segmentation.FAILED:
        return DiagnosticStatus.ERROR, "The newest command failed; the log has the reason."
    if status.stuck:
        return DiagnosticStatus.ERROR, f"Commands exceeded answer_timeout and still run: {status.stuck}."
    if status.image_trouble:
        return DiagnosticStatus.WARN, status.image_trouble
    if status.model_trouble:
        return DiagnosticStatus.WARN, status.model_trouble
    if status.image_publishers > 1:
        return DiagnosticStatus.WARN, f"{status.image_publishers} publishers send images; each answer is about one's."
    if status.unwritten_dialogues:
        return DiagnosticStatus.WARN, "The newest turns cannot be written to dialogue_file; the log has the reason."
    if status.waiting >= status.queue_size:
        return DiagnosticStatus.WARN, "The queue is full; commands are rejected."
    if status.pending_answers > MAX_PENDING_ANSWERS:
        return DiagnosticStatus.WARN, f"{status.pending_answers} answers wait for slow subscribers of ~/segmentation."
    if status.depth_trouble:
        return DiagnosticStatus.WARN, status.depth_trouble
    return DiagnosticStatus.OK, "Ready."
