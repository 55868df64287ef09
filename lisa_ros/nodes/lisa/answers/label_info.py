# SPDX-License-Identifier: Apache-2.0
"""Names of the class numbers in `~/labels`, for nav2's semantic segmentation layer; needs vision_msgs.

The class is always called "target": costmaps are configured with fixed class names, not with the texts of commands.
"""

from rclpy.node import Node

from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.lisa.answers.detections import vision_messages

CLASSES = {0: "background", 1: "target"}


class LabelInfoTopic:
    """The latched topic `~/label_info`. Without vision_msgs it is not published."""

    def __init__(self, node: Node) -> None:
        """Publish it once."""
        messages = vision_messages()
        if messages is None:
            return
        classes = [messages.VisionClass(class_id=number, class_name=name) for number, name in CLASSES.items()]
        message = messages.LabelInfo(class_map=classes)
        message.header.stamp = node.get_clock().now().to_msg()
        self._publisher = node.create_publisher(messages.LabelInfo, "~/label_info", LATCHED)
        self._publisher.publish(message)
