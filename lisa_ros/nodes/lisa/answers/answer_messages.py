# SPDX-License-Identifier: Apache-2.0
"""Answers and the objects in them as messages."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.msg import Command, Segmentation
from lisa_ros.msg import ObjectMask as ObjectMaskMessage
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.common.masks import run_length_message
from lisa_ros.nodes.lisa.answers.locating import Location
from lisa_ros.nodes.lisa.answers.positions import Positions
from lisa_ros.nodes.lisa.answers.spatial_messages import grip_message, point, pose_of
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask, ObjectMask
from lisa_ros.segmentation.text import detail_of, explanation_of, without_surrogates
from lisa_ros.spatial.grips.grip import Grip, NoGrip
from lisa_ros.spatial.locating import Located


def segmentation_message(
    request: Request, outcome: Outcome, header: Header, positions: Positions | None = None
) -> Segmentation:
    """The answer to a command as a message.

    Args:
        request: The command.
        outcome: Its result.
        header: Of the image used for the answer.
        positions: Of the objects; None: they were not computed.
    """
    answer = without_surrogates(outcome.answer)
    unknown = [None] * len(outcome.objects)
    locations: Sequence[Location | None] = positions.locations if positions is not None else unknown
    grips: Sequence[Grip | NoGrip | None] = positions.grips if positions is not None else unknown
    outputs = request.options.outputs
    return Segmentation(
        header=header,
        id=request.id,
        operator_id=request.operator_id,
        text=request.text,
        status=outcome.status,
        detail=detail_of(outcome.detail),
        answer=answer,
        explanation=explanation_of(answer, [one.span for one in outcome.objects]),
        objects=[
            object_message(one, header, where, grip, name=object_name(one.phrase, request.text), outputs=outputs)
            for one, where, grip in zip(outcome.objects, locations, grips, strict=True)
        ],
        model=outcome.model,
        turn=outcome.turn,
        references=outcome.references,
        frame_known=outcome.frame_known,
        first_mask_ms=outcome.first_mask_ms,
        total_ms=outcome.total_ms,
        queued_ms=outcome.queued_ms,
        position_frame=positions.header.frame_id if positions is not None else header.frame_id,
    )


def object_message(
    found: ObjectMask,
    header: Header,
    location: Location | None = None,
    grip: Grip | NoGrip | None = None,
    *,
    name: str = "",
    outputs: int = 0,
) -> ObjectMaskMessage:
    """An object as a message.

    Args:
        found: The object; its mask may be empty.
        header: Of its image.
        location: Its 3-D position, or why there is none; None: it was not computed.
        grip: Where to grip it, or why that is not possible; None: it was not computed.
        name: Its name; empty: its phrase, otherwise "object".
        outputs: The sum of Command.OUTPUT_* constants.
    """
    x, y, width, height = geometry.bounding_box(found.mask)
    begin, end = found.span
    message = ObjectMaskMessage(
        bbox=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        centroid_pixel=centroid_point(found.mask) if width else Point(),
        pixels=int(np.count_nonzero(found.mask)),
        span_begin=begin,
        span_end=end,
        score=-1.0 if found.score is None else found.score,
        score_calibrated=found.score is not None and found.score_calibrated,
        phrase=without_surrogates(found.phrase),
        name=name or without_surrogates(found.phrase) or "object",
        grip=grip_message(grip),
    )
    if outputs & Command.OUTPUT_NO_MASKS == 0:
        if outputs & Command.OUTPUT_RUN_LENGTH_MASKS:
            message.run_length_mask = run_length_message(found.mask)
        else:
            message.mask = mask_message(found.mask, header)
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


def instances_message(masks: Sequence[Mask], size: tuple[int, int], header: Header) -> Image:
    """A mono16 image: at each pixel the number of its object, counted from 1; 0: none; of several, the smallest's.

    Args:
        masks: Of the objects, (H, W).
        size: (H, W).
        header: Of the image.
    """
    numbers = np.zeros(size, dtype=np.uint16)
    for index in sorted(range(len(masks)), key=lambda i: -int(np.count_nonzero(masks[i]))):
        numbers[masks[index]] = index + 1
    return to_image_message(numbers, "mono16", header)


def centroid_point(mask: Mask) -> Point:
    """A pixel on the object, see `segmentation.masks.centroid_pixel`; the mask must not be empty."""
    u, v = geometry.centroid_pixel(mask)
    return Point(x=u, y=v, z=0.0)
