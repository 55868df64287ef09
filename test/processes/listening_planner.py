# SPDX-License-Identifier: Apache-2.0
"""A planner in its own process: `listening_planner.py TOPIC` prints a line for each answer, or mask, it receives."""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

from lisa_ros.msg import Segmentation


def main(topic: str) -> None:
    rclpy.init()
    node = rclpy.create_node("planner")
    kind = Image if topic.endswith("/mask") else Segmentation
    node.create_subscription(kind, topic, lambda message: print("received", flush=True), 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
