# SPDX-License-Identifier: Apache-2.0
"""A planner as a process of its own: python listening_planner.py TOPIC hears Segmentations, and says so."""

import sys

import rclpy
from rclpy.executors import ExternalShutdownException

from lisa_ros.msg import Segmentation


def main(topic: str) -> None:
    rclpy.init()
    node = rclpy.create_node("planner")
    node.create_subscription(Segmentation, topic, lambda answer: print("heard", answer.id, flush=True), 10)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
