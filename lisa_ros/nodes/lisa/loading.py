# SPDX-License-Identifier: Apache-2.0
"""Logs the progress of loading a model."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.node import Node

LOG_PERIOD_S = 5.0


@contextmanager
def loading_reports(node: Node) -> Iterator[None]:
    """Log a line every LOG_PERIOD_S while the block runs."""
    done = threading.Event()
    thread = threading.Thread(target=_report, args=(node, done), name="lisa_loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _report(node: Node, done: threading.Event) -> None:
    began_s = time.monotonic()
    while not done.wait(LOG_PERIOD_S):
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        elapsed_s = time.monotonic() - began_s
        node.get_logger().info(f"Still loading after {elapsed_s:.0f} s; the process uses {megabytes} MB.")
