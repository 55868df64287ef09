# SPDX-License-Identifier: Apache-2.0
"""The topics of the tracked object, published at camera rate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PointStamped, PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.msg import TrackedObject
from lisa_ros.nodes.common.conversions import RgbImage
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.lisa.answers.answer_messages import object_message
from lisa_ros.nodes.lisa.answers.locating import Location, Locator
from lisa_ros.nodes.lisa.answers.outbox import Outbox
from lisa_ros.nodes.lisa.answers.spatial_messages import cloud_message, point, pose_message
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation.answers import ObjectMask
from lisa_ros.spatial.locating import Located
from lisa_ros.tracking.interface import Tracked, TrackState

# Reliable because nav2's FollowObject subscribes so; depth 1 because a planner needs only the newest message.
_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True)
class TrackedFrame:
    """The tracked object in one frame.

    Attributes:
        request: The command whose answer named the object.
        frame: The camera's messages.
        image: RGB (H, W, 3).
        tracked: The tracker's result.
        found: Stamp of the frame in which the model itself last found the object.
    """

    request: Request
    frame: CameraFrame
    image: RgbImage
    tracked: Tracked
    found: Time


class TrackedTopics:
    """The publishers."""

    def __init__(self, node: Node, outbox: Outbox, locator: Locator, organised: Callable[[], bool]) -> None:
        """Create the publishers on the node.

        Args:
            node: The node.
            outbox: Publishes the messages.
            locator: Locates the object.
            organised: Returns whether `~/tracked/points` has one point per pixel.
        """
        self._outbox, self._locator, self._organised = outbox, locator, organised
        options = QoSOverridingOptions.with_default_policies()
        make = node.create_publisher
        self._object = make(TrackedObject, "~/tracked/object", LATCHED)
        self._mask = make(Image, "~/tracked/mask", _NEWEST, qos_overriding_options=options)
        self._pixel = make(PointStamped, "~/tracked/centroid_pixel", _NEWEST, qos_overriding_options=options)
        self._centroid = make(PointStamped, "~/tracked/centroid", _NEWEST, qos_overriding_options=options)
        self._pose = make(PoseStamped, "~/tracked/pose", _NEWEST, qos_overriding_options=options)
        self._points = make(PointCloud2, "~/tracked/points", _NEWEST, qos_overriding_options=options)

    def has_subscribers(self) -> bool:
        """Whether any of the topics has a subscriber."""
        return any(one.get_subscription_count() for one in (self._object, self._mask, self._pixel, *self._spatial()))

    def publish(self, tracked_frame: TrackedFrame) -> None:
        """Publish one frame. A lost object has an empty mask and no position."""
        header, is_tracked = tracked_frame.frame.header, tracked_frame.tracked.state is TrackState.TRACKED
        location = self._locate(tracked_frame) if is_tracked else None
        message = _object(tracked_frame, header, location)
        post, publish = self._outbox.post, self._outbox.publish
        post(self._mask, lambda: message.object.mask)
        post(self._object, lambda: message)
        if is_tracked:
            publish(self._pixel, PointStamped(header=header, point=message.object.centroid_pixel))
        if isinstance(location, Located):
            publish(self._centroid, PointStamped(header=header, point=point(location.centroid_m)))
            publish(self._pose, pose_message(location, header))
            if self._points.get_subscription_count():
                post(self._points, lambda: cloud_message(location.points, header, self._organised()))

    def _spatial(self) -> tuple[Any, ...]:
        return self._centroid, self._pose, self._points

    def _locate(self, tracked_frame: TrackedFrame) -> Location | None:
        if not any(one.get_subscription_count() for one in (self._object, *self._spatial())):
            return None
        return self._locator.locate(tracked_frame.frame, tracked_frame.image, tracked_frame.tracked.mask)


def _object(tracked_frame: TrackedFrame, header: Header, location: Location | None) -> TrackedObject:
    tracked, name = tracked_frame.tracked, object_name("", tracked_frame.request.text)
    return TrackedObject(
        header=header,
        id=tracked_frame.request.id,
        operator_id=tracked_frame.request.operator_id,
        text=tracked_frame.request.text,
        state=TrackedObject.TRACKED if tracked.state is TrackState.TRACKED else TrackedObject.LOST,
        confidence=tracked.confidence,
        detail=f"The object is lost: {tracked.reason.value}." if tracked.reason else "",
        found=tracked_frame.found,
        object=object_message(ObjectMask(tracked.mask, (0, 0)), header, location, name=name),
    )
