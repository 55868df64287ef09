# SPDX-License-Identifier: Apache-2.0
"""The camera's topics: its pictures and, where there are any, registered depth and intrinsics."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.parameters import NodeParameters


def camera_qos(depth: int) -> QoSProfile:
    """As sensor data (best effort is compatible with cameras of either kind), but only the newest."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


# The executor sees one message of a topic at a time; what belongs together must not be lost while it does.
_PICTURES, _DEPTHS, _INFOS = 1, 2, 5


class CameraTopics:
    """Subscriptions that fill a buffer while they are open."""

    def __init__(self, node: Node, frames: FrameBuffer, parameters: NodeParameters, saw: Callable[[], None]) -> None:
        """Subscribes.

        Args:
            node: the node.
            frames: gets what comes.
            parameters: which topics.
            saw: called for every picture.
        """
        self._node, self._saw, self._frames = node, saw, frames
        # As image_transport does: remapping `image` moves `image/compressed` along.
        topic = node.resolve_topic_name("image")
        compressed = parameters.image_transport == "compressed"
        self._pictures = self._subscribe(
            CompressedImage if compressed else Image,
            f"{topic}/compressed" if compressed else topic,
            self._on_image,
            _PICTURES,
        )
        self._subscriptions = [self._pictures]
        if parameters.use_depth:
            self._subscriptions += [
                self._subscribe(Image, "depth", frames.take_depth, _DEPTHS),
                self._subscribe(CameraInfo, "camera_info", frames.take_info, _INFOS),
            ]

    @property
    def image_topic(self) -> str:
        """Where the pictures come from."""
        return str(self._pictures.topic_name)

    def close(self) -> None:
        """Unsubscribes."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._frames.take_image(message)
        self._saw()

    def _subscribe(self, kind: Any, topic: str, callback: Callable[[Any], None], depth: int) -> Any:
        safe = guarded_by(self._node, callback)
        return self._node.create_subscription(
            kind,
            topic,
            lambda message: safe(message),  # rclpy counts a callback's arguments
            camera_qos(depth),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
