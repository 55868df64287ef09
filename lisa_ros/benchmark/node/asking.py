# SPDX-License-Identifier: Apache-2.0
"""The operators' side of a measurement: sends commands, receives answers, and records when they came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.spun_node import spun_node
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.conversions import rgb_image_from

_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
_POLL_S = 0.002
_ANSWERED = (Segmentation.OK, Segmentation.NO_OBJECT)


@dataclass(frozen=True)
class TimedAnswer:
    """One answer on ~/segmentation; times are monotonic seconds of this process.

    Attributes:
        status: a constant of Segmentation.
        turn: in the operator's dialogue.
        sent_s: just before its command was published.
        came_s: it was received and deserialized.
        total_ms, queued_ms: as reported by the node.
    """

    id: str
    operator: str
    status: int
    detail: str
    turn: int
    sent_s: float
    came_s: float
    total_ms: float
    queued_ms: float

    @property
    def answered(self) -> bool:
        """Whether the model gave an answer."""
        return self.status in _ANSWERED


@dataclass(frozen=True)
class Mask:
    """One message of ~/mask: when it was received, and its serialized bytes."""

    came_s: float
    packed: bytes

    def pixels(self) -> NDArray[np.bool_]:
        """(H, W): all objects of the answer together."""
        return np.asarray(rgb_image_from(deserialize_message(self.packed, Image))[:, :, 0] > 0)


class Asker:
    """Sends the commands of all operators. A thread of its own receives the messages, so that their times are right."""

    def __init__(self, node: Node, operators: int, depth: int, check: Callable[[], None]) -> None:
        """Opens the topics.

        Args:
            node: in lisa_node's namespace.
            operators: publishers of commands: each operator has one.
            depth: commands that each may have in flight.
            check: called during every wait; raises when waiting is pointless.
        """
        self._node, self._check = node, check
        self._sent_s: dict[str, float] = {}
        self._numbers = count(1)
        self._mask: Mask | None = None
        self.answers: list[TimedAnswer] = []
        self.image_rate_hz = 0.0
        """Images per second that the node counted in the last five seconds."""
        qos = QoSProfile(depth=depth)
        self._commands = [node.create_publisher(Command, "lisa/command", qos) for _ in range(operators)]
        # Serialized: deserializing a mask would add this program's time to the node's.
        node.create_subscription(Image, "lisa/mask", self._on_mask, _ALL, raw=True)
        node.create_subscription(Segmentation, "lisa/segmentation", self._on_answer, _ALL)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def wait_for_lisa(self, timeout_s: float) -> None:
        """Waits until the node takes commands and receives images.

        Raises:
            DemoError: it was not ready in time.
        """
        self.image_rate_hz = 0.0

        def ready() -> bool:
            listening = all(publisher.get_subscription_count() for publisher in self._commands)
            return listening and self._node.count_publishers("lisa/segmentation") > 0 and self.image_rate_hz > 0

        if not self.wait(ready, timeout_s):
            raise DemoError(f"lisa_node was not ready, or had no images, in {timeout_s:g} s; see its log.")

    def ask(self, operator: str, text: str, timeout_s: float) -> tuple[TimedAnswer, Mask]:
        """Sends one command; returns its answer and its mask. No other command may be in flight.

        Raises:
            DemoError: they did not come in time, or the node refused the command.
        """
        known, self._mask = len(self.answers), None
        self.send(0, operator, text)
        if not self.wait(lambda: len(self.answers) > known, timeout_s):
            raise DemoError(f"No answer to {text!r} came within {timeout_s:g} s.")
        answer = self.answers[known]
        if not answer.answered or not self.wait(lambda: self._mask is not None, timeout_s):
            raise DemoError(f"No mask came for {text!r}: {answer.detail or 'only its Segmentation did.'}")
        assert self._mask is not None
        return answer, self._mask

    def send(self, publisher: int, operator: str, text: str) -> str:
        """Sends a command without waiting; returns its id."""
        command = Command(id=f"{operator}-{next(self._numbers)}", operator_id=operator, text=text)
        self._sent_s[command.id] = time.monotonic()
        self._commands[publisher].publish(command)
        return str(command.id)

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the condition came true in time."""
        until_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > until_s:
                return False
            time.sleep(_POLL_S)
        return True

    def pause(self, seconds: float) -> None:
        """Waits."""
        self.wait(lambda: False, seconds)

    def _on_mask(self, message: bytes) -> None:
        self._mask = Mask(time.monotonic(), message)

    def _on_answer(self, message: Any) -> None:
        self.answers.append(
            TimedAnswer(
                id=message.id,
                operator=message.operator_id,
                status=message.status,
                detail=message.detail,
                turn=message.turn,
                sent_s=self._sent_s.get(message.id, float("nan")),
                came_s=time.monotonic(),
                total_ms=message.total_ms,
                queued_ms=message.queued_ms,
            )
        )

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            for value in status.values:
                if value.key == "image rate (Hz)":
                    self.image_rate_hz = float(value.value)


@contextmanager
def asking(namespace: str, operators: int, depth: int, check: Callable[[], None]) -> Iterator[Asker]:
    """The operators' node and its thread, as long as the block lasts."""
    with spun_node("operators", namespace=namespace) as node:
        yield Asker(node, operators, depth, check)
