# SPDX-License-Identifier: Apache-2.0
"""The topic `~/mask`: published before an answer's positions and grips are computed, and consistent with the answer.

Commands are processed at the same time, and one can still fail or be cancelled after its mask was published.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.nodes.lisa.answers.answer_messages import mask_message
from lisa_ros.nodes.lisa.answers.outbox import Outbox
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation import masks as geometry
from lisa_ros.segmentation.answers import Mask


@dataclass(frozen=True, eq=False)
class AnswerMask:
    """The union of an answer's objects.

    Attributes:
        request: The command.
        header: Of the image.
        size: (H, W) of the image.
        objects: Masks of the objects, (H, W).
    """

    request: Request
    header: Header
    size: tuple[int, int]
    objects: Sequence[Mask] = field(repr=False)

    def message(self) -> Image:
        """The mono8 image of 0 and 255."""
        return mask_message(geometry.union(self.objects, self.size), self.header)

    def empty_message(self) -> Image:
        """The same without objects."""
        return mask_message(np.zeros(self.size, dtype=np.bool_), self.header)


class EarlyMask:
    """Publishes the masks. Thread-safe."""

    def __init__(self, publisher: Publisher, outbox: Outbox) -> None:
        """Publish nothing yet."""
        self._publisher, self._outbox = publisher, outbox
        self._lock = threading.Lock()
        self._newest: AnswerMask | None = None

    def show(self, mask: AnswerMask) -> None:
        """Publish a mask."""
        with self._lock:
            self._newest = mask
            self._outbox.post(self._publisher, mask.message)

    def confirm(self, mask: AnswerMask) -> None:
        """The answer is published: its mask is published again if another command's came after it."""
        if self._newest is not mask:
            self.show(mask)

    def withdraw(self, request: Request) -> None:
        """The command gets another answer than that of its mask: an empty mask follows, unless a newer one came."""
        with self._lock:
            mask = self._newest
            if mask is not None and mask.request is request:
                self._newest = None
                self._outbox.post(self._publisher, mask.empty_message)
