# SPDX-License-Identifier: Apache-2.0
"""Publishes on threads of its own, so that a slow subscriber of one topic delays no other topic.

A reliable publisher with a history of one message drops it when the next one is published, delivered or not: of 200
answers with 300 kB masks published at once, a subscriber got 108 (and 132 with a history of 100). Therefore the next
answer, and the next image of a topic, waits until the previous one is acknowledged, which takes about 5 ms. Small
messages do not wait: DDS acknowledges them with the next heartbeat, up to 3 s later, and its history holds them.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.publisher import Publisher

# DDS repairs a lost packet when the next heartbeat asks for it, every 3 s.
_ACKNOWLEDGE_S = 4.0
# While one subscriber does not acknowledge, the others' acknowledgements are not visible; by then they have it.
_OTHERS_ACKNOWLEDGE_S = 0.05
# Other topics wait at most so long for pending answers: a frozen subscriber of the answers must not stop them.
_ANSWERS_FIRST_S = 0.05
_POLL_S = 0.001
_MOST_ANSWERS = 1000
"""While so many answers wait for a subscriber that does not acknowledge, commands of topics are left in the middleware,
whose history is bounded, and goals are rejected. Posting never waits: the executor and the threads that process
commands have others to serve."""
_NOW = Duration(seconds=0)


class Outbox:
    """Publishes answers in order and without loss, and the newest image of each other topic. Thread-safe.

    Each topic has its own thread and queue. A subscriber that does not acknowledge delays its topic by four seconds
    once, and then by 50 ms per message, until it acknowledges again or DDS removes it.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Start without threads; `report` is called with one sentence about each problem."""
        self._report = report
        self._lock = threading.Lock()
        self._topics: dict[str, _Topic] = {}
        self._answers_sent = threading.Event()
        self._answers_sent.set()

    @property
    def dropped(self) -> int:
        """Number of messages that were replaced by newer ones of their topic before they were published."""
        with self._lock:
            return sum(topic.dropped for topic in self._topics.values())

    @property
    def pending(self) -> int:
        """Number of answers that are not published yet."""
        with self._lock:
            return sum(topic.pending for topic in self._topics.values() if topic.keeps_all)

    def has_room(self) -> bool:
        """Whether the answers to further commands can be kept."""
        return self.pending < _MOST_ANSWERS

    def post_answer(self, publisher: Publisher, data: bytes) -> None:
        """Publish a serialized answer after those before it; returns at once."""
        self._topic(publisher, keeps_all=True).post(lambda: data)

    def post(self, publisher: Publisher, make: Callable[[], Any]) -> None:
        """Publish a large message, unless a newer one of its topic is posted before its turn; returns at once.

        Args:
            publisher: Of the topic.
            make: Makes the message, on the topic's thread.
        """
        self._topic(publisher, keeps_all=False).post(make)

    def publish(self, publisher: Publisher, message: Any) -> None:
        """Publish a small message at once."""
        try:
            publisher.publish(message)
        except Exception:  # the command has its answer; its other topics must still be published
            self._report(f"A message on {publisher.topic_name} could not be published:\n{traceback.format_exc()}")

    def close(self, timeout_s: float) -> None:
        """Drop the messages of other topics, wait until the answers are acknowledged, and end the threads."""
        until_s = time.monotonic() + timeout_s
        with self._lock:
            topics = list(self._topics.values())
        for topic in topics:
            topic.close()
        for topic in topics:
            topic.join(max(0.0, until_s - time.monotonic()))
            if topic.keeps_all and topic.pending:
                self._report(f"{topic.pending} answers on {topic.name} could not be delivered before the end.")

    def _topic(self, publisher: Publisher, keeps_all: bool) -> "_Topic":
        with self._lock:
            topic = self._topics.get(publisher.topic)
            if topic is None:
                topic = _Topic(publisher, keeps_all, self._answers_sent, self._report)
                self._topics[publisher.topic] = topic
            return topic


class _Topic:
    """The queue and the thread of one topic."""

    def __init__(
        self, publisher: Publisher, keeps_all: bool, answers_sent: threading.Event, report: Callable[[str], None]
    ) -> None:
        self.name, self.keeps_all, self.dropped = publisher.topic_name, keeps_all, 0
        self._publisher, self._answers_sent, self._report = publisher, answers_sent, report
        self._queue: deque[Callable[[], Any]] = deque()
        self._publishing = False
        self._changed = threading.Condition()
        self._closing = False
        self._unresponsive = False
        self._thread = threading.Thread(target=self._run, name="lisa_outbox", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Number of messages that are not published and acknowledged yet."""
        return len(self._queue) + int(self._publishing)

    def post(self, make: Callable[[], Any]) -> None:
        with self._changed:
            if self.keeps_all:
                self._answers_sent.clear()
            elif self._closing:
                return
            if self._queue and not self.keeps_all:
                self._queue.clear()
                self.dropped += 1
            self._queue.append(make)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            if not self.keeps_all:
                self._queue.clear()
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (make := self._next()) is not None:
            try:
                if not self.keeps_all:
                    self._answers_sent.wait(_ANSWERS_FIRST_S)
                self._publisher.publish(make())
                self._wait_for_acknowledgement()
            except BaseException:  # the next messages must still be published
                self._report(f"A message on {self.name} could not be published:\n{traceback.format_exc()}")
            self._finish()

    def _next(self) -> Callable[[], Any] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            self._publishing = True
            return self._queue.popleft()

    def _finish(self) -> None:
        with self._changed:
            self._publishing = False
            if self.keeps_all and not self._queue:
                self._answers_sent.set()

    def _wait_for_acknowledgement(self) -> None:
        timeout_s = _OTHERS_ACKNOWLEDGE_S if self._unresponsive else _ACKNOWLEDGE_S
        # Polled without a timeout: rclpy holds the global interpreter lock while it waits.
        deadline_s = time.monotonic() + timeout_s
        while not self._publisher.wait_for_all_acked(_NOW):
            if self._closing and not self.keeps_all:
                return
            if time.monotonic() >= deadline_s:
                if not self._unresponsive:
                    self._unresponsive = True
                    self._report(f"A subscriber of {self.name} does not acknowledge its messages; it may miss some.")
                return
            time.sleep(_POLL_S)
        self._unresponsive = False
