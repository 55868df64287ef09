# SPDX-License-Identifier: Apache-2.0
"""The topics for planners that an answer has: label images, detections, markers and the point to grip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lisa_ros.bags.answering import BagAnswer
from lisa_ros.bags.outputs.parts import image_message, point, quaternion, xyz
from lisa_ros.bags.types import constant, make
from lisa_ros.spatial.box import IMAGE_UP
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.markers import MarkerShape, markers_of

_MARKER = "visualization_msgs/msg/Marker"
_UNKNOWN_SCORE = 1.0


def planner_messages(answer: BagAnswer, message: Any) -> Iterator[tuple[str, Any]]:
    """The messages, with the names of their topics relative to the node.

    Args:
        answer: The answer; it has an image.
        message: The same as a Segmentation.
    """
    header = message.header
    yield "instances", _instances(answer, header)
    probabilities = [one.probability for one in answer.objects if one.probability is not None]
    if probabilities or not answer.objects:
        yield "confidence", _confidence(answer, header)
    numbered = [(f"{message.id}/{number}", one) for number, one in enumerate(message.objects, start=1)]
    flat = [_detection_2d(name, one, header) for name, one in numbered]
    solid = [_detection_3d(name, one, header) for name, one in numbered if one.located]
    yield "detections_2d", make("vision_msgs/msg/Detection2DArray", header=header, detections=flat)
    yield "detections", make("vision_msgs/msg/Detection3DArray", header=header, detections=solid)
    yield "markers", _markers(answer, header)
    grip = next((one for one in message.objects if one.grip.found), None)
    if grip is not None:
        yield "grip_point", make("geometry_msgs/msg/PoseStamped", header=header, pose=grip.grip.pose)


def grip_message(grip: Grip | NoGrip | None) -> Any:
    """A grip, or why there is none, as lisa_ros/Grip."""
    if grip is None:
        return make("lisa_ros/msg/Grip")
    if isinstance(grip, NoGrip):
        return make("lisa_ros/msg/Grip", strategy=grip.strategy, detail=grip.detail)
    placed = make("geometry_msgs/msg/Pose", position=point(grip.position_m), orientation=quaternion(grip.orientation))
    return make(
        "lisa_ros/msg/Grip",
        strategy=grip.strategy,
        found=True,
        pose=placed,
        opening=grip.opening_m,
        patch_length=grip.patch_size_m[0],
        patch_width=grip.patch_size_m[1],
        clear_diameter=grip.clear_diameter_m,
        flatness=grip.flatness_m,
    )


def _instances(answer: BagAnswer, header: Any) -> Any:
    assert answer.image is not None
    numbers = np.zeros(answer.image.shape[:2], dtype=np.uint16)
    masks = [one.mask for one in answer.objects]
    for index in sorted(range(len(masks)), key=lambda i: -int(np.count_nonzero(masks[i]))):
        numbers[masks[index]] = index + 1
    return image_message(numbers, "mono16", header)


def _confidence(answer: BagAnswer, header: Any) -> Any:
    assert answer.image is not None
    highest = np.zeros(answer.image.shape[:2], dtype=np.float32)
    for one in answer.objects:
        if one.probability is not None:
            np.maximum(highest, one.probability(), out=highest)
    return image_message(np.rint(highest * 255).astype(np.uint8), "mono8", header)


def _hypothesis(found: Any) -> Any:
    score = _UNKNOWN_SCORE if found.score < 0 else float(found.score)
    made = make("vision_msgs/msg/ObjectHypothesis", class_id=found.name, score=score)
    result = make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=made)
    if found.located:
        result.pose.pose = found.pose
    return result


def _detection_2d(name: str, found: Any, header: Any) -> Any:
    box = found.bbox
    x, y = box.x_offset + box.width / 2.0, box.y_offset + box.height / 2.0
    middle = make("vision_msgs/msg/Pose2D", position=make("vision_msgs/msg/Point2D", x=x, y=y))
    flat = make("vision_msgs/msg/BoundingBox2D", center=middle, size_x=float(box.width), size_y=float(box.height))
    return make("vision_msgs/msg/Detection2D", header=header, results=[_hypothesis(found)], bbox=flat, id=name)


def _detection_3d(name: str, found: Any, header: Any) -> Any:
    middle = make("geometry_msgs/msg/Pose", position=found.box_centre, orientation=found.pose.orientation)
    box = make("vision_msgs/msg/BoundingBox3D", center=middle, size=found.box_size)
    return make("vision_msgs/msg/Detection3D", header=header, results=[_hypothesis(found)], bbox=box, id=name)


def _markers(answer: BagAnswer, header: Any) -> Any:
    """A box, a sphere at the centroid and a label for each object; those of the answer before are deleted."""
    markers = [make(_MARKER, header=header, action=constant(_MARKER, "DELETEALL"))]
    labels = [one.phrase or answer.command.text for one in answer.objects]
    located = [(one, label) for one, label in zip(answer.locations, labels, strict=True) if isinstance(one, Located)]
    for number, (one, label) in enumerate(located):
        markers += [_marker(shape, header, number) for shape in markers_of(one, label, IMAGE_UP)]
    return make("visualization_msgs/msg/MarkerArray", markers=markers)


def _marker(shape: MarkerShape, header: Any, number: int) -> Any:
    placed = make("geometry_msgs/msg/Pose", position=point(shape.position_m), orientation=quaternion(shape.orientation))
    return make(
        _MARKER,
        header=header,
        ns=shape.namespace,
        id=number,
        type=constant(_MARKER, shape.kind),
        pose=placed,
        scale=make("geometry_msgs/msg/Vector3", **xyz(shape.scale_m)),
        color=make("std_msgs/msg/ColorRGBA", **dict(zip("rgba", shape.rgba, strict=True))),
        text=shape.text,
    )
