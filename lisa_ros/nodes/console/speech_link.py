# SPDX-License-Identifier: Apache-2.0
"""The console's side of the node `speech`: sends it the pages' sound, and pages the recognised text."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from lisa_ros.msg import Audio, Heard
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.common.stamps import time_message

_QOS = QoSProfile(depth=400, reliability=ReliabilityPolicy.RELIABLE)
_LONGEST_S = 60.0
_RATES = (8000, 192_000)
_SILENT_S = 2.0
"""A page whose sound is missing for so long does not keep others of its operator from speaking."""


class SoundError(RuntimeError):
    """Sound of a page that cannot be used; the text is one sentence."""


class SpeechLink:
    """One node `speech`. Used on the event loop's thread only."""

    def __init__(
        self,
        node: Node,
        name: str,
        loop: asyncio.AbstractEventLoop,
        run_in_ros: Callable[..., None],
        on_heard: Callable[[Heard], None],
    ) -> None:
        """Subscribes to nothing yet.

        Args:
            node: the console's.
            name: of the speech node, relative or absolute, for example "front/speech".
            loop: the pages' event loop.
            run_in_ros: runs a function on the executor's thread.
            on_heard: called with recognised text, on the event loop's thread.
        """
        self._node, self._loop, self._run_in_ros, self._on_heard = node, loop, run_in_ros, on_heard
        self._topic = f"{name}/heard"
        self._audio = node.create_publisher(Audio, f"{name}/audio", _QOS)
        self._cancel = node.create_publisher(String, f"{name}/cancel", 10)
        self._subscription: Any = None
        self._open = False
        self._speakers: dict[str, PageMicrophone] = {}

    @property
    def available(self) -> bool:
        """Whether a speech node subscribes to the sound."""
        return bool(self._audio.get_subscription_count())

    def now_ns(self) -> int:
        """The time of the speech node's clock, nanoseconds: simulated time with use_sim_time."""
        return int(self._node.get_clock().now().nanoseconds)

    def open(self, is_open: bool) -> None:
        """Subscribes to recognised text while a page is open that shows it."""
        if is_open != self._open:
            self._open = is_open
            self._run_in_ros(self._update_subscriptions)

    def cancel(self, operator: str) -> None:
        """Cancels the operator's spoken commands."""
        self._cancel.publish(String(data=operator))

    def publish(self, operator: str, mode: int, samples: bytes, rate: int, start_ns: int) -> None:
        """Sends a block of 16-bit little-endian samples of one channel; see Audio.msg."""
        message = Audio(operator_id=operator, mode=mode, sample_rate=rate, channels=1, samples=array("h", samples))
        message.header.stamp = time_message(start_ns)
        self._audio.publish(message)

    def take_turn(self, operator: str, microphone: PageMicrophone) -> bool:
        """Whether a page may send the operator's sound: that of two pages with one name would be heard as one voice."""
        other = self._speakers.get(operator, microphone)
        if other is not microphone and not other.is_silent:
            return False
        if other is not microphone:  # of a page whose connection is dead
            other.end(Audio.DISCARDED)
        self._speakers[operator] = microphone
        return True

    def leave_turn(self, operator: str) -> None:
        """The page's button is not held any more."""
        self._speakers.pop(operator, None)

    def _update_subscriptions(self) -> None:
        """On the executor's thread: subscribes if a page is open, else unsubscribes."""
        if self._open and self._subscription is None:
            callback = guarded_by(self._node, lambda message: self._loop.call_soon_threadsafe(self._on_heard, message))
            self._subscription = self._node.create_subscription(
                Heard, self._topic, lambda message: callback(message), _QOS
            )
        elif not self._open and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None


class PageMicrophone:
    """The microphone of one page: sound between the press and the release of its button.

    Blocks have stamps of the link's clock; a page's own clock may be wrong.
    """

    def __init__(self) -> None:
        """The button is not held."""
        self._link: SpeechLink | None = None
        self._operator = ""
        self._rate = self._samples = self._begin_ns = 0
        self._last_s = 0.0

    @property
    def is_silent(self) -> bool:
        """Whether no sound has come for some seconds."""
        return time.monotonic() - self._last_s > _SILENT_S

    def press(self, link: SpeechLink, operator: str, rate: int) -> bool:
        """The button is held from now on; False where another page sends this operator's sound.

        Args:
            link: receives the sound.
            operator: who speaks.
            rate: samples a second.

        Raises:
            SoundError: no microphone has this rate.
        """
        if not _RATES[0] <= rate <= _RATES[1]:
            raise SoundError(f"A microphone has {_RATES[0]} to {_RATES[1]} samples a second, not {rate}.")
        self.end(Audio.DISCARDED)
        if not link.take_turn(operator, self):
            return False
        self._link, self._operator, self._rate, self._samples = link, operator, rate, 0
        self._last_s = time.monotonic()
        return True

    def add(self, block: bytes) -> None:
        """Sends the next block; ignores it while the button is not held. After a minute the button counts as released.

        Raises:
            SoundError: the block has an odd number of bytes.
        """
        if len(block) % 2:
            raise SoundError("Sound must be 16-bit samples.")
        if self._link is None or not block:
            return
        self._last_s = time.monotonic()
        if not self._samples:
            self._begin_ns = self._link.now_ns() - self._length_ns(len(block) // 2)
        self._link.publish(self._operator, Audio.PUSH_TO_TALK, block, self._rate, self._at_ns)
        self._samples += len(block) // 2
        if self._samples > _LONGEST_S * self._rate:
            self.end(Audio.RELEASED)

    def end(self, mode: int) -> None:
        """The button is released (Audio.RELEASED), or the recording is discarded (Audio.DISCARDED)."""
        link, self._link = self._link, None
        if link is not None:
            link.leave_turn(self._operator)
            link.publish(self._operator, mode, b"", self._rate, self._at_ns if self._samples else link.now_ns())

    @property
    def _at_ns(self) -> int:
        return self._begin_ns + self._length_ns(self._samples)

    def _length_ns(self, samples: int) -> int:
        return round(samples * 1e9 / self._rate)
