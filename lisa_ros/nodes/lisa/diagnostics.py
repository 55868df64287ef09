# SPDX-License-Identifier: Apache-2.0
"""How the node is doing, once a second on /diagnostics."""

import math
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.statistics import Statistics

PERIOD_S = 1.0
_STATUSES = ("OK", "NO_OBJECT", "REJECTED", "NO_IMAGE", "CANCELLED", "FAILED")


@dataclass(frozen=True)
class Condition:
    """What the node knows of itself at one moment.

    Attributes:
        state: of the lifecycle.
        model: checkpoint, precision, quantization and device.
        waiting: commands in the queue; `queue_size` may.
        picture_age_s: of the newest picture; None: there was none.
        max_picture_age_s: what may be answered about; 0: any.
        callback_errors: since the start.
        following: what is said of the object that is followed.
        unwritten_dialogues: operators whose newest turns could not be written to dialogue_file yet.
        gpu_bytes: memory that the model takes on a GPU; 0 without one.
    """

    state: str
    model: str
    waiting: int
    queue_size: int
    picture_age_s: float | None
    max_picture_age_s: float
    callback_errors: int
    gpu_bytes: int
    following: str = "nothing"
    unwritten_dialogues: int = 0


class Diagnostics:
    """Publishes the node's condition."""

    def __init__(self, node: Node, statistics: Statistics, condition: Callable[[], Condition]) -> None:
        """Create the publisher and the timer on the node."""
        self._node, self._statistics, self._condition = node, statistics, condition
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(PERIOD_S, guarded_by(node, self.publish, False))

    def publish(self) -> None:
        """Tell it now."""
        message = DiagnosticArray(status=[self._status()])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self) -> DiagnosticStatus:
        condition = self._condition()
        level, sentence = judge(condition, self._statistics.newest_status)
        values = [KeyValue(key=key, value=str(value)) for key, value in self._values(condition).items()]
        name = self._node.get_fully_qualified_name().strip("/")
        return DiagnosticStatus(level=level, name=f"{name}: lisa", message=sentence, hardware_id=name, values=values)

    def _values(self, condition: Condition) -> dict[str, Any]:
        counted = self._statistics
        age_s = math.nan if condition.picture_age_s is None else condition.picture_age_s
        return {
            "state": condition.state,
            "model": condition.model,
            "waiting commands": condition.waiting,
            "picture age (s)": f"{age_s:.2f}",
            "picture rate (Hz)": f"{counted.picture_rate_hz():.1f}",
            "first mask p50 (ms)": f"{counted.first_mask_ms(0.5):.0f}",
            "first mask p95 (ms)": f"{counted.first_mask_ms(0.95):.0f}",
            "total p50 (ms)": f"{counted.total_ms(0.5):.0f}",
            "total p95 (ms)": f"{counted.total_ms(0.95):.0f}",
            **{f"answers {name}": counted.answers(getattr(Segmentation, name)) for name in _STATUSES},
            "following": condition.following,
            "unwritten dialogues": condition.unwritten_dialogues,
            "callback errors": condition.callback_errors,
            "peak memory (MB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
            "GPU memory (MB)": condition.gpu_bytes // 1_000_000,
        }


def judge(condition: Condition, newest_status: int | None) -> tuple[bytes, str]:
    """(level, one sentence): ERROR when the model fails, WARN when commands would not be answered, else OK."""
    if condition.state != "active":
        return DiagnosticStatus.WARN, f"The node is {condition.state}; commands are rejected."
    if newest_status == Segmentation.FAILED:
        return DiagnosticStatus.ERROR, "The newest command failed; the log has the reason."
    if condition.picture_age_s is None:
        return DiagnosticStatus.WARN, "No picture has come yet."
    if 0 < condition.max_picture_age_s < condition.picture_age_s:
        return DiagnosticStatus.WARN, "The newest picture is older than max_image_age."
    if condition.unwritten_dialogues:
        return DiagnosticStatus.WARN, "The newest turns cannot be written to dialogue_file; the log has the reason."
    if condition.waiting >= condition.queue_size:
        return DiagnosticStatus.WARN, "The queue is full; commands are rejected."
    return DiagnosticStatus.OK, "Ready."
