# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to the camera's topics: images, registered depth and intrinsics."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lisa_ros.nodes.common.endpoints import LATCHED, offers_latched
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.camera.arrivals import Arrivals
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.camera.on_demand import PERIOD_S, LostMessages, OnDemandGroup
from lisa_ros.nodes.lisa.camera.serialized_messages import SerializedMessage
from lisa_ros.nodes.lisa.camera.waiting_messages import waiting_messages
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.errors import ImageError


def camera_qos(depth: int) -> QoSProfile:
    """Sensor-data QoS, which is compatible with reliable and best-effort cameras, with a given history depth."""
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


_INFO = "camera_info"
INPUTS = ("image", "depth", _INFO)
"""The topics that users remap, without the ending of their transport."""

# History depths. The executor takes one message of a topic at a time; depth and intrinsics must not be lost meanwhile.
_IMAGE_DEPTH, _DEPTH_DEPTH, _INFO_DEPTH = 1, 2, 5


class CameraTopics:
    """Subscriptions that fill a frame buffer until they are closed."""

    def __init__(
        self,
        node: Node,
        frames: FrameBuffer,
        parameters: NodeParameters,
        on_images: Callable[[int], None],
        needed: Callable[[], bool] = lambda: True,
    ) -> None:
        """Subscribe.

        Args:
            node: The node.
            frames: Receives the messages.
            parameters: Choose the topics.
            on_images: Called when an image is taken, with the number of images that arrived since the last call.
            needed: Returns whether each image is needed when it arrives; otherwise `take_newest` is called before one
                is needed.
        """
        self._node, self._notify, self._frames, self._needed = node, on_images, frames, needed
        self._group = OnDemandGroup()
        # As in image_transport: remapping `image` also remaps `image/compressed`.
        topic = node.resolve_topic_name("image")
        compressed = parameters.image_transport == "compressed"
        topic = f"{topic}/compressed" if compressed else topic
        kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
        self.arrivals = Arrivals(
            topic, kind, lambda: [one.topic_type for one in self._publishers(topic)], refused=self._refused
        )
        """Counts the images."""
        self._lost: LostMessages | None = None  # while the executor already takes the first image
        self._images = self._subscribe(
            CompressedImage if compressed else Image,
            topic,
            self._on_image,
            camera_qos(_IMAGE_DEPTH),
            serialized=True,
        )
        self._lost = LostMessages(self._images)
        self._wants_latched_info, self._closing = parameters.use_depth, threading.Lock()
        depth = self._subscribe_depth(parameters.depth_transport) if parameters.use_depth else ()
        self._subscriptions = [self._images, *depth]
        self._subscribe_latched_info()
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = node.get_clock().create_jump_callback(back, post_callback=lambda jump: frames.clock_went_back())
        # Not the node's clock, which stands still while a simulation does.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_S, guarded_by(node, self.take_newest), clock=steady)

    @property
    def image_topic(self) -> str:
        """Full name of the image topic."""
        return str(self._images.topic_name)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        self._jumps.unregister()
        with self._closing:  # the executor's thread may still subscribe
            self._wants_latched_info = False
        if self._lost is not None:
            self._lost.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def take_newest(self) -> None:
        """Take the newest messages if the executor does not; on the executor's thread."""
        try:
            self._count_lost()
            self._subscribe_latched_info()
            if not self._group.active:
                for subscription in reversed(self._subscriptions):  # images last: depth and intrinsics are there then
                    for message, information in waiting_messages(subscription):
                        subscription.callback(message, information)
        except InvalidHandle:  # a transition destroyed the subscriptions
            return
        self._update_group()

    def _update_group(self) -> None:
        """Let the executor take each message while that is needed.

        That is while images are needed or cannot be counted otherwise, and until the newest frame has its depth.
        """
        frames = self._frames
        nothing_yet = frames.newest() is None
        self._group.active = nothing_yet or not self.arrivals.numbered or frames.awaits_depth() or self._needed()

    def _subscribe_depth(self, transport: str) -> Iterable[Any]:
        """Subscribe to depth images and intrinsics."""
        # As for images: remapping `depth` also remaps `depth/compressedDepth`.
        topic = self._node.resolve_topic_name("depth")
        plugin = transport == "compressedDepth"
        yield self._subscribe(
            CompressedImage if plugin else Image,
            f"{topic}/compressedDepth" if plugin else topic,
            self._on_depth,
            camera_qos(_DEPTH_DEPTH),
            serialized=True,
        )
        yield self._subscribe(CameraInfo, _INFO, self._on_info, camera_qos(_INFO_DEPTH))

    def _subscribe_latched_info(self) -> None:
        """If a publisher offers latched intrinsics, subscribe to those, too.

        They may have been published once, before this node, or when the camera's driver was started again.
        """
        with self._closing:
            if self._wants_latched_info and offers_latched(self._node, _INFO):
                self._wants_latched_info = False
                self._subscriptions.append(self._subscribe(CameraInfo, _INFO, self._on_info, LATCHED))

    def _on_image(self, message: SerializedMessage, information: Any) -> None:
        self._count_lost()
        count = self.arrivals.count_arrived(information["publication_sequence_number"])
        self._frames.add_image(message)
        self._notify(count)

    def _count_lost(self) -> None:
        with suppress(InvalidHandle):  # a transition has closed the topics since the message was taken
            if self._lost is not None and (lost := self._lost.since_last()):
                self.arrivals.count_lost(lost)

    def _on_depth(self, message: SerializedMessage, information: Any) -> None:
        self._frames.add_depth(message)
        self._update_group()

    def _on_info(self, message: CameraInfo, information: Any) -> None:
        self._frames.add_info(message)

    def _publishers(self, topic: str) -> list[Any]:
        """What the graph says of each publisher of a topic."""
        try:
            return list(self._node.get_publishers_info_by_topic(topic))
        except InvalidHandle:  # the node is being destroyed
            return []

    def _refused(self) -> str:
        """Why the QoS of no publisher of images fits the subscription's, in DDS's words; empty: one's does."""
        demanded = self._images.qos_profile
        checked = [qos_check_compatible(one.qos_profile, demanded) for one in self._publishers(self.image_topic)]
        if any(found != QoSCompatibility.ERROR for found, _ in checked):
            return ""
        return next((reason.rstrip("; ") for _, reason in checked), "")

    def _subscribe(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any, Any], None],
        qos: QoSProfile,
        serialized: bool = False,
    ) -> Any:
        """Images stay serialized until they are needed: see SerializedMessage."""

        def read(message: Any, information: Any) -> None:
            try:
                readable = SerializedMessage(kind, message) if serialized else message
            except ImageError as error:  # the middleware has not looked into the message
                sentence = f"A message on {topic} is ignored: {error}"
                self._node.get_logger().warning(sentence, throttle_duration_sec=10.0)
                return
            callback(readable, information)

        safe = guarded_by(self._node, read)

        def receive(message: Any, information: Any) -> None:  # rclpy inspects the callback's arguments
            safe(message, information)

        return self._node.create_subscription(
            kind,
            topic,
            receive,
            qos,
            callback_group=self._group,
            qos_overriding_options=None if qos is LATCHED else QoSOverridingOptions.with_default_policies(),
            raw=serialized,
        )
