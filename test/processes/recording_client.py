# SPDX-License-Identifier: Apache-2.0
"""A client that subscribes reliably to every output topic with images, as RViz and a recorder do, and sends commands.

Usage: recording_client.py NODE COUNT RATE_HZ. First it sends a fifth of the commands and subscribes to the answers
alone, then the others beside all topics. Prints one JSON object: "alone_ms" and "delays_ms" have for each answer, one
that comes twice included, the delay in milliseconds between the end of its processing and its arrival here; "others" is
the number of other messages received.
"""

import json
import sys
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from lisa_ros.msg import Command, Segmentation, TrackedObject

_TOPICS = {
    "mask": Image,
    "confidence": Image,
    "labels": Image,
    "overlay": Image,
    "frame/image": Image,
    "frame/depth": Image,
    "frame/camera_info": CameraInfo,
    "points": PointCloud2,
    "tracked/mask": Image,
    "tracked/object": TrackedObject,
    "tracked/points": PointCloud2,
}
_QOS = QoSProfile(depth=5)
_AFTER_S = 30.0


class RecordingClient:
    """Sends commands and keeps the time of each answer."""

    def __init__(self, name: str) -> None:
        self.node = rclpy.create_node("recording_client")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.sent_s: dict[str, float] = {}
        self.delays_ms: list[float] = []
        self.answered: set[str] = set()
        self.others = 0
        self.name = name
        self.node.create_subscription(Segmentation, f"/{name}/segmentation", self._on_answer, _QOS)
        self.command = self.node.create_publisher(Command, f"/{name}/command", QoSProfile(depth=1000))

    def listen_to_all(self) -> None:
        for topic, kind in _TOPICS.items():
            self.node.create_subscription(kind, f"/{self.name}/{topic}", self._count, _QOS)

    def delays(self, count: int, rate_hz: float) -> list[float]:
        """Of the answers to so many commands."""
        while not self.command.get_subscription_count():
            self.executor.spin_once(timeout_sec=0.1)
        self._spin_until(time.monotonic() + 2.0)
        self.sent_s, self.delays_ms, self.answered = {}, [], set()
        begin_s = time.monotonic()
        for number in range(count):
            self._spin_until(begin_s + number / rate_hz)
            identity = f"{rate_hz} {count} {number}"
            self.sent_s[identity] = time.monotonic()
            self.command.publish(Command(id=identity, operator_id=f"operator {number % 4}", text="red"))
        until_s = time.monotonic() + _AFTER_S
        while len(self.answered) < count and time.monotonic() < until_s:
            self.executor.spin_once(timeout_sec=0.1)
        self._spin_until(time.monotonic() + 0.5)  # a second answer to a command would arrive now
        return [round(delay, 1) for delay in self.delays_ms]

    def _spin_until(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def _on_answer(self, answer: Segmentation) -> None:
        if answer.id in self.sent_s:
            elapsed_ms = 1000 * (time.monotonic() - self.sent_s[answer.id])
            self.delays_ms.append(elapsed_ms - answer.queued_ms - answer.total_ms)
            self.answered.add(answer.id)

    def _count(self, message: Any) -> None:
        self.others += 1


def main(name: str, count: int, rate_hz: float) -> None:
    rclpy.init()
    client = RecordingClient(name)
    alone_ms = client.delays(count // 5, rate_hz)
    client.listen_to_all()
    delays_ms = client.delays(count, rate_hz)
    print(json.dumps({"alone_ms": alone_ms, "delays_ms": delays_ms, "others": client.others}), flush=True)
    client.node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
