# SPDX-License-Identifier: Apache-2.0
"""QoS of the node's topics and services, and what the graph says of a topic's publishers.

Of commands to a node that ends: by its publishers, a node that was started anew is not taken for the one before.
"""

from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible

from lisa_ros.msg import Segmentation

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SERVICE_QOS = QoSProfile(depth=1000)
"""Of requests and responses. By default the newest ten are kept: of 60 goals that were sent at once, 46 were lost
without a word, and of 30 results that came at once, 20."""
FEEDBACK_QOS = QoSProfile(depth=100)
SEGMENT_CLIENT_QOS: Any = {
    "goal_service_qos_profile": SERVICE_QOS,
    "result_service_qos_profile": SERVICE_QOS,
    "cancel_service_qos_profile": SERVICE_QOS,
    "feedback_sub_qos_profile": FEEDBACK_QOS,
}
"""Arguments of a client of the action ~/segment."""

HAS_ENDED = "The node ended before it answered."
DOES_NOT_KNOW = "The node does not know the command: it was started again meanwhile."

Endpoints = frozenset[tuple[int, ...]]


def publishers_of(node: Node, topic: str) -> Endpoints:
    """Identities (GIDs) of a topic's publishers: new ones with every start.

    A killed process's stay in the graph until DDS's lease ends.

    Args:
        node: Any node.
        topic: Its name, relative to the node or absolute.
    """
    infos = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return frozenset(tuple(info.endpoint_gid) for info in infos)


def offers_latched(node: Node, topic: str) -> bool:
    """Whether a publisher keeps its newest message for late subscribers; `topic` is as in `publishers_of`.

    A latched subscription fits no publisher without that offer, and both sides would log a warning.
    """
    infos = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return any(qos_check_compatible(one.qos_profile, LATCHED)[0] != QoSCompatibility.ERROR for one in infos)


def answer_in(response: Any) -> Segmentation | None:
    """The answer in a response of the action ~/segment; None: the node does not know the goal (DOES_NOT_KNOW)."""
    if response.status == GoalStatus.STATUS_UNKNOWN:  # its segmentation is an empty one, whose status is OK
        return None
    return response.result.segmentation


def have_ended(node: Node, topic: str, before: Endpoints) -> bool:
    """Whether none of the processes that published a topic before is there any more; False if there was none."""
    return bool(before) and before.isdisjoint(publishers_of(node, topic))
