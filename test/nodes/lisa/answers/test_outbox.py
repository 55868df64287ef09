# SPDX-License-Identifier: Apache-2.0
"""The queue of answers beside a subscriber that never acknowledges."""

import threading
from typing import Any

import pytest
from ros_harness import wait_until

from lisa_ros.nodes.lisa.answers import outbox
from lisa_ros.nodes.lisa.answers.outbox import Outbox


class FrozenListener:
    """A publisher with a reliable subscriber that has stopped."""

    topic = topic_name = "/lisa/segmentation"

    def __init__(self) -> None:
        self.published: list[bytes] = []

    def publish(self, data: bytes) -> None:
        self.published.append(data)

    def wait_for_all_acked(self, timeout: Any) -> bool:
        return False


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ACKNOWLEDGE_S", 0.05)
    monkeypatch.setattr(outbox, "_OTHERS_ACKNOWLEDGE_S", 0.005)
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 5)


def test_answers_that_wait_for_a_frozen_subscriber_are_bounded_and_all_published_once() -> None:
    """A flood of commands that are rejected at once filled the memory."""
    publisher, troubles = FrozenListener(), list[str]()
    answers = Outbox(troubles.append)
    sent = [str(number).encode() for number in range(60)]
    most = 0
    for data in sent:
        answers.post_answer(publisher, data)
        most = max(most, answers.pending)
    assert most <= 6
    wait_until(lambda: answers.pending == 0, "the last answer")
    assert publisher.published == sent
    assert troubles == ["A subscriber of /lisa/segmentation does not acknowledge its messages; it may miss some."]
    answers.close(5.0)


def test_the_end_waits_for_no_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ACKNOWLEDGE_S", 0.5)
    publisher = FrozenListener()
    answers = Outbox(lambda sentence: None)
    posting = threading.Thread(target=lambda: [answers.post_answer(publisher, b"") for _ in range(20)])
    posting.start()
    wait_until(lambda: answers.pending >= 5, "a full queue")
    answers.close(10.0)
    posting.join(10.0)
    assert not posting.is_alive()
    wait_until(lambda: len(publisher.published) == 20, "all answers")
