# SPDX-License-Identifier: Apache-2.0
"""Publishes answers so that none is lost, although only the newest one is latched for late joiners.

A reliable publisher with a history of one message drops it when the next one is published, delivered or not: of 200
answers with 300 kB masks published at once, a subscriber got 108 (and 132 with a history of 100). Therefore the next
message waits until the previous one is acknowledged, which takes about 5 ms, on a thread of its own.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)

# DDS repairs a lost packet when the next heartbeat asks for it, every 3 s.
_ACKNOWLEDGE_S = 4.0
# While one subscriber does not acknowledge, the others' acknowledgements are not visible; after this time they have it.
_OTHERS_ACKNOWLEDGE_S = 0.05
_POLL_S = 0.001
_NOW = Duration(seconds=0)


class Outbox:
    """Publishes messages in the order in which they were posted.

    A subscriber that does not acknowledge delays the others by four seconds once, and then by 50 ms per message, until
    it acknowledges again or DDS removes it.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Start the thread; `report` is called with one sentence about each problem."""
        self._report = report
        self._posted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._unresponsive: set[str] = set()
        self._latched: dict[str, Publisher] = {}
        self._thread = threading.Thread(target=self._run, name="lisa_outbox", daemon=True)
        self._thread.start()

    def post(self, publisher: Publisher, message: Any) -> None:
        """Publish a message on the outbox's thread; returns at once."""
        self._posted.put(lambda: publisher.publish(message))

    def post_latched(self, publisher: Publisher, message: Any) -> None:
        """Publish a message after the previous one of a LATCHED publisher is acknowledged; returns at once."""
        self._latched[publisher.topic] = publisher
        self._posted.put(lambda: self._publish_latched(publisher, message))

    def close(self, timeout_s: float) -> None:
        """Publish all posted messages, wait until they are acknowledged, and end the thread."""
        self._posted.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (publish := self._posted.get()) is not None:
            try:
                publish()
            except Exception as error:  # the next answers must still be published
                self._report(f"An answer could not be published: {type(error).__name__}: {error}")
        for publisher in self._latched.values():
            self._wait(publisher)

    def _publish_latched(self, publisher: Publisher, message: Any) -> None:
        self._wait(publisher)
        publisher.publish(message)

    def _wait(self, publisher: Publisher) -> None:
        known = publisher.topic in self._unresponsive
        timeout_s = _OTHERS_ACKNOWLEDGE_S if known else _ACKNOWLEDGE_S
        # Polled without a timeout: rclpy holds the global interpreter lock while it waits.
        deadline = time.monotonic() + timeout_s
        while not publisher.wait_for_all_acked(_NOW):
            if time.monotonic() >= deadline:
                if not known:
                    self._unresponsive.add(publisher.topic)
                    self._report(
                        f"A subscriber of {publisher.topic} does not acknowledge its messages; it may miss some."
                    )
                return
            time.sleep(_POLL_S)
        self._unresponsive.discard(publisher.topic)
