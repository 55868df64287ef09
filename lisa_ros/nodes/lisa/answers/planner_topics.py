# SPDX-License-Identifier: Apache-2.0
"""Topics for planners: 3-D positions, points, label images, and the frame that was answered.

All have the header of the image used for the answer. Large messages are made only if their topic has a subscriber.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped, PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.answers.label_info import LabelInfoTopic
from lisa_ros.nodes.lisa.answers.outbox import Outbox
from lisa_ros.nodes.lisa.answers.positions import Positions
from lisa_ros.nodes.lisa.answers.spatial_messages import (
    cloud_message,
    grip_pose,
    marker_message,
    point,
    pose_message,
)
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.nodes.lisa.camera.serialized_messages import message_of
from lisa_ros.segmentation.answers import Mask, ObjectMask
from lisa_ros.spatial.box import FRAME_UP, IMAGE_UP
from lisa_ros.spatial.grips.grip import Grip
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.rotation import Vector

_RELIABLE = QoSProfile(depth=10)
_TARGET = np.uint8(1)


@dataclass(frozen=True)
class AnsweredObjects:
    """The objects of one answer.

    Attributes:
        objects: In the order of the answer.
        positions: Their positions and grips.
        union: The union of their masks.
        labels: A name of each object for people.
        source: The camera's messages that were answered; None: the image is from no camera.
    """

    objects: Sequence[ObjectMask]
    positions: Positions
    union: Mask
    labels: Sequence[str]
    source: CameraFrame | None


class PlannerTopics:
    """The publishers. With several objects, centroid, pose, points and grip are those of the first that has them."""

    def __init__(
        self, node: Node, outbox: Outbox, compressed: tuple[bool, bool], organised: Callable[[], bool]
    ) -> None:
        """Create the publishers on the node.

        Args:
            node: The node.
            outbox: Publishes the messages.
            compressed: Whether the camera's images, and its depth images, are compressed.
            organised: Returns whether `~/points` has one point per pixel.
        """
        self._outbox, self._organised = outbox, organised
        self._node = node
        self._centroid = self._publisher(PointStamped, "~/centroid")
        self._pose = self._publisher(PoseStamped, "~/pose")
        self._grip = self._publisher(PoseStamped, "~/grip_point")
        self._points = self._publisher(PointCloud2, "~/points")
        self._markers = self._publisher(MarkerArray, "~/markers")
        self._confidence = self._publisher(Image, "~/confidence")
        self._labels = self._publisher(Image, "~/labels")
        self._label_info = LabelInfoTopic(node)
        self._frame_image = (
            self._publisher(CompressedImage, "~/frame/image/compressed")
            if compressed[0]
            else self._publisher(Image, "~/frame/image")
        )
        self._frame_depth = (
            self._publisher(CompressedImage, "~/frame/depth/compressedDepth")
            if compressed[1]
            else self._publisher(Image, "~/frame/depth")
        )
        self._frame_info = self._publisher(CameraInfo, "~/frame/camera_info")

    def publish(self, found: AnsweredObjects, header: Header) -> None:
        """Publish the objects of one answer; there may be none."""
        self._publish_positions(found, header.frame_id)
        self._if_subscribed(self._labels, lambda: to_image_message(found.union * _TARGET, "mono8", header))
        probabilities = [one.probability for one in found.objects if one.probability is not None]
        if probabilities or not found.objects:
            self._if_subscribed(self._confidence, lambda: _confidence(probabilities, found.union, header))
        if found.source is not None:
            self._publish_frame(found.source)

    def _publish_positions(self, found: AnsweredObjects, camera_frame: str) -> None:
        header = found.positions.header
        located = [one for one in found.positions.locations if isinstance(one, Located)]
        if located:
            centroid = PointStamped(header=header, point=point(located[0].centroid_m))
            self._outbox.publish(self._centroid, centroid)
            self._outbox.publish(self._pose, pose_message(located[0], header))
            self._if_subscribed(self._points, lambda: cloud_message(located[0].points, header, self._organised()))
        grip = next((one for one in found.positions.grips if isinstance(one, Grip)), None)
        if grip is not None:
            self._outbox.publish(self._grip, PoseStamped(header=header, pose=grip_pose(grip)))
        if self._markers.get_subscription_count():
            up = IMAGE_UP if header.frame_id == camera_frame else FRAME_UP
            self._outbox.publish(self._markers, _markers(found, header, up))

    def _publish_frame(self, frame: CameraFrame) -> None:
        if frame.info is not None and self._frame_info.get_subscription_count():
            self._outbox.publish(self._frame_info, frame.info)
        for publisher, received in (
            (self._frame_image, frame.received),
            (self._frame_depth, frame.received_depth),
        ):
            if received is not None and publisher.get_subscription_count():
                self._outbox.post(publisher, functools.partial(message_of, received))

    def _if_subscribed(self, publisher: Any, make: Callable[[], Any]) -> None:
        if publisher.get_subscription_count():
            self._outbox.post(publisher, make)

    def _publisher(self, kind: Any, topic: str) -> Any:
        options = QoSOverridingOptions.with_default_policies()
        return self._node.create_publisher(kind, topic, _RELIABLE, qos_overriding_options=options)


def _markers(found: AnsweredObjects, header: Header, up: Vector) -> MarkerArray:
    named = [
        (p, label) for p, label in zip(found.positions.locations, found.labels, strict=True) if isinstance(p, Located)
    ]
    return marker_message([located for located, _ in named], header, [label for _, label in named], up)


def _confidence(probabilities: Sequence[Callable[[], NDArray[np.float32]]], union: Mask, header: Header) -> Image:
    """mono8 image: for each pixel, 255 x the highest probability of any object."""
    highest = np.zeros(union.shape, dtype=np.float32)
    for one in probabilities:
        np.maximum(highest, one(), out=highest)
    return to_image_message(np.rint(highest * 255).astype(np.uint8), "mono8", header)
