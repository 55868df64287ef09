# SPDX-License-Identifier: Apache-2.0
"""A node that a thread of its own spins, so that messages come while the program does other things."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


@contextmanager
def spun_node(name: str, *, namespace: str = "", domain_id: int | None = None) -> Iterator[Node]:
    """A node in a context of its own, as long as the block lasts. Signals stay with the program.

    Args:
        name: of the node.
        namespace: of the node; empty: the global one.
        domain_id: the ROS domain; None: the environment's.
    """
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = rclpy.create_node(name, namespace=namespace or None, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), name=name, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(10.0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()
