# SPDX-License-Identifier: Apache-2.0
"""Publishes the answer to each command, exactly one, and the topics that go with it."""

import threading

from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.answers.answer_messages import centroid_point, mask_message, segmentation_message
from lisa_ros.nodes.lisa.answers.locating import Location, Locator
from lisa_ros.nodes.lisa.answers.outbox import LATCHED, Outbox
from lisa_ros.nodes.lisa.answers.planner_topics import AnsweredObjects, PlannerTopics
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask
from lisa_ros.segmentation.overlay import draw_overlay

_RELIABLE = QoSProfile(depth=10)


class Answers:
    """Publishes exactly one Segmentation for each command, and the topics that go with it. Thread-safe."""

    def __init__(self, node: Node, parameters: LiveParameters) -> None:
        """Create the publishers on the node."""
        self._node = node
        self._unanswered: set[Request] = set()
        self._lock = threading.Lock()
        self._outbox = Outbox(lambda sentence: node.get_logger().error(sentence))
        self._locator = Locator(lambda: parameters.current.image_rectified)
        self._segmentation = node.create_publisher(Segmentation, "~/segmentation", LATCHED)
        self._mask = node.create_publisher(Image, "~/mask", LATCHED)
        self._explanation = node.create_publisher(String, "~/explanation", _RELIABLE)
        self._centroid_pixel = node.create_publisher(PointStamped, "~/centroid_pixel", _RELIABLE)
        self._overlay = node.create_publisher(Image, "~/overlay", _RELIABLE)
        compressed = parameters.current.image_transport == "compressed"
        self._planner = PlannerTopics(node, self._outbox, compressed, lambda: parameters.current.points_organised)

    def register(self, request: Request) -> None:
        """Register a command that needs an answer."""
        with self._lock:
            self._unanswered.add(request)

    def unanswered(self) -> list[Request]:
        """The commands without an answer."""
        with self._lock:
            return list(self._unanswered)

    def publish(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None = None) -> Segmentation | None:
        """Publish the answer to a command, unless it has been answered already.

        Args:
            request: The command.
            outcome: Its result.
            encoded: The frame used for the answer, if the model answered.

        Returns:
            The answer; None: the command was answered already.

        Raises:
            Exception: The message could not be made; the command still needs an answer.
        """
        with self._lock:
            if request not in self._unanswered:
                return None
            self._unanswered.discard(request)
        try:
            return self._publish_all(request, outcome, encoded)
        except BaseException:
            self.register(request)
            raise

    def close(self, timeout_s: float) -> None:
        """Wait until all answers are delivered."""
        self._outbox.close(timeout_s)

    def _publish_all(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None) -> Segmentation:
        header = outcome.header or Header(stamp=self._node.get_clock().now().to_msg())
        if encoded is None or not outcome.answered:
            message = segmentation_message(request, outcome, header)
            self._outbox.post_latched(self._segmentation, message)
            return message
        height, width = encoded.image.shape[:2]
        union = geometry.union((one.mask for one in outcome.objects), (height, width))
        # A planner that needs only the mask does not wait for the rest.
        self._outbox.post_latched(self._mask, mask_message(union, header))
        locations = tuple(self._locator.locate(encoded.source, encoded.image, one.mask) for one in outcome.objects)
        message = segmentation_message(request, outcome, header, locations)
        self._post_text_and_pixel(message, union)
        self._outbox.post_latched(self._segmentation, message)
        self._post_other_topics(request, outcome, encoded, message, locations, union)
        return message

    def _post_text_and_pixel(self, message: Segmentation, union: Mask) -> None:
        self._outbox.post(self._explanation, String(data=message.explanation))
        if union.any():
            point = centroid_point(union)
            self._outbox.post(self._centroid_pixel, PointStamped(header=message.header, point=point))

    def _post_other_topics(
        self,
        request: Request,
        outcome: Outcome,
        encoded: EncodedFrame,
        message: Segmentation,
        locations: tuple[Location, ...],
        union: Mask,
    ) -> None:
        labels = [one.phrase or request.text for one in outcome.objects]
        self._planner.publish(
            AnsweredObjects(outcome.objects, locations, union, labels, encoded.source), message.header
        )
        if self._overlay.get_subscription_count():
            self._outbox.post(self._overlay, _overlay_message(request, outcome, message, encoded))


def _overlay_message(request: Request, outcome: Outcome, message: Segmentation, encoded: EncodedFrame) -> Image:
    caption = f"{request.operator_id}: {request.text}\n{message.explanation}"
    masks, labels = [one.mask for one in outcome.objects], [one.phrase for one in outcome.objects]
    image = draw_overlay(encoded.image, masks, caption, labels)
    return to_image_message(image, "rgb8", message.header)
