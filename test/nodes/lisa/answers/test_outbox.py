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
        self.frozen = True

    def publish(self, data: bytes) -> None:
        self.published.append(data)

    def wait_for_all_acked(self, timeout: Any) -> bool:
        return not self.frozen


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ACKNOWLEDGE_S", 0.05)
    monkeypatch.setattr(outbox, "_OTHERS_ACKNOWLEDGE_S", 0.005)
    monkeypatch.setattr(outbox, "_MOST_ANSWERS", 5)


def test_answers_for_a_frozen_subscriber_are_all_published_once_and_there_is_no_room_meanwhile() -> None:
    """A flood of commands that are rejected at once filled the memory."""
    publisher, troubles = FrozenListener(), list[str]()
    answers = Outbox(troubles.append)
    assert answers.has_room()
    sent = [str(number).encode() for number in range(60)]
    for data in sent:
        answers.post_answer(publisher, data)
    wait_until(answers.has_room, "room")
    wait_until(lambda: answers.pending == 0, "the last answer")
    assert publisher.published == sent
    assert troubles == ["A subscriber of /lisa/segmentation does not acknowledge its messages; it may miss some."]
    answers.close(5.0)


def test_nobody_waits_for_a_frozen_subscriber(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor and the threads of other operators' commands waited for room."""
    monkeypatch.setattr(outbox, "_ACKNOWLEDGE_S", 1e6)  # as long as the test
    publisher = FrozenListener()
    answers = Outbox(lambda sentence: None)
    posting = threading.Thread(target=lambda: [answers.post_answer(publisher, b"") for _ in range(20)], daemon=True)
    posting.start()
    posting.join(60.0)
    assert not posting.is_alive() and answers.pending == 20 and not answers.has_room()
    publisher.frozen = False
    answers.close(60.0)
    assert len(publisher.published) == 20
