# SPDX-License-Identifier: Apache-2.0
"""The operators' side: a ROS node that waits for the camera and for lisa_node, sends commands and gets answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.scene import Scene
from lisa_ros.demo.script import Line
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.srv import ResetDialogue

_POLL_S = 0.1
_IMAGES_BEFORE_COMMAND = 2


class Operators:
    """Sends the commands of all operators, over ROS 2."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, check: Callable[[], None]) -> None:
        self._node, self._executor, self._check = node, executor, check
        self._got: dict[str, Any] = {}
        self._answers: dict[str, Any] = {}
        self._numbers = count(1)
        self._images = 0
        self._command = node.create_publisher(Command, "lisa/command", 10)
        # Latched: the node may not know of this subscription yet when it publishes the first answer.
        node.create_subscription(Segmentation, "lisa/segmentation", self._on_answer, LATCHED)
        self._reset = node.create_client(ResetDialogue, "lisa/reset_dialogue")

    def see(self, timeout_s: float) -> Scene:
        """One image of the camera with its true masks. The subscription ends then, because it would cost time.

        Raises:
            DemoError: none came in time; or whatever `check` raises.
        """
        wanted = (
            ("image", Image, qos_profile_sensor_data),
            ("instances", Image, qos_profile_sensor_data),
            ("sim_camera/objects", String, LATCHED),
        )
        subscriptions = [
            self._node.create_subscription(kind, topic, lambda message, topic=topic: self._keep(topic, message), qos)
            for topic, kind, qos in wanted
        ]
        if not self._wait(lambda: len(self._got) == len(wanted), timeout_s):
            missing = ", ".join(topic for topic, _, _ in wanted if topic not in self._got)
            raise DemoError(f"sim_camera sent nothing on {missing} in {timeout_s:g} s.")
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)
        return Scene.from_messages(*(self._got[topic] for topic, _, _ in wanted))

    def wait_for_lisa(self, timeout_s: float) -> None:
        """Waits until the node takes commands.

        Raises:
            DemoError: it was not ready in time; or whatever `check` raises.
        """
        if not self._wait(self._lisa_listens, timeout_s):
            raise DemoError(f"lisa_node was not ready in {timeout_s:g} s; --timeout sets a longer wait.")
        self._node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, qos_profile_sensor_data)

    def ask(self, line: Line, timeout_s: float) -> Any | None:
        """Sends a command and waits for its Segmentation; None when none came in time.

        Camera topics are best effort, so an image may be lost. This waits for new images first,
        and sends the command again as long as lisa_node has no image for it.

        Raises:
            DemoError: the camera stopped sending images; or whatever `check` raises.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._wait_for_images(_IMAGES_BEFORE_COMMAND, timeout_s)
            answer = self._send(line, timeout_s)
            lost = answer is not None and answer.status == Segmentation.NO_IMAGE
            if not lost or time.monotonic() > deadline:
                return answer

    def _send(self, line: Line, timeout_s: float) -> Any | None:
        command_id = f"demo-{os.getpid()}-{next(self._numbers)}"
        self._command.publish(Command(id=command_id, operator_id=line.operator, text=line.text))
        self._wait(lambda: command_id in self._answers, timeout_s)
        return self._answers.get(command_id)

    def _lisa_listens(self) -> bool:
        return bool(
            self._reset.service_is_ready()
            and self._command.get_subscription_count()
            and self._node.count_publishers("lisa/segmentation")
            and self._node.count_subscribers("image")
        )

    def _wait_for_images(self, number: int, timeout_s: float) -> None:
        wanted = self._images + number
        if not self._wait(lambda: self._images >= wanted, timeout_s):
            raise DemoError(f"sim_camera stopped sending: nothing on camera_info in {timeout_s:g} s.")

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the condition came true in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                return False
            self._executor.spin_once(timeout_sec=_POLL_S)
        return True

    def _keep(self, topic: str, message: Any) -> None:
        self._got.setdefault(topic, message)

    def _on_answer(self, message: Any) -> None:
        self._answers[message.id] = message

    def _on_camera_info(self, _: Any) -> None:
        self._images += 1


@contextmanager
def operators(namespace: str, check: Callable[[], None]) -> Iterator[Operators]:
    """The operators' node, as long as the block lasts.

    Args:
        namespace: where the camera and lisa_node are too.
        check: called again and again during every wait, to raise when there is nothing left to wait for.
    """
    # Signals are handled by the demo, which has processes to end.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("operators", namespace=namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield Operators(node, executor, check)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
