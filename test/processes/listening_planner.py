# SPDX-License-Identifier: Apache-2.0
"""A planner in its own process: `listening_planner.py TOPIC` prints a line for each answer, or mask, it receives."""

import os
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

from lisa_ros.msg import Segmentation


def main(topic: str) -> None:
    # On Fast DDS's own settings, a process that is frozen counts as gone after 20 s; on config/fastdds.xml after 4 s.
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.pop(name, None)
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
