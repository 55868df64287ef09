# SPDX-License-Identifier: Apache-2.0
"""Telling people that a model is still being loaded, while the executor can tell nobody anything."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.node import Node

from lisa_ros.nodes.lisa.diagnostics import PERIOD_S

LOGGED_EVERY_S = 5.0


@contextmanager
def telling(node: Node, publish: Callable[[], None]) -> Iterator[None]:
    """As long as the block lasts, diagnostics go out once a second and the log has a line now and then.

    Args:
        node: whose log.
        publish: sends the diagnostics.
    """
    done = threading.Event()
    thread = threading.Thread(target=_tell, args=(node, publish, done), name="lisa_loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(node: Node, publish: Callable[[], None], done: threading.Event) -> None:
    began_s, logged_s = time.monotonic(), time.monotonic()
    publish()
    while not done.wait(PERIOD_S):
        publish()
        now_s = time.monotonic()
        if now_s - logged_s >= LOGGED_EVERY_S:
            logged_s = now_s
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
            node.get_logger().info(f"Still loading, for {now_s - began_s:.0f} s; {megabytes} MB in memory.")
