# SPDX-License-Identifier: Apache-2.0
"""Every command's one answer, and the topics it goes out on."""

import threading

from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.answers.answer_messages import centroid_point, mask_message, segmentation_message
from lisa_ros.nodes.lisa.answers.locating import Locator, Place
from lisa_ros.nodes.lisa.answers.outbox import LATCHED, Outbox
from lisa_ros.nodes.lisa.answers.planner_topics import Found, PlannerTopics
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask
from lisa_ros.segmentation.overlay import draw_overlay

_RELIABLE = QoSProfile(depth=10)


class Answers:
    """Sees to it that every command gets exactly one Segmentation, and publishes what goes with it."""

    def __init__(self, node: Node, parameters: LiveParameters) -> None:
        """Create the publishers on the node."""
        self._node = node
        self._open: set[Request] = set()
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

    def open(self, request: Request) -> None:
        """A command came in; it waits for its answer from now on."""
        with self._lock:
            self._open.add(request)

    def waiting(self) -> list[Request]:
        """The commands that are still without an answer."""
        with self._lock:
            return list(self._open)

    def settle(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None = None) -> Segmentation | None:
        """Answer a command; does nothing when it has its answer already.

        Args:
            request: the command.
            outcome: what became of it.
            encoded: the frame it is about, where the model answered.

        Returns:
            The answer; None where it had one already.

        Raises:
            Exception: the answer could not be made; the command waits for another.
        """
        with self._lock:
            if request not in self._open:
                return None
            self._open.discard(request)
        try:
            return self._publish(request, outcome, encoded)
        except BaseException:
            self.open(request)
            raise

    def close(self, patience_s: float) -> None:
        """Wait until what was settled has gone out."""
        self._outbox.close(patience_s)

    def _publish(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None) -> Segmentation:
        header = outcome.header or Header(stamp=self._node.get_clock().now().to_msg())
        if encoded is None or not outcome.answered:
            message = segmentation_message(request, outcome, header)
            self._outbox.post_latched(self._segmentation, message)
            return message
        height, width = encoded.picture.shape[:2]
        together = geometry.union((one.mask for one in outcome.objects), (height, width))
        # A planner that goes by the mask alone need not wait for the rest.
        self._outbox.post_latched(self._mask, mask_message(together, header))
        places = tuple(self._locator.place(encoded.source, encoded.picture, one.mask) for one in outcome.objects)
        message = segmentation_message(request, outcome, header, places)
        self._post_words_and_pixel(message, together)
        self._outbox.post_latched(self._segmentation, message)
        self._post_the_rest(request, outcome, encoded, message, places, together)
        return message

    def _post_words_and_pixel(self, message: Segmentation, together: Mask) -> None:
        self._outbox.post(self._explanation, String(data=message.explanation))
        if together.any():
            point = centroid_point(together)
            self._outbox.post(self._centroid_pixel, PointStamped(header=message.header, point=point))

    def _post_the_rest(
        self,
        request: Request,
        outcome: Outcome,
        encoded: EncodedFrame,
        message: Segmentation,
        places: tuple[Place, ...],
        together: Mask,
    ) -> None:
        labels = [one.phrase or request.text for one in outcome.objects]
        self._planner.publish(Found(outcome.objects, places, together, labels, encoded.source), message.header)
        if self._overlay.get_subscription_count():
            self._outbox.post(self._overlay, _overlay_message(request, outcome, message, encoded))


def _overlay_message(request: Request, outcome: Outcome, message: Segmentation, encoded: EncodedFrame) -> Image:
    caption = f"{request.operator_id}: {request.text}\n{message.explanation}"
    masks, labels = [one.mask for one in outcome.objects], [one.phrase for one in outcome.objects]
    picture = draw_overlay(encoded.picture, masks, caption, labels)
    return to_image_message(picture, "rgb8", message.header)
