# SPDX-License-Identifier: Apache-2.0
"""The objects of an answer as vision_msgs/Detection2DArray and Detection3DArray, where vision_msgs is installed."""

import importlib
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Point, Pose
from std_msgs.msg import Header

from lisa_ros.msg import ObjectMask, Segmentation

NOT_INSTALLED = "vision_msgs is not installed: ~/detections_2d, ~/detections and ~/label_info are not published"
UNKNOWN_SCORE = 1.0
"""The score of a detection whose model reports none: it has answered that the object is there."""


def vision_messages() -> Any | None:
    """The module vision_msgs.msg; None: this optional ROS 2 package is not installed."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None


class DetectionTopics:
    """The topics `~/detections_2d` and `~/detections`. Without vision_msgs they do not exist."""

    def __init__(self, make_publisher: Callable[[Any, str], Any], publish: Callable[[Any, Any], None]) -> None:
        """Create the publishers.

        Args:
            make_publisher: Creates a publisher of a message type on a topic.
            publish: Publishes a message with a publisher.
        """
        self._messages: Any = vision_messages()
        self._publish = publish
        if self._messages is not None:
            self._flat = make_publisher(self._messages.Detection2DArray, "~/detections_2d")
            self._solid = make_publisher(self._messages.Detection3DArray, "~/detections")

    def publish(self, answer: Segmentation, position_header: Header) -> None:
        """Publish the objects of an answer; without objects, empty arrays.

        Args:
            answer: The answer.
            position_header: Stamp of the image, and the frame of the objects' poses.
        """
        if self._messages is None:
            return
        numbered = [(f"{answer.id}/{number}", one) for number, one in enumerate(answer.objects, start=1)]
        flat = [self._detection_2d(name, one, answer.header) for name, one in numbered]
        solid = [self._detection_3d(name, one, position_header) for name, one in numbered if one.located]
        self._publish(self._flat, self._messages.Detection2DArray(header=answer.header, detections=flat))
        self._publish(self._solid, self._messages.Detection3DArray(header=position_header, detections=solid))

    def _detection_2d(self, name: str, found: ObjectMask, header: Header) -> Any:
        messages, box = self._messages, found.bbox
        flat = messages.BoundingBox2D(size_x=float(box.width), size_y=float(box.height))
        flat.center.position.x = box.x_offset + box.width / 2.0
        flat.center.position.y = box.y_offset + box.height / 2.0
        return messages.Detection2D(header=header, results=[self._hypothesis(found)], bbox=flat, id=name)

    def _detection_3d(self, name: str, found: ObjectMask, header: Header) -> Any:
        messages, centre = self._messages, found.box_centre
        middle = Pose(position=Point(x=centre.x, y=centre.y, z=centre.z), orientation=found.pose.orientation)
        box = messages.BoundingBox3D(center=middle, size=found.box_size)
        return messages.Detection3D(header=header, results=[self._hypothesis(found)], bbox=box, id=name)

    def _hypothesis(self, found: ObjectMask) -> Any:
        made = self._messages.ObjectHypothesisWithPose()
        made.hypothesis.class_id = found.name
        made.hypothesis.score = UNKNOWN_SCORE if found.score < 0 else float(found.score)
        if found.located:
            made.pose.pose = found.pose
        return made
