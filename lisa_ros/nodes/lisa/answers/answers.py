# SPDX-License-Identifier: Apache-2.0
"""Publishes the answer to each command, exactly one, and the topics that go with it."""

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.lisa.answers.answer_messages import (
    centroid_point,
    instances_message,
    segmentation_message,
)
from lisa_ros.nodes.lisa.answers.detections import DetectionTopics
from lisa_ros.nodes.lisa.answers.early_mask import AnswerMask, EarlyMask
from lisa_ros.nodes.lisa.answers.outbox import Outbox
from lisa_ros.nodes.lisa.answers.planner_topics import AnsweredObjects, PlannerTopics
from lisa_ros.nodes.lisa.answers.positions import Positioner, Positions
from lisa_ros.nodes.lisa.answers.transforms import Transforms
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Processed, Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.overlay import draw_overlay
from lisa_ros.spatial.parts import separate_objects

_RELIABLE = QoSProfile(depth=10)


class Answers:
    """Publishes exactly one Segmentation for each command, and the topics that go with it. Thread-safe."""

    def __init__(
        self, node: Node, parameters: LiveParameters, transforms: Transforms, operators: Sequence[str] = ()
    ) -> None:
        """Create the publishers on the node.

        Args:
            node: The node.
            parameters: Its parameters.
            transforms: Between the camera's frame and the planners'.
            operators: Each of them gets a topic of their own for their answers.
        """
        self._node = node
        self._unanswered: set[Request] = set()
        self._lock = threading.Lock()
        self.outbox = Outbox(lambda sentence: node.get_logger().error(sentence))
        self._parameters, self._positioner = parameters, Positioner(parameters, transforms)
        self._segmentation = node.create_publisher(Segmentation, "~/segmentation", LATCHED)
        self._own = {
            operator: node.create_publisher(Segmentation, f"~/operators/{operator}/answer", LATCHED)
            for operator in operators
        }
        self._mask = EarlyMask(node.create_publisher(Image, "~/mask", LATCHED), self.outbox)
        self._order = threading.Lock()
        """The newest answer and the newest mask belong together."""
        self._explanation = node.create_publisher(String, "~/explanation", _RELIABLE)
        self._centroid_pixel = node.create_publisher(PointStamped, "~/centroid_pixel", _RELIABLE)
        self._overlay = node.create_publisher(Image, "~/overlay", _RELIABLE)
        self._instances = node.create_publisher(Image, "~/instances", _RELIABLE)
        self._detections = DetectionTopics(
            lambda kind, topic: node.create_publisher(kind, topic, _RELIABLE), self.outbox.publish
        )
        compressed = (
            parameters.current.image_transport == "compressed",
            parameters.current.depth_transport == "compressedDepth",
        )
        self._planner = PlannerTopics(node, self.outbox, compressed, lambda: parameters.current.points_organised)

    def register(self, request: Request) -> None:
        """Register a command that needs an answer."""
        with self._lock:
            self._unanswered.add(request)

    @property
    def waited_for(self) -> bool:
        """Whether a command has no answer yet."""
        return bool(self._unanswered)

    def unanswered(self) -> list[Request]:
        """The commands without an answer."""
        with self._lock:
            return list(self._unanswered)

    def publish(
        self,
        request: Request,
        outcome: Outcome,
        processed: Processed | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> Segmentation | None:
        """Publish the answer to a command, unless it has been answered already.

        An answer is made and serialized before it becomes a turn of the dialogue, so that one that cannot be published
        leaves none.

        Args:
            request: The command.
            outcome: Its result.
            processed: The model's answer, if there is one.
            before: Called before the answer is published, if it is.

        Returns:
            The answer; None: the command was answered already.

        Raises:
            BaseException: The message could not be made; the command still needs an answer.
        """
        encoded = processed.encoded if processed is not None and outcome.answered else None
        header = outcome.header or Header(stamp=self._node.get_clock().now().to_msg())
        mask = self._show_mask(request, outcome, encoded, header) if encoded is not None else None
        try:
            positions = self._locate(request, outcome, encoded) if encoded is not None else None
            made = segmentation_message(request, outcome, header, positions)
            message = self._publish_answer(request, made, processed, mask, before)
        except BaseException:
            self._mask.withdraw(request)
            raise
        if message is not None and encoded is not None and positions is not None:
            try:
                self._publish_topics(request, outcome, encoded, message, positions)
            except Exception:  # the command has its answer already
                self._node.get_logger().error(f"Topics of an answer could not be published:\n{traceback.format_exc()}")
        return message

    def _publish_answer(
        self,
        request: Request,
        message: Segmentation,
        processed: Processed | None,
        mask: AnswerMask | None,
        before: Callable[[], None],
    ) -> Segmentation | None:
        """As `publish`, for a message with the turn that it is expected to become."""
        data, expected = serialize_message(message), message.turn
        if not self._claim(request):
            return None
        try:
            before()
            if mask is not None and processed is not None:
                message.turn = processed.remember()
                data = data if message.turn == expected else serialize_message(message)
            with self._order:
                self.outbox.post_answer(self._segmentation, data)
                if (own := self._own.get(request.operator_id)) is not None:
                    self.outbox.post_answer(own, data)
                if mask is not None:
                    self._mask.confirm(mask)
                else:  # it may have been shown before the command took too long or was cancelled
                    self._mask.withdraw(request)
        except BaseException:
            self.register(request)
            raise
        return message

    def close(self, timeout_s: float) -> None:
        """Wait until all answers are delivered."""
        self.outbox.close(timeout_s)

    def _claim(self, request: Request) -> bool:
        """Whether the command had no answer; it counts as answered from now on."""
        with self._lock:
            if request not in self._unanswered:
                return False
            self._unanswered.discard(request)
            return True

    def split(self, request: Request, outcome: Outcome, encoded: EncodedFrame) -> Outcome:
        """The outcome with one object for each separate one, if its only mask covers several (split_objects)."""
        wanted = request.options.split_objects or self._parameters.current.split_objects
        if wanted == "never" or len(outcome.objects) != 1:
            return outcome
        (found,) = outcome.objects
        parts = separate_objects(found.mask, self._positioner.locator.depth_m(encoded.source, found.mask))
        if len(parts) == 1:
            return outcome
        return replace(outcome, objects=tuple(replace(found, mask=part, box=None) for part in parts))

    def _show_mask(self, request: Request, outcome: Outcome, encoded: EncodedFrame, header: Header) -> AnswerMask:
        """Publish the union of the objects, unless the command was answered already.

        Planners that take the mask alone do not wait for positions and grips.
        """
        height, width = encoded.image.shape[:2]
        mask = AnswerMask(request, header, (height, width), [one.mask for one in outcome.objects])
        with self._lock:
            if request in self._unanswered:
                self._mask.show(mask)
        return mask

    def _locate(self, request: Request, outcome: Outcome, encoded: EncodedFrame) -> Positions:
        masks = [one.mask for one in outcome.objects]
        return self._positioner.positions(request.options, encoded.source, encoded.image, masks, encoded.header)

    def _publish_topics(
        self,
        request: Request,
        outcome: Outcome,
        encoded: EncodedFrame,
        message: Segmentation,
        positions: Positions,
    ) -> None:
        """Publish the topics that repeat parts of an answer."""
        height, width = encoded.image.shape[:2]
        union = geometry.union((one.mask for one in outcome.objects), (height, width))
        labels = [one.phrase or request.text for one in outcome.objects]
        masks = [one.mask for one in outcome.objects]
        post = self.outbox.post
        self.outbox.publish(self._explanation, String(data=message.explanation))
        if union.any():
            point = PointStamped(header=message.header, point=centroid_point(union))
            self.outbox.publish(self._centroid_pixel, point)
        if self._instances.get_subscription_count():
            post(self._instances, lambda: instances_message(masks, (height, width), message.header))
        self._detections.publish(message, positions.header)
        self._planner.publish(
            AnsweredObjects(outcome.objects, positions, union, labels, encoded.source), message.header
        )
        if self._overlay.get_subscription_count():
            post(self._overlay, lambda: _overlay_message(request, outcome, message, encoded))


def _overlay_message(request: Request, outcome: Outcome, message: Segmentation, encoded: EncodedFrame) -> Image:
    caption = f"{request.operator_id}: {request.text}\n{message.explanation}"
    masks, labels = [one.mask for one in outcome.objects], [one.phrase for one in outcome.objects]
    image = draw_overlay(encoded.image, masks, caption, labels)
    return to_image_message(image, "rgb8", message.header)
