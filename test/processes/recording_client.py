# SPDX-License-Identifier: Apache-2.0
"""A client that subscribes reliably to every output topic with images, as RViz and a recorder do, and sends commands.

Usage: recording_client.py NODE COUNT RATE_HZ. Prints one JSON object: for each answered command the delay in
milliseconds between the end of its processing and its arrival here, and the number of other messages received.
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
        self.delays_ms: dict[str, float] = {}
        self.others = 0
        for topic, kind in _TOPICS.items():
            self.node.create_subscription(kind, f"/{name}/{topic}", self._count, _QOS)
        self.node.create_subscription(Segmentation, f"/{name}/segmentation", self._on_answer, _QOS)
        self.command = self.node.create_publisher(Command, f"/{name}/command", QoSProfile(depth=1000))

    def run(self, count: int, rate_hz: float) -> None:
        while not self.command.get_subscription_count():
            self.executor.spin_once(timeout_sec=0.1)
        self._spin_until(time.monotonic() + 2.0)
        begin_s = time.monotonic()
        for number in range(count):
            self._spin_until(begin_s + number / rate_hz)
            self.sent_s[str(number)] = time.monotonic()
            self.command.publish(Command(id=str(number), operator_id=f"operator {number % 4}", text="red"))
        until_s = time.monotonic() + _AFTER_S
        while len(self.delays_ms) < count and time.monotonic() < until_s:
            self.executor.spin_once(timeout_sec=0.1)

    def _spin_until(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def _on_answer(self, answer: Segmentation) -> None:
        if answer.id in self.sent_s:
            elapsed_ms = 1000 * (time.monotonic() - self.sent_s[answer.id])
            self.delays_ms[answer.id] = elapsed_ms - answer.queued_ms - answer.total_ms

    def _count(self, message: Any) -> None:
        self.others += 1


def main(name: str, count: int, rate_hz: float) -> None:
    rclpy.init()
    client = RecordingClient(name)
    client.run(count, rate_hz)
    delays = [round(delay, 1) for delay in client.delays_ms.values()]
    print(json.dumps({"delays_ms": delays, "others": client.others}), flush=True)
    client.node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
