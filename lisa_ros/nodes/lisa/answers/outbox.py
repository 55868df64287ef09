# SPDX-License-Identifier: Apache-2.0
"""Publishing answers so that none is lost, though only the newest is kept for late joiners.

A reliable publisher that keeps one message drops it as soon as the next is published, read or not: of 200 answers with
300 kB masks published at once, a waiting subscriber got 108 (and 132 with 100 kept). So the next message waits until
the last one is acknowledged, which takes about 5 ms, on a thread where nobody else has to wait.
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
# While one subscriber hangs, nobody can tell whether the others have their message; they have had it by then.
_OTHERS_ACKNOWLEDGE_S = 0.05
_POLL_S = 0.001
_NOW = Duration(seconds=0)


class Outbox:
    """Publishes messages in the order in which they were posted.

    A subscriber that hangs (it does not acknowledge) holds the others up for four seconds once, and then for 50 ms a
    message, in which theirs arrive; so until it acknowledges again, or DDS declares it dead.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Start the thread; `report` is told one sentence about each trouble."""
        self._report = report
        self._posted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._hanging: set[str] = set()
        self._latched: dict[str, Publisher] = {}
        self._thread = threading.Thread(target=self._run, name="lisa_outbox", daemon=True)
        self._thread.start()

    def post(self, publisher: Publisher, message: Any) -> None:
        """Publish soon; returns at once."""
        self._posted.put(lambda: publisher.publish(message))

    def post_latched(self, publisher: Publisher, message: Any) -> None:
        """The same with a publisher that is LATCHED: waits until the message before it has arrived."""
        self._latched[publisher.topic] = publisher
        self._posted.put(lambda: self._publish_latched(publisher, message))

    def close(self, patience_s: float) -> None:
        """Publish what was posted, wait until it arrived, end the thread."""
        self._posted.put(None)
        self._thread.join(patience_s)

    def _run(self) -> None:
        while (publish := self._posted.get()) is not None:
            try:
                publish()
            except Exception as error:  # the thread must go on with the next answer
                self._report(f"An answer could not be published: {type(error).__name__}: {error}")
        for publisher in self._latched.values():
            self._wait(publisher)

    def _publish_latched(self, publisher: Publisher, message: Any) -> None:
        self._wait(publisher)
        publisher.publish(message)

    def _wait(self, publisher: Publisher) -> None:
        known = publisher.topic in self._hanging
        patience = _OTHERS_ACKNOWLEDGE_S if known else _ACKNOWLEDGE_S
        # Asked again and again with no time to wait: rclpy holds Python's lock while it waits.
        deadline = time.monotonic() + patience
        while not publisher.wait_for_all_acked(_NOW):
            if time.monotonic() >= deadline:
                if not known:
                    self._hanging.add(publisher.topic)
                    self._report(f"A subscriber of {publisher.topic} does not take its messages; it may miss some.")
                return
            time.sleep(_POLL_S)
        self._hanging.discard(publisher.topic)
