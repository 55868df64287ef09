# SPDX-License-Identifier: Apache-2.0
"""What LisaClient returns, and how it is made from the node's messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.msg import ObjectMask, Segmentation
from lisa_ros.nodes.common.masks import mask_of
from lisa_ros.spatial.rotation import Quaternion, Vector


class Status(enum.Enum):
    """The status of a command: those of Segmentation, and two of the client."""

    OK = Segmentation.OK
    NO_OBJECT = Segmentation.NO_OBJECT
    REJECTED = Segmentation.REJECTED
    NO_IMAGE = Segmentation.NO_IMAGE
    CANCELLED = Segmentation.CANCELLED
    FAILED = Segmentation.FAILED
    NO_NODE = 100
    """There is no node, or it did not accept the command in time."""
    UNFINISHED = 101
    """The command has no answer yet."""


@dataclass(frozen=True)
class ObjectPose:
    """The pose and the box of an object, in metres, in `Result.frame`.

    Attributes:
        point_m: The point of the object's surface at centroid_pixel.
        orientation: Quaternion x, y, z, w of the box's axes; z is the normal of the supporting surface, if found.
        box_centre_m: Centre of the box around the object.
        box_size_m: Size of the box along its axes.
    """

    point_m: Vector
    orientation: Quaternion
    box_centre_m: Vector
    box_size_m: Vector


@dataclass(frozen=True)
class ObjectGrip:
    """Where to grip an object, in metres, in `Result.frame`; see Grip.msg.

    Attributes:
        strategy: "centroid", "top_plane", "antipodal" or, where that does not fit across a hollow object, "rim".
        position_m: A point of the surface or, for antipodal and rim, the middle between the finger tips.
        orientation: Quaternion x, y, z, w; z is the approach direction; for antipodal and rim, the fingers close
            along y.
        opening_m: Of the gripper on the way down, for antipodal and rim; otherwise 0.
        clear_diameter_m: Of the largest circle around the point on the flat patch, for top_plane; otherwise 0.
    """

    strategy: str
    position_m: Vector
    orientation: Quaternion
    opening_m: float = 0.0
    clear_diameter_m: float = 0.0


@dataclass(frozen=True)
class FoundObject:
    """One object of an answer.

    Attributes:
        mask: (H, W), size of the image; None: the command asked for no masks.
        centroid_pixel: (u, v) on the object, in pixels; None for an empty mask.
        bbox: (x, y, width, height) in pixels.
        pose: In metres; None: not known.
        no_pose: Why the pose is not known, in one sentence.
        score: Confidence of the mask, 0 to 1; None: the model reports none.
        score_calibrated: Whether the score comes from a calibration. If not, it is no probability.
        phrase: The phrase of the answer that names the object; empty: the model reports none.
        name: Its phrase or, without one, the noun phrase of the command; never empty.
        grip: Where to grip it; None: not known.
        no_grip: Why not, in one sentence; empty: no grip was computed.
    """

    mask: NDArray[np.bool_] | None
    centroid_pixel: tuple[float, float] | None
    bbox: tuple[int, int, int, int]
    pose: ObjectPose | None = None
    no_pose: str = ""
    score: float | None = None
    phrase: str = ""
    name: str = ""
    grip: ObjectGrip | None = None
    no_grip: str = ""
    score_calibrated: bool = False


@dataclass(frozen=True)
class Feedback:
    """An answer so far.

    Attributes:
        answer: The raw answer so far, "[SEG]" in place of each object.
        objects: The objects found so far.
    """

    answer: str
    objects: tuple[FoundObject, ...]


@dataclass(frozen=True)
class Result:
    """The result of a command.

    Attributes:
        status: Its status.
        message: The reason in one sentence if the status is not OK.
        explanation: The answer for people, with the number of its object ("①") in place of each "[SEG]".
        objects: In the order of the answer.
        segmentation: The complete message, for its header and times; None: the node sent none.
        frame: Frame of poses, boxes and grips.
    """

    status: Status
    message: str = ""
    explanation: str = ""
    objects: tuple[FoundObject, ...] = ()
    segmentation: Segmentation | None = None
    frame: str = ""


def result_of(message: Segmentation) -> Result:
    """The result that an answer of the node is."""
    objects = tuple(found_object(found) for found in message.objects)
    status, frame = Status(message.status), message.position_frame
    return Result(status, message.detail, message.explanation, objects, message, frame)


def found_object(message: ObjectMask) -> FoundObject:
    """The object of a message."""
    box = message.bbox
    point = (message.centroid_pixel.x, message.centroid_pixel.y) if message.pixels else None
    bbox = (box.x_offset, box.y_offset, box.width, box.height)
    score = None if message.score < 0 else float(message.score)
    return FoundObject(
        mask_of(message),
        point,
        bbox,
        _pose(message),
        message.location_detail,
        score,
        message.phrase,
        message.name,
        _grip(message),
        "" if message.grip.found else message.grip.detail,
        bool(message.score_calibrated),
    )


def _grip(message: ObjectMask) -> ObjectGrip | None:
    grip = message.grip
    if not grip.found:
        return None
    place, axes = grip.pose.position, grip.pose.orientation
    return ObjectGrip(
        strategy=grip.strategy,
        position_m=(place.x, place.y, place.z),
        orientation=(axes.x, axes.y, axes.z, axes.w),
        opening_m=float(grip.opening),
        clear_diameter_m=float(grip.clear_diameter),
    )


def _pose(message: ObjectMask) -> ObjectPose | None:
    if not message.located:
        return None
    axes, point = message.pose.orientation, message.pose.position
    centre, size = message.box_centre, message.box_size
    return ObjectPose(
        point_m=(point.x, point.y, point.z),
        orientation=(axes.x, axes.y, axes.z, axes.w),
        box_centre_m=(centre.x, centre.y, centre.z),
        box_size_m=(size.x, size.y, size.z),
    )
