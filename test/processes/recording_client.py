# SPDX-License-Identifier: Apache-2.0
"""A client that subscribes reliably to every output topic with images, as RViz and a recorder do, and sends commands.

Usage: recording_client.py NODE PID COUNT RATE_HZ, with the node's name and process. It sends COUNT commands beside all
topics, and a tenth of COUNT before and after that, when it subscribes to the answers alone: other programs may take the
processor for a part of the time. Prints one JSON object: "alone" and "beside_all" have an Arrival for each answer, one
that comes twice included, "sent" the ids of the commands of "beside_all", "others" the number of other messages.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
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


@dataclass
class Arrival:
    """An answer that arrived."""

    id: str
    delay_ms: float
    """From the end of its processing to its arrival, and from the sending of its command to the command's arrival."""
    waited_ms: float
    """How long a thread of the node, and one of this client, waited for a processor meanwhile, at most."""


Waits = dict[str, float]


def waits_of(pid: int) -> Waits:
    """How long each thread of a process has waited for a processor so far, ms."""
    waits = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            waits[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e6
    return waits


def longest_wait(before: Waits, after: Waits) -> float:
    """Of one thread, ms."""
    return max((waited - before.get(thread, 0.0) for thread, waited in after.items()), default=0.0)


class RecordingClient:
    """Sends commands and keeps the time of each answer."""

    def __init__(self, name: str, pid: int) -> None:
        self.node = rclpy.create_node("recording_client")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.processes = (pid, os.getpid())
        self.sent: dict[str, tuple[float, list[Waits]]] = {}
        self.arrivals: list[Arrival] = []
        self.answered: set[str] = set()
        self.others = 0
        self.name = name
        self.node.create_subscription(Segmentation, f"/{name}/segmentation", self._on_answer, _QOS)
        self.command = self.node.create_publisher(Command, f"/{name}/command", QoSProfile(depth=1000))

    @contextmanager
    def beside_all(self) -> Iterator[None]:
        """Subscribes to all topics while the block runs."""
        subscriptions = [
            self.node.create_subscription(kind, f"/{self.name}/{topic}", self._count, _QOS)
            for topic, kind in _TOPICS.items()
        ]
        yield
        for subscription in subscriptions:
            self.node.destroy_subscription(subscription)

    def arrivals_of(self, count: int, rate_hz: float) -> list[dict[str, Any]]:
        """Of the answers to so many commands."""
        while not self.command.get_subscription_count():
            self.executor.spin_once(timeout_sec=0.1)
        self._spin_until(time.monotonic() + 2.0)
        self.sent, self.arrivals, self.answered = {}, [], set()
        begin_s = time.monotonic()
        for number in range(count):
            self._spin_until(begin_s + number / rate_hz)
            identity = f"{rate_hz} {count} {number}"
            self.sent[identity] = time.monotonic(), [waits_of(pid) for pid in self.processes]
            self.command.publish(Command(id=identity, operator_id=f"operator {number % 4}", text="red"))
        until_s = time.monotonic() + _AFTER_S
        while len(self.answered) < count and time.monotonic() < until_s:
            self.executor.spin_once(timeout_sec=0.1)
        self._spin_until(time.monotonic() + 0.5)  # a second answer to a command would arrive now
        return [asdict(one) for one in self.arrivals]

    def _spin_until(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def _on_answer(self, answer: Segmentation) -> None:
        if answer.id in self.sent:
            sent_s, before = self.sent[answer.id]
            delay_ms = 1000 * (time.monotonic() - sent_s) - answer.queued_ms - answer.total_ms
            waited_ms = sum(map(longest_wait, before, map(waits_of, self.processes)))
            self.arrivals.append(Arrival(answer.id, delay_ms, waited_ms))
            self.answered.add(answer.id)

    def _count(self, message: Any) -> None:
        self.others += 1


def main(name: str, pid: int, count: int, rate_hz: float) -> None:
    rclpy.init()
    client = RecordingClient(name, pid)
    alone = client.arrivals_of(count // 10, rate_hz)
    with client.beside_all():
        beside_all, sent = client.arrivals_of(count, rate_hz), list(client.sent)
    alone += client.arrivals_of(count // 10, rate_hz)
    print(json.dumps({"alone": alone, "beside_all": beside_all, "sent": sent, "others": client.others}), flush=True)
    client.node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
