# SPDX-License-Identifier: Apache-2.0
"""Answers as messages, and the topics they go out on."""

import threading

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header, String

from lisa_ros import geometry
from lisa_ros.msg import ObjectMask as ObjectMaskMessage
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.camera import Seen
from lisa_ros.nodes.conversions import to_image_message
from lisa_ros.nodes.outbox import LATCHED, Outbox
from lisa_ros.nodes.request import Outcome, Request
from lisa_ros.overlay import draw_overlay
from lisa_ros.segmenter import Mask, ObjectMask, explanation_of

_RELIABLE = QoSProfile(depth=10)


class Answers:
    """Sees to it that every command gets exactly one Segmentation, and publishes what goes with it."""

    def __init__(self, node: Node) -> None:
        """Create the publishers on the node."""
        self._node = node
        self._open: set[Request] = set()
        self._lock = threading.Lock()
        self._outbox = Outbox(lambda sentence: node.get_logger().error(sentence))
        self._segmentation = node.create_publisher(Segmentation, "~/segmentation", LATCHED)
        self._mask = node.create_publisher(Image, "~/mask", LATCHED)
        self._explanation = node.create_publisher(String, "~/explanation", _RELIABLE)
        self._centroid_pixel = node.create_publisher(PointStamped, "~/centroid_pixel", _RELIABLE)
        self._overlay = node.create_publisher(Image, "~/overlay", _RELIABLE)

    def open(self, request: Request) -> None:
        """A command came in; it waits for its answer from now on."""
        with self._lock:
            self._open.add(request)

    def waiting(self) -> list[Request]:
        """The commands that are still without an answer."""
        with self._lock:
            return list(self._open)

    def settle(self, request: Request, outcome: Outcome, seen: Seen | None = None) -> Segmentation | None:
        """Answer a command; does nothing when it has its answer already.

        Args:
            request: the command.
            outcome: what became of it.
            seen: the picture it is about, where the model answered.

        Returns:
            The answer; None where it had one already.
        """
        header = outcome.header or Header(stamp=self._node.get_clock().now().to_msg())
        message = segmentation_message(request, outcome, header)
        together = None
        if outcome.answered and seen is not None:
            height, width = seen.picture.shape[:2]
            together = geometry.union((found.mask for found in outcome.objects), (height, width))
        with self._lock:
            if request not in self._open:
                return None
            self._open.discard(request)
            if together is not None:
                self._post_parts(message, together)
            self._outbox.post_latched(self._segmentation, message)
        if together is not None and seen is not None and self._overlay.get_subscription_count():
            self._outbox.post(self._overlay, _overlay_message(request, outcome, message, seen))
        return message

    def close(self, patience_s: float) -> None:
        """Wait until what was settled has gone out."""
        self._outbox.close(patience_s)

    def _post_parts(self, message: Segmentation, together: Mask) -> None:
        self._outbox.post_latched(self._mask, _mask_message(together, message.header))
        self._outbox.post(self._explanation, String(data=message.explanation))
        if together.any():
            point = _centroid(together)
            self._outbox.post(self._centroid_pixel, PointStamped(header=message.header, point=point))


def segmentation_message(request: Request, outcome: Outcome, header: Header) -> Segmentation:
    """The whole answer to one command as a message."""
    answer = sendable(outcome.answer)
    return Segmentation(
        header=header,
        id=request.id,
        operator_id=request.operator_id,
        text=request.text,
        status=outcome.status,
        detail=sendable(outcome.detail),
        answer=answer,
        explanation=explanation_of(answer),
        objects=[object_message(found, header) for found in outcome.objects],
        turn=outcome.turn,
        first_mask_ms=outcome.first_mask_ms,
        total_ms=outcome.total_ms,
        queued_ms=outcome.queued_ms,
    )


def sendable(text: str) -> str:
    """The text with "?" for each lone surrogate, which no message can hold; the spans of the rest stay true."""
    return text.encode(errors="replace").decode()


def object_message(found: ObjectMask, header: Header) -> ObjectMaskMessage:
    """One object as a message; its mask may be empty."""
    x, y, width, height = geometry.bounding_box(found.mask)
    begin, end = found.span
    return ObjectMaskMessage(
        mask=_mask_message(found.mask, header),
        bbox=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        centroid_pixel=_centroid(found.mask) if found.mask.any() else Point(),
        pixels=int(np.count_nonzero(found.mask)),
        span_begin=begin,
        span_end=end,
    )


def _mask_message(mask: Mask, header: Header) -> Image:
    return to_image_message(mask.astype(np.uint8) * np.uint8(255), "mono8", header)


def _centroid(mask: Mask) -> Point:
    u, v = geometry.centroid_pixel(mask)
    return Point(x=u, y=v, z=0.0)


def _overlay_message(request: Request, outcome: Outcome, message: Segmentation, seen: Seen) -> Image:
    caption = f"{request.operator_id}: {request.text}\n{message.explanation}"
    picture = draw_overlay(seen.picture, [found.mask for found in outcome.objects], caption)
    return to_image_message(picture, "rgb8", message.header)
