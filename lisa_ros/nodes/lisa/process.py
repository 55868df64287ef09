# SPDX-License-Identifier: Apache-2.0
"""The node's process: it runs until a signal or a failure, and always ends within ten seconds then."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException

from lisa_ros.nodes.common.memory import PERIOD_S, give_back_freed_memory
from lisa_ros.nodes.common.starting import Stop
from lisa_ros.nodes.lisa.lifecycle import NodeExecutor

MAX_END_S = 9.5
"""Maximum time from a signal to the end of the process, in seconds."""
_JOIN_S = 1.0


class RunnableNode(Protocol):
    """What a process needs of its node."""

    change_state: Any
    failure: str

    def get_logger(self) -> Any:
        """See rclpy."""

    def start(self) -> None:
        """Begin to work, on a thread of its own."""

    def stop(self, spinning: Callable[[], bool]) -> None:
        """Accept no more commands and cancel those in progress; the executor still runs."""

    def close(self) -> bool:
        """Answer the remaining commands and end the threads. Returns False if one of them did not end."""

    def destroy_node(self) -> None:
        """See rclpy."""


def run(node: RunnableNode, stop: Stop) -> int:
    """Run a node until `stop` is set.

    Returns:
        The exit code: 0; 1 if the node or its executor failed.
    """
    executor = NodeExecutor(node.change_state)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(node, executor, stop), name="lisa_executor", daemon=True)
    thread.start()
    node.start()
    while not stop.wait(PERIOD_S):
        give_back_freed_memory()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    timer = threading.Timer(MAX_END_S, _exit_now, args=(1, f"The node did not end within {MAX_END_S:g} s."))
    timer.daemon = True
    timer.start()
    code = _end(node, executor, thread)
    timer.cancel()
    return code


def _spin(node: RunnableNode, executor: NodeExecutor, stop: Stop) -> None:
    """The body of the executor's thread; `stop` is set when it ends."""
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except BaseException:  # without its executor the node is useless
        node.failure = f"The executor failed:\n{traceback.format_exc()}"
    stop.set()


def _end(node: RunnableNode, executor: NodeExecutor, thread: threading.Thread) -> int:
    """End the node and its executor; returns the exit code."""
    if node.failure:
        node.get_logger().fatal(node.failure)
    node.stop(thread.is_alive)
    executor.shutdown(timeout_sec=_JOIN_S)
    thread.join(_JOIN_S)
    ended = node.close()
    code = 1 if node.failure else 0
    if (
        not ended or thread.is_alive() or executor.in_transition
    ):  # Python would wait for a thread inside a model, or crash with it
        _exit_now(code, "A thread of the model still runs; the process ends without it.")
    node.destroy_node()
    rclpy.try_shutdown()
    return code


def _exit_now(code: int, reason: str) -> None:
    print(f"lisa: {reason}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
