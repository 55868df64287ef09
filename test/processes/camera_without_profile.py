# SPDX-License-Identifier: Apache-2.0
"""A camera on the middleware's default settings: three small images, then images of 25 MB, ten a second."""

import array
import time
from contextlib import suppress

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image


def image(width: int, height: int, stamp: object) -> Image:
    message = Image(width=width, height=height, step=3 * width, encoding="rgb8")
    message.data = array.array("B", bytes(3 * width * height))
    message.header.stamp = stamp
    return message


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("camera_without_profile")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(1.0)
    for _ in range(3):
        publisher.publish(image(64, 48, node.get_clock().now().to_msg()))
        time.sleep(0.1)
    large = image(3840, 2160, node.get_clock().now().to_msg())
    while True:
        large.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(large)
        time.sleep(0.1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
