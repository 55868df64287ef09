# SPDX-License-Identifier: Apache-2.0
"""Commands that have arrived in this process but not at the executor, which has stopped."""

from rclpy.node import Node
from std_msgs.msg import String

from lisa_ros.msg import Command
from lisa_ros.nodes.lisa.camera.waiting_messages import waiting_messages


def take_arrived(node: Node) -> int:
    """Call the callbacks of all commands that wait in the middleware; returns their number.

    The executor takes some milliseconds for each, on a busy machine much more, and a node has ten seconds to end.
    """
    taken = 0
    for subscription in node.subscriptions:
        if subscription.msg_type not in (Command, String):
            continue
        for message, _ in waiting_messages(subscription):
            subscription.callback(message)
            taken += 1
    return taken
