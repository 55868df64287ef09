# SPDX-License-Identifier: Apache-2.0
"""The latched topic `~/model_info`: which model gives the answers."""

import threading

from rclpy.node import Node

from lisa_ros.msg import ModelInfo
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.segmentation.interface import Segmenter

DEMONSTRATION = (
    "No checkpoint is given: the demonstration model runs. It knows 14 kinds of objects of the simulated table "
    "and nothing else, understands English only, and marks at most two objects per command. "
    "Another one: -p checkpoint:=FOLDER, or a Hugging Face id such as xinlai/LISA-7B-v1."
)


class ModelInfoTopic:
    """Publishes the node's model when it changes."""

    def __init__(self, node: Node) -> None:
        """Publish that there is no model yet."""
        self._node = node
        self._publisher = node.create_publisher(ModelInfo, "~/model_info", LATCHED)
        self._published: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self.publish(None, "")

    def publish(self, segmenter: Segmenter | None, checkpoint: str) -> None:
        """Publish the model, unless it is the one that was published last. Thread-safe.

        Args:
            segmenter: The model; None: there is none.
            checkpoint: The parameter that names it; empty: the demonstration model.
        """
        message = ModelInfo()
        message.header.stamp = self._node.get_clock().now().to_msg()
        if segmenter is not None:
            message.model, message.checkpoint = segmenter.name, checkpoint
            message.demonstration = not checkpoint
            message.note = DEMONSTRATION if message.demonstration else ""
        with self._lock:
            published, self._published = self._published, (message.model, message.checkpoint)
            if published != self._published:
                self._publisher.publish(message)
