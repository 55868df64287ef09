# SPDX-License-Identifier: Apache-2.0
"""A planner in its own process: `listening_planner.py TOPIC` prints the ids of the Segmentations it receives."""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException

from lisa_ros.msg import Segmentation


def main(topic: str) -> None:
    rclpy.init()
    node = rclpy.create_node("planner")
    node.create_subscription(Segmentation, topic, lambda answer: print("received", answer.id, flush=True), 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
