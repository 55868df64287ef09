# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to the camera's topics: images, registered depth and intrinsics."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.camera.arrivals import Arrivals
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.camera.serialized_messages import SerializedMessage
from lisa_ros.nodes.lisa.parameters import NodeParameters


def camera_qos(depth: int) -> QoSProfile:
    """Sensor-data QoS, which is compatible with reliable and best-effort cameras, with a given history depth."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


# History depths. The executor takes one message of a topic at a time; depth and intrinsics must not be lost meanwhile.
_IMAGE_DEPTH, _DEPTH_DEPTH, _INFO_DEPTH = 1, 2, 5


class CameraTopics:
    """Subscriptions that fill a frame buffer until they are closed."""

    def __init__(
        self, node: Node, frames: FrameBuffer, parameters: NodeParameters, on_image: Callable[[], None]
    ) -> None:
        """Subscribe.

        Args:
            node: The node.
            frames: Receives the messages.
            parameters: Choose the topics.
            on_image: Called for every image.
        """
        self._node, self._notify, self._frames = node, on_image, frames
        # As in image_transport: remapping `image` also remaps `image/compressed`.
        topic = node.resolve_topic_name("image")
        compressed = parameters.image_transport == "compressed"
        topic = f"{topic}/compressed" if compressed else topic
        kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
        self.arrivals = Arrivals(topic, kind, lambda: self._kinds_published(topic))
        """Counts the images."""
        self._images = self._subscribe(
            CompressedImage if compressed else Image,
            topic,
            self._on_image,
            _IMAGE_DEPTH,
            serialized=True,
            on_lost=self._on_lost,
        )
        depth = self._subscribe_depth(parameters.depth_transport) if parameters.use_depth else ()
        self._subscriptions = [self._images, *depth]

    @property
    def image_topic(self) -> str:
        """Full name of the image topic."""
        return str(self._images.topic_name)

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _subscribe_depth(self, transport: str) -> Iterable[Any]:
        """Subscribe to depth images and intrinsics."""
        # As for images: remapping `depth` also remaps `depth/compressedDepth`.
        topic = self._node.resolve_topic_name("depth")
        plugin = transport == "compressedDepth"
        yield self._subscribe(
            CompressedImage if plugin else Image,
            f"{topic}/compressedDepth" if plugin else topic,
            self._frames.add_depth,
            _DEPTH_DEPTH,
            serialized=True,
        )
        yield self._subscribe(CameraInfo, "camera_info", self._frames.add_info, _INFO_DEPTH)

    def _on_image(self, message: SerializedMessage) -> None:
        self.arrivals.count_arrived()
        self._frames.add_image(message)
        self._notify()

    def _on_lost(self, event: Any) -> None:
        self.arrivals.count_lost(event.total_count_change)

    def _kinds_published(self, topic: str) -> list[str]:
        """The message type of each publisher of a topic."""
        try:
            return [one.topic_type for one in self._node.get_publishers_info_by_topic(topic)]
        except InvalidHandle:  # the node is being destroyed
            return []

    def _subscribe(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any], None],
        depth: int,
        serialized: bool = False,
        on_lost: Callable[[Any], None] | None = None,
    ) -> Any:
        """Images stay serialized until they are needed: see SerializedMessage."""
        safe = guarded_by(self._node, callback)
        # rclpy inspects the callback's arguments
        receive = (lambda data: safe(SerializedMessage(kind, data))) if serialized else (lambda message: safe(message))
        subscribe = functools.partial(
            self._node.create_subscription,
            kind,
            topic,
            receive,
            camera_qos(depth),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            raw=serialized,
        )
        if on_lost is None:
            return subscribe()
        lost = guarded_by(self._node, on_lost)
        try:
            return subscribe(event_callbacks=SubscriptionEventCallbacks(message_lost=lambda event: lost(event)))
        except UnsupportedEventTypeError:  # this middleware does not report lost messages
            return subscribe()
