# SPDX-License-Identifier: Apache-2.0
"""A chat with a running node (`lisa chat --ros`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.chat.dialogues import OnText
from lisa_ros.client import LisaClient, Result, Status
from lisa_ros.models.model import Answer
from lisa_ros.nodes.common.conversions import rgb_image_from
from lisa_ros.segmentation.answers import ObjectMask
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import explanation_of
from lisa_ros.srv import ResetDialogue, UndoDialogue

_NODE_S = 10.0
_FRAME_S = 1.0
_SERVICE_S = 5.0


class RosDialogue:
    """An operator's dialogue with a node; the node chooses the images."""

    def __init__(self, node: str, operator: str) -> None:
        """Waits for the node.

        Args:
            node: name, with its namespace where it has one.
            operator: whose dialogue.

        Raises:
            ValueError: there is no such node.
        """
        # With rclpy's own handlers SIGTERM would end ROS alone, and the chat would wait for the next line.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._name, self._operator = node, operator
        self._client = LisaClient(node)
        self._node: Node = rclpy.create_node("lisa_chat")
        self._frame: Image | CompressedImage | None = None
        self._undo_resets = False
        for kind, ending in ((Image, ""), (CompressedImage, "/compressed")):  # the node's image_transport is not known
            self._node.create_subscription(kind, f"{node}/frame/image{ending}", self._see, 1)
        self._services = {
            kind: self._node.create_client(kind, f"{node}/{name}")
            for kind, name in ((ResetDialogue, "reset_dialogue"), (UndoDialogue, "undo_dialogue"))
        }
        if not self._client.wait_until_ready(_NODE_S):
            self.close()
            raise LisaError(f"there is no node {node!r}; start it, or name another one with --node")

    @property
    def name(self) -> str:
        """See ChatDialogue."""
        return f"node {self._name}, operator {self._operator}"

    def close(self) -> None:
        """Ends the chat's nodes."""
        self._client.close()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def ask(self, text: str, on_text: OnText, cancelled: Callable[[], bool]) -> tuple[Answer, str]:
        """See ChatDialogue."""
        self._frame = None
        if self._client.segment(text, operator=self._operator):
            while not self._client.is_complete():
                on_text(explanation_of(self._client.feedback().answer))
                if cancelled():
                    self._client.cancel()
        result = self._client.result()
        if result.segmentation is None or result.status not in (Status.OK, Status.NO_OBJECT, Status.CANCELLED):
            raise LisaError(result.message)
        self._undo_resets = False
        return self._answer(text, result), result.message

    def reset(self) -> str:
        """See ChatDialogue."""
        turns = self._call(ResetDialogue, operator_id=self._operator).turns
        self._undo_resets = True
        return f"The dialogue is deleted (turns: {turns}); /undo restores it."

    def undo(self) -> str:
        """See ChatDialogue."""
        request = UndoDialogue.Request
        change = request.RESET if self._undo_resets else request.TURN
        turns = self._call(UndoDialogue, operator_id=self._operator, change=change).turns
        self._undo_resets = False
        return f"Undone (turns now: {turns})."

    def _answer(self, text: str, result: Result) -> Answer:
        message: Any = result.segmentation
        objects = tuple(
            ObjectMask(
                found.mask, (one.span_begin, one.span_end), found.score, found.score_calibrated, phrase=found.phrase
            )
            for found, one in zip(result.objects, message.objects, strict=True)
            if found.mask is not None
        )
        return Answer(
            self._image_of(message.header.stamp, objects), text, message.answer, objects, "end", message.model
        )

    def _image_of(self, stamp: Any, objects: tuple[ObjectMask, ...]) -> Any:
        """The image that was answered; grey if it does not come."""
        until_s = time.monotonic() + _FRAME_S
        while (self._frame is None or self._frame.header.stamp != stamp) and time.monotonic() < until_s:
            rclpy.spin_once(self._node, timeout_sec=0.05)
        if self._frame is not None and self._frame.header.stamp == stamp:
            return rgb_image_from(self._frame)
        return np.full((*(objects[0].mask.shape if objects else (1, 1)), 3), 96, np.uint8)

    def _see(self, message: Image | CompressedImage) -> None:
        self._frame = message

    def _call(self, kind: Any, **fields: Any) -> Any:
        future = self._services[kind].call_async(kind.Request(**fields))
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=_SERVICE_S)
        if not future.done():
            raise LisaError(f"the node did not respond within {_SERVICE_S:g} s")
        response = future.result()
        if not response.success:
            raise LisaError(response.message)
        return response
