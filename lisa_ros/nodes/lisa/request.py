# SPDX-License-Identifier: Apache-2.0
"""A command inside the node, and its result."""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from std_msgs.msg import Header

from lisa_ros.dialogue.operators import DEFAULT_OPERATOR
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.stamps import nanoseconds
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame
from lisa_ros.segmentation.answers import Event, ObjectMask
from lisa_ros.segmentation.pointing import NO_POINTING, Pointing
from lisa_ros.segmentation.turns import Turn


class Listener(Protocol):
    """Follows the processing of a command. Its methods are called on the thread that processes the command."""

    def on_start(self) -> None:
        """The model begins to process the command. Not called for commands that are answered without it."""

    def on_event(self, event: Event, header: Header) -> None:
        """A part of the answer is there; the header is that of the image."""

    def on_answer(self, answer: Segmentation) -> None:
        """The complete answer is there."""


@dataclass(frozen=True)
class Options:
    """What the sender of a command wants of the answer; see Command.msg. Empty texts: as the parameters say.

    Attributes:
        dialogue: "continue", "none" or empty.
        outputs: The sum of Command.OUTPUT_* constants.
        target_frame: Frame of positions in metres.
        split_objects: "auto", "never" or empty.
        grip: One of GRIP_STRATEGIES or empty.
    """

    dialogue: str = ""
    outputs: int = 0
    target_frame: str = ""
    split_objects: str = ""
    grip: str = ""


@dataclass(frozen=True, eq=False)
class Request:
    """One received command. Two commands with the same id are two requests.

    Attributes:
        id: Of the command, for its answer.
        operator_id: The operator whose dialogue it continues.
        text: Of the command.
        references: Numbers of earlier turns that the text refers to.
        stamp_ns: Time of the command in nanoseconds; 0: not set.
        answer: Kind of answer; empty: as the parameter `answer` says.
        pointing: Points and boxes in the image.
        options: What its sender wants of the answer.
        listener: Follows the processing; None: no listener.
        frame: The frame nearest to stamp_ns when the command was received; None: the frame is chosen later.
        cancel_requested: Set when the sender cancels the command.
        received_s: Time of reception in monotonic seconds.
    """

    id: str
    operator_id: str
    text: str
    references: tuple[int, ...] = ()
    stamp_ns: int = 0
    answer: str = ""
    pointing: Pointing = NO_POINTING
    options: Options = Options()
    listener: Listener | None = None
    frame: CameraFrame | None = None
    cancel_requested: threading.Event = field(default_factory=threading.Event)
    received_s: float = field(default_factory=time.monotonic)

    @staticmethod
    def from_command(message: Command, listener: Listener | None = None, frame: CameraFrame | None = None) -> "Request":
        """The request for a command message; an empty id and an empty operator are filled in."""
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
            options=Options(
                message.dialogue, message.outputs, message.target_frame, message.split_objects, message.grip
            ),
            listener=listener,
            frame=frame,
        )

    @property
    def independent(self) -> bool:
        """Whether it neither sees nor changes a dialogue."""
        return self.options.dialogue == "none"

    @staticmethod
    def from_text(text: str) -> "Request":
        """The request for a text alone, of the operator "default"."""
        return Request(id=uuid.uuid4().hex, operator_id=DEFAULT_OPERATOR, text=text)


@dataclass(frozen=True)
class Outcome:
    """The result of a command.

    Attributes:
        status: A constant of Segmentation.
        detail: The reason in one sentence if the status is not OK; otherwise what is wrong with the image, or empty.
        header: Of the image used for the answer; None: no image was used.
        answer: The model's raw answer.
        model: The name of the model that answered.
        objects: In the order of the answer; each has at least one pixel.
        turn: Its number in the operator's dialogue; 0: it is not part of it.
        references: Numbers of the turns whose masks were given to the model.
        history: The turns before this command, as given to the model.
        frame_known: Whether the image was encoded before this command.
        first_mask_ms: Time from the start of processing to the first mask, in milliseconds.
        total_ms: Time from the start of processing to the whole answer, in milliseconds.
        queued_ms: Time in the queue, in milliseconds.
    """

    status: int
    detail: str = ""
    header: Header | None = None
    answer: str = ""
    model: str = ""
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


@dataclass(frozen=True)
class Processed:
    """A command that the model has processed.

    Attributes:
        outcome: The result. Its `turn` is the number that the answer is expected to have in the dialogue.
        encoded: The frame used for the answer.
        remember: Adds the answer to the operator's dialogue and returns its number there; 0: it is not kept.
    """

    outcome: Outcome
    encoded: EncodedFrame
    remember: Callable[[], int] = lambda: 0
