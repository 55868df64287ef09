# SPDX-License-Identifier: Apache-2.0
"""Reads from the graph which topics, services and actions a running node uses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import rclpy
from rclpy.action.graph import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node
from rclpy.node import Node

from lisa_ros.nodes.access.rights import Rights
from lisa_ros.segmentation.errors import LisaError

_STILL_S = 4.0
"""The graph counts as known when it has not changed for so long: Fast DDS announces a process every 3 s."""


class GraphError(LisaError):
    """The graph does not have what the rights are derived from; the text says what is missing."""


def read_rights(lisa: str, console: str, seconds: float) -> tuple[Rights, Rights | None]:
    """Reads what a running LISA node and a running console use. Starts and ends ROS in this process.

    Args:
        lisa: the LISA node's full name.
        console: the console's.
        seconds: the longest time to wait for the LISA node and for a graph that does not change any more.

    Returns:
        both nodes' rights; None for a console that does not run.

    Raises:
        GraphError: the LISA node is not there, or has no camera because it is not active.
    """
    rclpy.init(args=[])
    try:
        node = rclpy.create_node(f"lisa_policy_{os.getpid()}")
        return _when_still(lambda: _both(node, lisa, console), seconds)
    finally:
        rclpy.try_shutdown()


def _both(node: Node, lisa: str, console: str) -> tuple[Rights, Rights | None]:
    found = rights_in_use(node, lisa)
    if found is None:
        raise GraphError(f"There is no node {lisa} in this ROS domain ({os.environ.get('ROS_DOMAIN_ID', '0')}).")
    if all(topic.startswith(f"{found.name}/") for topic in found.subscribe - {"/clock", "/parameter_events"}):
        raise GraphError(f"{lisa} does not subscribe to a camera: activate it first, so that its topics are known.")
    return found, rights_in_use(node, console)


def _when_still(read: Callable[[], tuple[Rights, Rights | None]], seconds: float) -> tuple[Rights, Rights | None]:
    """The first result that stays the same for a while; discovery adds to the graph bit by bit."""
    end_s = time.monotonic() + seconds
    newest, since_s = None, time.monotonic()
    while time.monotonic() < end_s and (newest is None or time.monotonic() - since_s < _STILL_S):
        time.sleep(0.1)
        try:
            found = read()
        except GraphError:
            continue
        if found != newest:
            newest, since_s = found, time.monotonic()
    return newest or read()


def rights_in_use(node: Node, full_name: str) -> Rights | None:
    """What a node uses at this moment; None: it is not in the graph."""
    namespace, name = full_name.rsplit("/", 1)
    namespace = namespace or "/"
    if (name, namespace) not in node.get_node_names_and_namespaces():
        return None

    def names(of: Callable[..., list[tuple[str, list[str]]]]) -> frozenset[str]:
        found = of(name, namespace)
        return frozenset(one for one, _ in found if "/_action/" not in one)

    return Rights(
        full_name,
        namespace,
        name,
        publish=names(node.get_publisher_names_and_types_by_node),
        subscribe=names(node.get_subscriber_names_and_types_by_node),
        reply=names(node.get_service_names_and_types_by_node),
        request=names(node.get_client_names_and_types_by_node),
        execute=names(lambda *one: get_action_server_names_and_types_by_node(node, *one)),
        call=names(lambda *one: get_action_client_names_and_types_by_node(node, *one)),
    )
