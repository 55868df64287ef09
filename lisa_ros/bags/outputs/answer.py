# SPDX-License-Identifier: Apache-2.0
"""An answer as the messages that the node publishes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.bags.answering import BagAnswer
from lisa_ros.bags.outputs.foxglove import foxglove_messages
from lisa_ros.bags.outputs.parts import image_message, point, pose, xyz
from lisa_ros.bags.outputs.planners import grip_message, planner_messages
from lisa_ros.bags.types import constant, deserialize, make, time_message
from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask, ObjectMask
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.segmentation.text import detail_of, explanation_of, without_surrogates
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.locating import Located, NotLocated
from lisa_ros.spatial.points import ObjectPoints

SEGMENTATION = "lisa_ros/msg/Segmentation"
_FLOAT32 = 7


def explanation(answer: BagAnswer) -> str:
    """The answer for people."""
    return explanation_of(answer.turn.answer, [one.span for one in answer.objects]) if answer.turn else ""


def overlay(answer: BagAnswer) -> NDArray[np.uint8] | None:
    """The image for people, RGB; None: the answer is about no image."""
    if answer.image is None:
        return None
    said = explanation(answer) or answer.detail
    caption = f"{answer.command.operator}: {answer.command.text}\n{said}"
    return draw_overlay(answer.image, [one.mask for one in answer.objects], caption, [o.phrase for o in answer.objects])


def messages_of(
    answer: BagAnswer, identity: str, image_type: str, *, foxglove: bool = False
) -> Iterator[tuple[str, Any]]:
    """The messages of an answer, with the names of their topics relative to the node.

    Args:
        answer: The answer.
        identity: The id of the command.
        image_type: Type of the camera's images in the bag.
        foxglove: Also Foxglove's own messages.
    """
    header = _header(answer, image_type)
    message = _segmentation(answer, header, identity)
    yield "segmentation", message
    if answer.turn is None or answer.image is None:
        return
    height, width = answer.image.shape[:2]
    union = geometry.union((one.mask for one in answer.objects), (height, width))
    yield "mask", _mask(union, header)
    yield "labels", image_message(union.astype(np.uint8), "mono8", header)
    yield "explanation", make("std_msgs/msg/String", data=explanation(answer))
    if union.any():
        yield "centroid_pixel", make("geometry_msgs/msg/PointStamped", header=header, point=_centroid(union))
    drawn = overlay(answer)
    if drawn is not None:
        yield "overlay", image_message(drawn, "rgb8", header)
    located = next((one for one in answer.locations if isinstance(one, Located)), None)
    if located is not None:
        centroid = point(located.centroid_m)
        yield "centroid", make("geometry_msgs/msg/PointStamped", header=header, point=centroid)
        yield "pose", make("geometry_msgs/msg/PoseStamped", header=header, pose=pose(located))
        yield "points", _cloud(located.points, header)
    yield from planner_messages(answer, message)
    if foxglove:
        yield from foxglove_messages(answer, message)


def _header(answer: BagAnswer, image_type: str) -> Any:
    """That of the image, as every message of an answer has it."""
    if answer.frame is None:
        return make("std_msgs/msg/Header", stamp=time_message(answer.time_ns))
    return deserialize(answer.frame.image.data, image_type).header


def _segmentation(answer: BagAnswer, header: Any, identity: str) -> Any:
    turn = answer.turn
    unknown = (None,) * len(answer.objects)
    return make(
        SEGMENTATION,
        header=header,
        id=identity,
        operator_id=answer.command.operator,
        text=answer.command.text,
        status=constant(SEGMENTATION, answer.status),
        detail=detail_of(answer.detail),
        answer=without_surrogates(turn.answer) if turn else "",
        explanation=explanation(answer),
        objects=[
            _object(one, header, where, grip, answer.command.text)
            for one, where, grip in zip(
                answer.objects, answer.locations or unknown, answer.grips or unknown, strict=True
            )
        ],
        model=answer.model,
        turn=turn.number if turn else 0,
        references=np.array(turn.references if turn else (), dtype=np.uint32),
        frame_known=answer.frame_known,
        first_mask_ms=answer.first_mask_ms,
        total_ms=answer.total_ms,
        position_frame=header.frame_id,
    )


def _object(
    found: ObjectMask, header: Any, location: Located | NotLocated | None, grip: Grip | NoGrip | None, text: str
) -> Any:
    x, y, width, height = geometry.bounding_box(found.mask)
    begin, end = found.span
    fields = {
        "mask": _mask(found.mask, header),
        "bbox": make("sensor_msgs/msg/RegionOfInterest", x_offset=x, y_offset=y, width=width, height=height),
        "centroid_pixel": _centroid(found.mask),
        "pixels": int(np.count_nonzero(found.mask)),
        "span_begin": begin,
        "span_end": end,
        "score": -1.0 if found.score is None else found.score,
        "score_calibrated": found.score is not None and found.score_calibrated,
        "phrase": without_surrogates(found.phrase),
        "grip": grip_message(grip),
        "name": object_name(found.phrase, text),
    }
    return make("lisa_ros/msg/ObjectMask", **fields, **_location(location))


def _location(location: Located | NotLocated | None) -> dict[str, Any]:
    if isinstance(location, Located):
        return {
            "located": True,
            "pose": pose(location),
            "box_centre": point(location.box.centre_m),
            "box_size": make("geometry_msgs/msg/Vector3", **xyz(location.box.size_m)),
            "depth_measured": location.measured,
        }
    return {} if location is None else {"location_detail": location.detail}


def _mask(mask: Mask, header: Any) -> Any:
    return image_message(mask.view(np.uint8) * np.uint8(255), "mono8", header)


def _centroid(mask: Mask) -> Any:
    u, v = geometry.centroid_pixel(mask)
    return make("geometry_msgs/msg/Point", x=float(u), y=float(v))


def _cloud(points: ObjectPoints, header: Any) -> Any:
    packed = points.packed()
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=_FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    ]
    height, width = packed.shape
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=header,
        height=height,
        width=width,
        fields=fields,
        point_step=packed.itemsize,
        row_step=packed.itemsize * width,
        data=np.frombuffer(packed.tobytes(), np.uint8),
        is_dense=True,
    )
