# SPDX-License-Identifier: Apache-2.0
"""Reports the progress of loading a model while the executor is blocked."""

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.node import Node

from lisa_ros.nodes.lisa.diagnostics import PERIOD_S

LOG_PERIOD_S = 5.0


@contextmanager
def loading_reports(node: Node, publish: Callable[[], None]) -> Iterator[None]:
    """Publish diagnostics once a second and log a line every LOG_PERIOD_S while the block runs.

    Args:
        node: The node, for its log.
        publish: Publishes diagnostics.
    """
    done = threading.Event()
    thread = threading.Thread(target=_report, args=(node, publish, done), name="lisa_loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _report(node: Node, publish: Callable[[], None], done: threading.Event) -> None:
    began_s, logged_s = time.monotonic(), time.monotonic()
    publish()
    while not done.wait(PERIOD_S):
        publish()
        now_s = time.monotonic()
        if now_s - logged_s >= LOG_PERIOD_S:
            logged_s = now_s
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
            node.get_logger().info(f"Still loading after {now_s - began_s:.0f} s; the process uses {megabytes} MB.")
