# SPDX-License-Identifier: Apache-2.0
"""One camera's images for pages: subscribed only while a page shows them, each encoded once per width."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import cv2
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from lisa_ros.nodes.common.conversions import ImageError, rgb_image_from
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.console.conversation import Stamp

MOST_FRAMES_A_SECOND = 15.0
QUALITY = 80
"""Of the JPEG files, for people only: no model sees them."""
_WIDTH_STEP = 160
_KEPT = 45
"""JPEG files of the newest images, so that a mask that comes later finds its image: 3 s at 15 frames/s."""
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE)


@dataclass(frozen=True)
class LiveFrame:
    """One image of the camera as a file.

    Attributes:
        number: counted from 1 since the console started.
        stamp: of the header.
        size: (width, height) of the camera's image, pixels; the file's may be smaller.
        jpeg: the file.
    """

    number: int
    stamp: Stamp
    size: tuple[int, int]
    jpeg: bytes


def encode_jpeg(message: Image | CompressedImage, width: int) -> tuple[bytes, tuple[int, int]]:
    """A camera's message as a JPEG file no wider than `width` pixels, and the (width, height) of the image itself.

    Raises:
        ImageError: the message cannot be decoded.
    """
    pixels = rgb_image_from(message)
    height, full = pixels.shape[:2]
    try:
        if width < full:
            smaller = (width, max(1, round(height * width / full)))
            pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        encoded, file = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    except cv2.error as error:
        raise ImageError(f"An image of {full}x{height} pixels cannot be shown as JPEG.") from error
    if not encoded:
        raise ImageError(f"An image of {full}x{height} pixels cannot be shown as JPEG.")
    return file.tobytes(), (full, height)


class CameraFeed:
    """Subscribes while it has viewers. All methods but the callback are called on the event loop's thread."""

    def __init__(
        self, node: Node, topic: str, compressed: bool, loop: asyncio.AbstractEventLoop, run_in_ros: Callable[..., None]
    ) -> None:
        """Subscribes to nothing yet.

        Args:
            node: the console's.
            topic: resolved name of the camera's topic.
            compressed: whether images come compressed.
            loop: the pages' event loop.
            run_in_ros: runs a function on the executor's thread.
        """
        self._node, self._loop, self._run_in_ros = node, loop, run_in_ros
        self._kind, self.topic = (CompressedImage, f"{topic}/compressed") if compressed else (Image, topic)
        self._viewers = 0
        self._subscription: Any = None
        self._accepted_s = 0.0
        self._newest: tuple[int, Any] | None = None
        self._number = 0
        self._arrived = asyncio.Event()
        self._files: OrderedDict[tuple[int, int], asyncio.Task[LiveFrame]] = OrderedDict()
        self.seen_s: float | None = None
        self.trouble = ""
        self.encoded = 0
        """JPEG files made since the start."""

    @property
    def subscribed(self) -> bool:
        """Whether a page shows the camera."""
        return self._viewers > 0

    def add_viewer(self) -> None:
        """A page shows the camera."""
        self._viewers += 1
        if self._viewers == 1:
            self.seen_s = None
            self._run_in_ros(self._update_subscriptions)

    def remove_viewer(self) -> None:
        """A page does not show it any more."""
        self._viewers -= 1
        if self._viewers == 0:
            self._newest = None
            self._files.clear()
            self._run_in_ros(self._update_subscriptions)

    async def next_frame(self, after: int, width: int) -> LiveFrame:
        """Waits for an image with a number above `after`, and returns the newest.

        Args:
            after: LiveFrame.number of the last one.
            width: approximate width of the file, pixels; at most the image's.
        """
        while True:
            while self._newest is None or self._newest[0] <= after:
                await self._arrived.wait()
            number, message = self._newest
            try:
                return await self._file(number, message, -(-width // _WIDTH_STEP) * _WIDTH_STEP)
            except ImageError as error:
                self.trouble, after = str(error), number

    async def at(self, stamp: Stamp) -> bytes | None:
        """The widest JPEG file of the image with this stamp; None where it is no longer kept."""
        for (_, _), task in sorted(self._files.items(), key=lambda one: -one[0][1]):
            if task.done() and not task.exception() and task.result().stamp == stamp:
                return task.result().jpeg
        if self._newest is not None and _stamp(self._newest[1]) == stamp:
            return (await self._file(*self._newest, 1920)).jpeg
        return None

    def publishers(self) -> int:
        """Publishers on the camera's topic."""
        return int(self._node.count_publishers(self.topic))

    def _file(self, number: int, message: Any, width: int) -> Awaitable[LiveFrame]:
        key = (number, width)
        if key not in self._files:
            self._files[key] = self._loop.create_task(self._encode(number, message, width))
            while len(self._files) > _KEPT:
                self._files.popitem(last=False)
        return asyncio.shield(self._files[key])

    async def _encode(self, number: int, message: Any, width: int) -> LiveFrame:
        jpeg, size = await self._loop.run_in_executor(None, encode_jpeg, message, width)
        self.encoded += 1
        self.trouble = ""
        return LiveFrame(number, _stamp(message), size, jpeg)

    def _update_subscriptions(self) -> None:
        """On the executor's thread: subscribes if there are viewers, else unsubscribes."""
        if self._viewers and self._subscription is None:
            callback = guarded_by(self._node, self._on_image)
            self._subscription = self._node.create_subscription(
                self._kind, self.topic, lambda message: callback(message), _NEWEST
            )
        elif not self._viewers and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _on_image(self, message: Any) -> None:
        """On the executor's thread: drops images that come faster than pages show them, before they cost anything."""
        now_s = time.monotonic()
        # 0.9: a camera of exactly 15 frames/s must not lose every second image to its jitter.
        if now_s - self._accepted_s >= 0.9 / MOST_FRAMES_A_SECOND:
            self._accepted_s = now_s
            self._loop.call_soon_threadsafe(self._take, message)
        else:
            self.seen_s = now_s

    def _take(self, message: Any) -> None:
        if not self.subscribed:
            return
        self.seen_s = time.monotonic()
        self._number += 1
        self._newest = (self._number, message)
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()


def _stamp(message: Any) -> Stamp:
    return message.header.stamp.sec, message.header.stamp.nanosec
