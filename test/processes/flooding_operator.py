# SPDX-License-Identifier: Apache-2.0
"""An operator in its own process: `flooding_operator.py TOPIC NAME COUNT` sends commands without a pause."""

import sys

import rclpy
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from ros_harness import wait_until

from lisa_ros.msg import Command


def main(topic: str, name: str, count: int) -> None:
    rclpy.init()
    publisher = rclpy.create_node(name).create_publisher(Command, topic, QoSProfile(depth=count))
    wait_until(publisher.get_subscription_count, topic)
    for number in range(count):
        publisher.publish(Command(id=f"{name}-{number}", operator_id=name))
    wait_until(lambda: publisher.wait_for_all_acked(Duration(seconds=0)), "the last acknowledgement")
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
