# SPDX-License-Identifier: Apache-2.0
"""Which processes publish a topic, so that a node that was started anew is not taken for the one before."""

from rclpy.node import Node

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


def have_ended(node: Node, topic: str, before: Endpoints) -> bool:
    """Whether none of the processes that published a topic before is there any more; False if there was none."""
    return bool(before) and before.isdisjoint(publishers_of(node, topic))
