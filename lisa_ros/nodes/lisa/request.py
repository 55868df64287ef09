# SPDX-License-Identifier: Apache-2.0
"""A command on its way through the node, and what became of it."""

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Protocol

from std_msgs.msg import Header

from lisa_ros.dialogue.dialogues import DEFAULT_OPERATOR
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.conversions import nanoseconds
from lisa_ros.nodes.lisa.camera.frames import CameraFrame
from lisa_ros.segmentation.answers import Event, ObjectMask
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.turns import Turn


class Listener(Protocol):
    """Who watches a command being answered; called on the thread that answers it."""

    def hear(self, event: Event, header: Header) -> None:
        """A part of the answer, about the picture of this header."""

    def settle(self, answer: Segmentation) -> None:
        """The whole answer, when it has been given."""


@dataclass(frozen=True, eq=False)
class Request:
    """One command that was received. Two with the same id are two commands.

    Attributes:
        stamp_ns: the command's own time, nanoseconds; 0: none was set.
        answer: the kind of answer that is wanted; empty: the node's parameter says it.
        pointing: points and boxes in the image.
        listener: who watches; None: nobody.
        frame: the picture nearest to stamp_ns when it was received; None: none was set aside.
        taken_back: set when the sender does not want the answer any more.
        received_s: monotonic seconds, for `queued_ms`.
    """

    id: str
    operator_id: str
    text: str
    references: tuple[int, ...] = ()
    stamp_ns: int = 0
    answer: str = ""
    pointing: Pointing = NO_POINTING
    listener: Listener | None = None
    frame: CameraFrame | None = None
    taken_back: threading.Event = field(default_factory=threading.Event)
    received_s: float = field(default_factory=time.monotonic)

    @staticmethod
    def from_command(message: Command, listener: Listener | None = None, frame: CameraFrame | None = None) -> "Request":
        """The command of one message; an empty id and operator are filled in."""
        return Request(
            id=message.id or uuid.uuid4().hex,
            operator_id=message.operator_id or DEFAULT_OPERATOR,
            text=message.text,
            references=tuple(int(number) for number in message.references),
            stamp_ns=nanoseconds(message.stamp.sec, message.stamp.nanosec),
            answer=message.answer,
            pointing=Pointing(
                tuple((point.x, point.y) for point in message.points),
                tuple((box.x_offset, box.y_offset, box.width, box.height) for box in message.boxes),
            ),
            listener=listener,
            frame=frame,
        )

    @staticmethod
    def from_text(text: str) -> "Request":
        """A bare sentence, from operator "default"."""
        return Request(id=uuid.uuid4().hex, operator_id=DEFAULT_OPERATOR, text=text)


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    Attributes:
        status: a constant of Segmentation.
        detail: one sentence for people when status is not OK.
        header: of the picture the answer is about; None without one.
        objects: those with at least one pixel, in the order of the answer.
        turn: its number in the operator's dialogue; 0: none.
        references: numbers of the turns whose masks the model was given.
        history: the dialogue's turns before this command, as the model was given them.
    """

    status: int
    detail: str = ""
    header: Header | None = None
    answer: str = ""
    objects: tuple[ObjectMask, ...] = ()
    turn: int = 0
    references: tuple[int, ...] = ()
    history: tuple[Turn, ...] = ()
    frame_known: bool = False
    first_mask_ms: float = 0.0
    total_ms: float = 0.0
    queued_ms: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether the model gave an answer."""
        return self.status in (Segmentation.OK, Segmentation.NO_OBJECT)
