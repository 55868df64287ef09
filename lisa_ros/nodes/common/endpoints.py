# SPDX-License-Identifier: Apache-2.0
"""Commands to a node that ends: by its publishers, a node that was started anew is not taken for the one before."""

from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.node import Node

from lisa_ros.msg import Segmentation

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


def answer_in(response: Any) -> Segmentation | None:
    """The answer in a response of the action ~/segment; None: the node does not know the goal (DOES_NOT_KNOW)."""
    if response.status == GoalStatus.STATUS_UNKNOWN:  # its segmentation is an empty one, whose status is OK
        return None
    return response.result.segmentation


def have_ended(node: Node, topic: str, before: Endpoints) -> bool:
    """Whether none of the processes that published a topic before is there any more; False if there was none."""
    return bool(before) and before.isdisjoint(publishers_of(node, topic))
