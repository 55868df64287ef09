# SPDX-License-Identifier: Apache-2.0
"""An answer as Foxglove's own messages: drawings on the camera's image, and boxes, labels and grips in 3-D.

In a ROS 2 bag these are the types of the package foxglove_msgs. Their definitions are in the bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from lisa_ros.bags.answering import BagAnswer
from lisa_ros.bags.outputs.parts import point, quaternion, xyz
from lisa_ros.bags.types import constant, make
from lisa_ros.segmentation.answers import Mask
from lisa_ros.segmentation.lettering import colour_of
from lisa_ros.segmentation.text import number_symbol
from lisa_ros.spatial.box import IMAGE_UP
from lisa_ros.spatial.grips.grip import Grip
from lisa_ros.spatial.locating import Located
from lisa_ros.spatial.markers import MarkerShape, markers_of
from lisa_ros.spatial.rotation import quaternion as quaternion_of
from lisa_ros.spatial.rotation import rotation_of

_POINTS, _DELETION = "foxglove_msgs/msg/PointsAnnotation", "foxglove_msgs/msg/SceneEntityDeletion"
_LINE_PX, _DOT_PX, _TEXT_PX = 3.0, 9.0, 18.0
_ARROW_M = (0.06, 0.006, 0.02, 0.014)
"""Of a grip: length and diameter of its shaft and of its head."""
_SIMPLER_PX = 1.0
_X_TO_Z = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


def foxglove_messages(answer: BagAnswer, message: Any) -> Iterator[tuple[str, Any]]:
    """The messages, with the names of their topics relative to the node.

    Args:
        answer: The answer; it has an image.
        message: The same as a Segmentation.
    """
    yield "annotations", _annotations(answer, message)
    yield "scene", _scene(answer, message)


def _annotations(answer: BagAnswer, message: Any) -> Any:
    stamp = message.header.stamp
    outlines, centroids, names = [], [], []
    for number, (found, sent) in enumerate(zip(answer.objects, message.objects, strict=True), start=1):
        outlines += _outlines(found.mask, _colour(number), stamp)
        centroids.append(_centroid(sent, _colour(number), stamp))
        names.append(_name(sent, number, stamp))
    return make("foxglove_msgs/msg/ImageAnnotations", timestamp=stamp, circles=centroids, points=outlines, texts=names)


def _outlines(mask: Mask, colour: Any, stamp: Any) -> list[Any]:
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    simpler = [cv2.approxPolyDP(contour, _SIMPLER_PX, True).reshape(-1, 2) for contour in contours]
    return [
        make(
            _POINTS,
            timestamp=stamp,
            type=constant(_POINTS, "LINE_LOOP"),
            points=[_pixel(x, y) for x, y in outline],
            outline_color=colour,
            thickness=_LINE_PX,
        )
        for outline in simpler
    ]


def _centroid(sent: Any, colour: Any, stamp: Any) -> Any:
    return make(
        "foxglove_msgs/msg/CircleAnnotation",
        timestamp=stamp,
        position=_pixel(sent.centroid_pixel.x, sent.centroid_pixel.y),
        diameter=_DOT_PX,
        thickness=1.0,
        fill_color=colour,
        outline_color=colour,
    )


def _name(sent: Any, number: int, stamp: Any) -> Any:
    return make(
        "foxglove_msgs/msg/TextAnnotation",
        timestamp=stamp,
        position=_pixel(sent.bbox.x_offset, sent.bbox.y_offset),
        text=f"{number_symbol(number)} {sent.name}",
        font_size=_TEXT_PX,
        text_color=_rgba(1.0, 1.0, 1.0, 1.0),
        background_color=_rgba(0.1, 0.1, 0.1, 0.8),
    )


def _scene(answer: BagAnswer, message: Any) -> Any:
    """All objects that have a position; those of the answer before are deleted."""
    stamp = message.header.stamp
    deletion = make(_DELETION, timestamp=stamp, type=constant(_DELETION, "ALL"))
    grips = answer.grips or (None,) * len(answer.objects)
    entities = [
        _entity(number, located, grip, sent.name, message.header)
        for number, (located, grip, sent) in enumerate(zip(answer.locations, grips, message.objects, strict=True), 1)
        if isinstance(located, Located)
    ]
    return make("foxglove_msgs/msg/SceneUpdate", deletions=[deletion], entities=entities)


def _entity(number: int, located: Located, grip: Any, name: str, header: Any) -> Any:
    box, dot, label = markers_of(located, f"{number_symbol(number)} {name}", IMAGE_UP)
    colour = _colour(number)
    return make(
        "foxglove_msgs/msg/SceneEntity",
        timestamp=header.stamp,
        frame_id=header.frame_id,
        id=f"object {number}",
        cubes=[
            make(
                "foxglove_msgs/msg/CubePrimitive",
                pose=_placed(box.position_m, box.orientation),
                size=_size(box),
                color=_colour(number, 0.35),
            )
        ],
        spheres=[
            make(
                "foxglove_msgs/msg/SpherePrimitive",
                pose=_placed(dot.position_m, dot.orientation),
                size=_size(dot),
                color=colour,
            )
        ],
        texts=[
            make(
                "foxglove_msgs/msg/TextPrimitive",
                pose=_placed(label.position_m, label.orientation),
                billboard=True,
                font_size=label.scale_m[2],
                color=_rgba(*label.rgba),
                text=label.text,
            )
        ],
        arrows=[_arrow(grip, colour)] if isinstance(grip, Grip) else [],
    )


def _arrow(grip: Grip, colour: Any) -> Any:
    """An arrow along the approach direction that ends at the grip; Foxglove's arrows point along x."""
    axes = rotation_of(grip.orientation)
    begin = np.asarray(grip.position_m) - (_ARROW_M[0] + _ARROW_M[2]) * axes[:, 2]
    names = ("shaft_length", "shaft_diameter", "head_length", "head_diameter")
    sizes = dict(zip(names, _ARROW_M, strict=True))
    turned = quaternion_of(axes @ _X_TO_Z)
    return make("foxglove_msgs/msg/ArrowPrimitive", pose=_placed(begin, turned), color=colour, **sizes)


def _size(shape: MarkerShape) -> Any:
    return make("geometry_msgs/msg/Vector3", **xyz(shape.scale_m))


def _placed(position: Any, orientation: Any) -> Any:
    return make("geometry_msgs/msg/Pose", position=point(position), orientation=quaternion(orientation))


def _pixel(x: float, y: float) -> Any:
    return make("foxglove_msgs/msg/Point2", x=float(x), y=float(y))


def _colour(number: int, opacity: float = 1.0) -> Any:
    """The colour that the object has in overlays."""
    red, green, blue = (value / 255.0 for value in colour_of(number))
    return _rgba(red, green, blue, opacity)


def _rgba(r: float, g: float, b: float, a: float) -> Any:
    return make("foxglove_msgs/msg/Color", r=r, g=g, b=b, a=a)
