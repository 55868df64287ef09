# SPDX-License-Identifier: Apache-2.0
"""Records all output topics of a node into a bag until SIGINT, as `ros2 bag record` does: `recorder.py NODE FOLDER`."""

import importlib
import sys
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import StoragePlugin, Writer

from lisa_ros.bags.types import typestore

_QOS = QoSProfile(depth=50)


class Recorder(Node):
    """Subscribes to each topic of the node once it appears, and writes its messages as they come."""

    def __init__(self, name: str, writer: Writer) -> None:
        super().__init__("recorder")
        self._prefix, self._writer = f"/{name}/", writer
        self._connections: dict[str, Any] = {}
        self.messages = 0
        self.create_timer(1.0, self._search)

    def _search(self) -> None:
        for topic, kinds in self.get_topic_names_and_types():
            new = topic.startswith(self._prefix) and topic not in self._connections and self.count_publishers(topic)
            # Hidden topics (an action's) are not recorded, as by rosbag2.
            if new and "/_" not in topic and kinds[0] in typestore().types:
                self._connections[topic] = self._writer.add_connection(topic, kinds[0], typestore=typestore())
                self.create_subscription(_class_of(kinds[0]), topic, self._to(topic), _QOS, raw=True)

    def _to(self, topic: str) -> Any:
        def write(message: bytes) -> None:
            self._writer.write(self._connections[topic], self.get_clock().now().nanoseconds, message)
            self.messages += 1

        return write


def _class_of(kind: str) -> Any:
    package, folder, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), name)


def main(name: str, folder: Path) -> None:
    rclpy.init()
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        recorder = Recorder(name, writer)
        try:
            rclpy.spin(recorder)
        except (KeyboardInterrupt, ExternalShutdownException):
            rclpy.try_shutdown()
        print(f"{recorder.messages} messages recorded", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
