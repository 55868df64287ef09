# SPDX-License-Identifier: Apache-2.0
"""Answers and the objects in them as messages."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from lisa_ros.msg import ObjectMask as ObjectMaskMessage
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.answers.locating import Location
from lisa_ros.nodes.lisa.answers.spatial_messages import point, pose_of
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask, ObjectMask
from lisa_ros.segmentation.text import detail_of, explanation_of
from lisa_ros.spatial.locating import Located


def segmentation_message(
    request: Request, outcome: Outcome, header: Header, locations: Sequence[Location] = ()
) -> Segmentation:
    """The answer to a command as a message.

    Args:
        request: The command.
        outcome: Its result.
        header: Of the image used for the answer.
        locations: One for each object; empty: they were not computed.
    """
    answer = sendable(outcome.answer)
    known: Sequence[Location | None] = locations or [None] * len(outcome.objects)
    return Segmentation(
        header=header,
        id=request.id,
        operator_id=request.operator_id,
        text=request.text,
        status=outcome.status,
        detail=detail_of(outcome.detail),
        answer=answer,
        explanation=explanation_of(answer, [one.span for one in outcome.objects]),
        objects=[object_message(one, header, where) for one, where in zip(outcome.objects, known, strict=True)],
        model=outcome.model,
        turn=outcome.turn,
        references=outcome.references,
        frame_known=outcome.frame_known,
        first_mask_ms=outcome.first_mask_ms,
        total_ms=outcome.total_ms,
        queued_ms=outcome.queued_ms,
    )


def sendable(text: str) -> str:
    """Replace each lone surrogate by "?": a message cannot hold it. All positions in the text stay the same."""
    return text.encode(errors="replace").decode()


def object_message(found: ObjectMask, header: Header, location: Location | None = None) -> ObjectMaskMessage:
    """An object as a message.

    Args:
        found: The object; its mask may be empty.
        header: Of its image.
        location: Its 3-D position, or why there is none; None: it was not computed.
    """
    x, y, width, height = geometry.bounding_box(found.mask)
    begin, end = found.span
    message = ObjectMaskMessage(
        mask=mask_message(found.mask, header),
        bbox=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        centroid_pixel=centroid_point(found.mask) if width else Point(),
        pixels=int(np.count_nonzero(found.mask)),
        span_begin=begin,
        span_end=end,
        score=-1.0 if found.score is None else found.score,
        phrase=sendable(found.phrase),
    )
    if isinstance(location, Located):
        message.located = True
        message.pose = pose_of(location)
        message.box_centre = point(location.box.centre_m)
        message.box_size = Vector3(**dict(zip("xyz", map(float, location.box.size_m), strict=True)))
        message.depth_measured = location.measured
    elif location is not None:
        message.location_detail = location.detail
    return message


def mask_message(mask: Mask, header: Header) -> Image:
    """A mask as a mono8 image of 0 and 255."""
    return to_image_message(mask.view(np.uint8) * np.uint8(255), "mono8", header)


def centroid_point(mask: Mask) -> Point:
    """A pixel on the object, see `segmentation.masks.centroid_pixel`; the mask must not be empty."""
    u, v = geometry.centroid_pixel(mask)
    return Point(x=u, y=v, z=0.0)
