# SPDX-License-Identifier: Apache-2.0
"""What becomes of a command: refused at once, or queued, then put to the model about a picture, then answered."""

import dataclasses
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node

from lisa_ros.dialogue.dialogues import Dialogues, DialogueSnapshot, OperatorError, operator_name
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.conversions import ImageError, nanoseconds
from lisa_ros.nodes.lisa.answers.answer_messages import sendable
from lisa_ros.nodes.lisa.answers.answers import Answers
from lisa_ros.nodes.lisa.camera.camera import Camera, Choice, NoImageError
from lisa_ros.nodes.lisa.camera.dialogue_frames import DialogueFrames
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.commands.answering import Limits, ask
from lisa_ros.nodes.lisa.commands.worker import Worker
from lisa_ros.nodes.lisa.dialogue_services import dialogue_limits
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Listener, Outcome, Request
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.segmentation.answers import ANSWER_KINDS
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.text import detail_of

_LOGGED_LETTERS = 64

_SUPERSEDED = Outcome(Segmentation.CANCELLED, "A newer command of the same operator came (queue_policy: latest_wins).")
_TAKEN_BACK = Outcome(Segmentation.CANCELLED, "The command was taken back before it was answered.")
DEACTIVATED = Outcome(Segmentation.CANCELLED, "The node was deactivated before it answered.")
SHUT_DOWN = Outcome(Segmentation.CANCELLED, "The node was shut down before it answered.")


@dataclass(frozen=True)
class Model:
    """What a configured node has."""

    segmenter: Segmenter
    worker: Worker[Request]


class _DeactivatedError(Exception):
    """The node was deactivated before a command's turn came."""


class Commands:
    """The commands of all operators, from their arrival to their answer.

    `model` and `camera` are set by the node as its state has them; without one of them, commands are refused.
    """

    def __init__(self, node: Node, parameters: LiveParameters, dialogues: Dialogues, statistics: Statistics) -> None:
        """Creates the answers' topics on the node."""
        self._node, self._parameters = node, parameters
        self.dialogues, self._statistics = dialogues, statistics
        self._dialogue_frames = DialogueFrames()
        self.answers = Answers(node, parameters)
        self.model: Model | None = None
        self.camera: Camera | None = None
        self.state_name = "unconfigured"
        self.last_s = time.monotonic()
        self.when_answered: Callable[[Request, Outcome, EncodedFrame], None] = lambda request, outcome, encoded: None

    def start(self, segmenter: Segmenter) -> None:
        """Takes a model up."""
        worker = Worker(
            self._work,
            self._failed,
            threads=self._parameters.current.concurrent_commands,
            lane=lambda request: request.operator_id,
        )
        self.model = Model(segmenter, worker)

    def end(self, patience_s: float) -> Segmenter | None:
        """Lets the model go, after cancelling what it is asked; returns it. Everything that waits is answered."""
        model, self.model = self.model, None
        if model is None:
            return None
        model.worker.stop()
        if not model.worker.join(patience_s):
            self._node.get_logger().warning("The model does not stop; its command is answered without it.")
        self.settle_all(DEACTIVATED)
        self._dialogue_frames.forget_all()
        return model.segmenter

    def request(self, message: Command, listener: Listener | None = None) -> Request:
        """A command as it was received, with the picture of its moment where its moment counts."""
        stamp_ns = nanoseconds(message.stamp.sec, message.stamp.nanosec)
        choice, camera = self._choice(stamp_ns), self.camera
        frame = camera.frames.nearest(stamp_ns) if camera is not None and choice.nearest else None
        return Request.from_command(message, listener, frame)

    def accept(self, request: Request) -> bool:
        """Queue a command, or answer it at once; whether it was queued."""
        self.last_s = request.received_s
        self.answers.open(request)
        model = self.model
        if model is not None and model.worker.stopping:
            self.settle(request, SHUT_DOWN)
            return False
        if model is None or self.camera is None:
            self.settle(request, Outcome(Segmentation.REJECTED, f"The node is {self.state_name}, not active."))
            return False
        if (refusal := self._refusal(request)) is not None:
            self.settle(request, Outcome(Segmentation.REJECTED, refusal))
            return False
        return self._queue(request, model)

    def take_back(self, request: Request) -> None:
        """Its sender does not want the answer any more."""
        request.taken_back.set()
        for waiting in self.model.worker.withdraw(lambda one: one is request) if self.model else ():
            self.settle(waiting, _TAKEN_BACK)

    def cancel_waiting(self, outcome: Outcome) -> None:
        """Answers what waits in the queue; what is being answered goes on."""
        if self.model is not None:
            for request in self.model.worker.withdraw(lambda waiting: True):
                self.settle(request, outcome)

    def settle_all(self, outcome: Outcome) -> None:
        """Answers whatever has no answer yet."""
        for request in self.answers.waiting():
            self.settle(request, outcome)

    def settle(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None = None) -> None:
        """Answers a command, unless it has its answer."""
        message = self.answers.settle(request, outcome, encoded)
        if message is not None:
            self._statistics.count_answer(outcome)
            if request.listener is not None:
                request.listener.settle(message)
            who_and_what = f"{shown(request.operator_id)}: {shown(request.text)}"
            what = detail_of(outcome.detail) or f"{len(outcome.objects)} object(s)"
            self._node.get_logger().info(f"{who_and_what} -> {what} ({outcome.total_ms:.0f} ms)")

    def _queue(self, request: Request, model: Model) -> bool:
        limit = self._parameters.current.queue_size
        if self._parameters.current.queue_policy == "latest_wins":
            for older in model.worker.withdraw(lambda waiting: waiting.operator_id == request.operator_id):
                self.settle(older, _SUPERSEDED)
        if model.worker.submit(request, limit):
            return True
        full = f"{limit} commands wait already (queue_size); send it again later."
        self.settle(request, Outcome(Segmentation.REJECTED, full))
        return False

    def _refusal(self, request: Request) -> str | None:
        """Why a command is not put to the model; None when it is."""
        longest = self._parameters.current.max_text_length
        if not any(letter.isprintable() and not letter.isspace() for letter in request.text):
            return "The text is empty (it has nothing that can be printed); say what to look for."
        if len(request.text) > longest:
            return f"The text has {len(request.text)} characters; max_text_length allows {longest}."
        if request.answer and request.answer not in ANSWER_KINDS:
            known = ", ".join(repr(kind) for kind in ANSWER_KINDS)
            return f"The command wants the answer {request.answer[:20]!r}; it can be {known}, or empty."
        try:
            operator_name(request.operator_id)
        except OperatorError as error:
            return str(error)
        return None

    def _work(self, request: Request, cancelled: Callable[[], bool]) -> None:
        started_s = time.monotonic()
        encoded: EncodedFrame | None = None
        try:
            model, camera = self.model, self.camera
            if model is None or camera is None:
                raise _DeactivatedError
            dialogue = self._dialogue(request.operator_id)
            encoded = self._look(request, dialogue, model.segmenter, camera)
            stopped = lambda: cancelled() or request.taken_back.is_set()  # noqa: E731
            outcome = self._ask(request, dialogue, encoded, model.segmenter, stopped, started_s)
        except _DeactivatedError:
            outcome = DEACTIVATED
        except (NoImageError, ImageError) as error:
            outcome = Outcome(Segmentation.NO_IMAGE, str(error))
        except Exception as error:  # whatever a model does, the command gets its answer
            outcome = self._failure(request, error, encoded)
        timed = dataclasses.replace(
            outcome,
            queued_ms=1000 * (started_s - request.received_s),
            total_ms=1000 * (time.monotonic() - started_s),
        )
        self.settle(request, timed, encoded)
        if encoded is not None and timed.answered:
            self.when_answered(request, timed, encoded)

    def _failure(self, request: Request, error: Exception, encoded: EncodedFrame | None) -> Outcome:
        told = f"The command {shown(request.text)} failed:\n{''.join(traceback.format_exception(error))}"
        self._node.get_logger().error(sendable(told))
        sentence = " ".join(f"The model failed: {type(error).__name__}: {error}".split())
        return Outcome(Segmentation.FAILED, sentence, encoded.header if encoded else None)

    def _dialogue(self, operator_id: str) -> DialogueSnapshot:
        """The dialogue as everything about one command uses it: a reset meanwhile changes nothing of it."""
        self.dialogues.set_limits(dialogue_limits(self._parameters.current))
        return self.dialogues.snapshot(operator_name(operator_id))

    def _look(self, request: Request, dialogue: DialogueSnapshot, segmenter: Segmenter, camera: Camera) -> EncodedFrame:
        parameters = self._parameters.current
        if parameters.follow_up_frame == "dialogue" and dialogue.turns:
            kept = self._dialogue_frames.of(operator_name(request.operator_id))
            if kept is not None:
                return dataclasses.replace(kept, known=True)
        frame = camera.choose(self._choice(request.stamp_ns, request))
        return camera.encode(segmenter, frame, parameters.same_frame_difference)

    def _choice(self, stamp_ns: int, request: Request | None = None) -> Choice:
        parameters = self._parameters.current
        kept = request.frame if request else None
        return Choice(stamp_ns, kept, parameters.command_frame, parameters.max_image_age)

    def _ask(
        self,
        request: Request,
        dialogue: DialogueSnapshot,
        encoded: EncodedFrame,
        segmenter: Segmenter,
        cancelled: Callable[[], bool],
        started_s: float,
    ) -> Outcome:
        parameters = self._parameters.current
        operator = operator_name(request.operator_id)
        begins = not dialogue.turns or self._dialogue_frames.of(operator) is None
        limits = Limits(
            parameters.max_new_tokens,
            request.answer or parameters.answer,
            max_history_tokens=parameters.max_dialogue_tokens,
            min_score=parameters.min_score,
        )
        outcome = ask(segmenter, self.dialogues, dialogue, request, encoded, limits, cancelled, started_s)
        if begins and outcome.turn and parameters.follow_up_frame == "dialogue":
            self._dialogue_frames.begin(operator, encoded, parameters.max_operators)
        return outcome

    def _failed(self, request: Request, error: Exception) -> None:
        """The worker's last resort: publishing an answer failed."""
        self._node.get_logger().error(sendable("".join(traceback.format_exception(error))))
        self.settle(request, Outcome(Segmentation.FAILED, f"The answer could not be published: {error}"))


def shown(text: str) -> str:
    """For the log: what somebody sent, short, and without letters that a terminal would obey."""
    return f"{text[:_LOGGED_LETTERS]!r}"
