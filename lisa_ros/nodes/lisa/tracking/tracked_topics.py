# SPDX-License-Identifier: Apache-2.0
"""The object that is followed, as topics at camera rate."""

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

from lisa_ros.msg import TrackedObject
from lisa_ros.nodes.common.conversions import RgbImage
from lisa_ros.nodes.lisa.answers.answer_messages import object_message
from lisa_ros.nodes.lisa.answers.locating import Locator, Place
from lisa_ros.nodes.lisa.answers.outbox import LATCHED
from lisa_ros.nodes.lisa.answers.spatial_messages import cloud_message, point, pose_message
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation.answers import ObjectMask
from lisa_ros.spatial.locating import Located
from lisa_ros.tracking.interface import Tracked, TrackState

# Reliable, as nav2's FollowObject listens; a planner wants the newest, and not what it missed.
_NEWEST = QoSProfile(depth=1)


@dataclass(frozen=True)
class Sighting:
    """The followed object in one picture.

    Attributes:
        request: the command whose answer named it.
        frame: the messages of the picture.
        picture: RGB.
        tracked: where it is.
        found: stamp of the picture in which the model itself found it last.
    """

    request: Request
    frame: CameraFrame
    picture: RgbImage
    tracked: Tracked
    found: Time


class TrackedTopics:
    """The publishers."""

    def __init__(self, node: Node, locator: Locator, organised: Callable[[], bool]) -> None:
        """Creates them on the node; `organised` tells whether `~/tracked/points` has a point for every pixel."""
        self._node, self._locator, self._organised = node, locator, organised
        options = QoSOverridingOptions.with_default_policies()
        make = node.create_publisher
        self._object = make(TrackedObject, "~/tracked/object", LATCHED)
        self._mask = make(Image, "~/tracked/mask", _NEWEST, qos_overriding_options=options)
        self._pixel = make(PointStamped, "~/tracked/centroid_pixel", _NEWEST, qos_overriding_options=options)
        self._centroid = make(PointStamped, "~/tracked/centroid", _NEWEST, qos_overriding_options=options)
        self._pose = make(PoseStamped, "~/tracked/pose", _NEWEST, qos_overriding_options=options)
        self._points = make(PointCloud2, "~/tracked/points", _NEWEST, qos_overriding_options=options)

    def listened(self) -> bool:
        """Whether anybody listens to any of them."""
        return any(one.get_subscription_count() for one in (self._object, self._mask, self._pixel, *self._spatial()))

    def publish(self, encoded: Sighting) -> None:
        """Sends all of it about one picture. An object that is lost has an empty mask and no place."""
        header, there = encoded.frame.image.header, encoded.tracked.state is TrackState.TRACKED
        place = self._place(encoded) if there else None
        message = _object(encoded, header, place)
        self._mask.publish(message.object.mask)
        self._object.publish(message)
        if there:
            self._pixel.publish(PointStamped(header=header, point=message.object.centroid_pixel))
        if isinstance(place, Located):
            self._centroid.publish(PointStamped(header=header, point=point(place.centroid_m)))
            self._pose.publish(pose_message(place, header))
            if self._points.get_subscription_count():
                self._points.publish(cloud_message(place.points, header, self._organised()))

    def _spatial(self) -> tuple[Any, ...]:
        return self._centroid, self._pose, self._points

    def _place(self, encoded: Sighting) -> Place | None:
        if not any(one.get_subscription_count() for one in (self._object, *self._spatial())):
            return None
        return self._locator.place(encoded.frame, encoded.picture, encoded.tracked.mask)


def _object(encoded: Sighting, header: Header, place: Place | None) -> TrackedObject:
    tracked = encoded.tracked
    return TrackedObject(
        header=header,
        id=encoded.request.id,
        operator_id=encoded.request.operator_id,
        text=encoded.request.text,
        state=TrackedObject.TRACKED if tracked.state is TrackState.TRACKED else TrackedObject.LOST,
        confidence=tracked.confidence,
        detail=f"The object is lost: {tracked.reason.value}." if tracked.reason else "",
        found=encoded.found,
        object=object_message(ObjectMask(tracked.mask, (0, 0)), header, place),
    )
