# SPDX-License-Identifier: Apache-2.0
"""The way of a command through the node: rejected at once, or queued, processed by the model, and answered."""

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
from lisa_ros.nodes.lisa.commands.inference import InferenceSettings, run_inference
from lisa_ros.nodes.lisa.commands.worker import Worker
from lisa_ros.nodes.lisa.dialogue_services import dialogue_limits
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Listener, Outcome, Request
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.segmentation.answers import ANSWER_KINDS
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.text import detail_of

_LOGGED_CHARACTERS = 64

_SUPERSEDED = Outcome(
    Segmentation.CANCELLED, "A newer command of the same operator arrived (queue_policy: latest_wins)."
)
_CANCELLED = Outcome(Segmentation.CANCELLED, "The command was cancelled before it was answered.")
DEACTIVATED = Outcome(Segmentation.CANCELLED, "The node was deactivated before it answered.")
SHUT_DOWN = Outcome(Segmentation.CANCELLED, "The node was shut down before it answered.")


@dataclass(frozen=True)
class Model:
    """The model of a configured node, and the threads that use it."""

    segmenter: Segmenter
    worker: Worker[Request]


class _DeactivatedError(Exception):
    """The node was deactivated before a command was processed."""


class Commands:
    """The commands of all operators, from their arrival to their answer.

    The node sets `model` and `camera`; without one of them, commands are rejected.
    """

    def __init__(self, node: Node, parameters: LiveParameters, dialogues: Dialogues, statistics: Statistics) -> None:
        """Create the answers' topics on the node."""
        self._node, self._parameters = node, parameters
        self.dialogues, self._statistics = dialogues, statistics
        self._dialogue_frames = DialogueFrames()
        self.answers = Answers(node, parameters)
        self.model: Model | None = None
        self.camera: Camera | None = None
        self.state_name = "unconfigured"
        self.last_s = time.monotonic()
        self.on_answered: Callable[[Request, Outcome, EncodedFrame], None] = lambda request, outcome, encoded: None

    def start(self, segmenter: Segmenter) -> None:
        """Start to process commands with a model."""
        worker = Worker(
            self._work,
            self._failed,
            threads=self._parameters.current.concurrent_commands,
            lane=lambda request: request.operator_id,
        )
        self.model = Model(segmenter, worker)

    def end(self, timeout_s: float) -> Segmenter | None:
        """Cancel all commands and return the model, which is not used any more; None: there was none."""
        model, self.model = self.model, None
        if model is None:
            return None
        model.worker.stop()
        if not model.worker.join(timeout_s):
            self._node.get_logger().warning("The model does not stop; its commands are answered with CANCELLED.")
        self.finish_all(DEACTIVATED)
        self._dialogue_frames.clear()
        return model.segmenter

    def request(self, message: Command, listener: Listener | None = None) -> Request:
        """The request for a command message; with command_frame nearest, it reserves the frame nearest to its stamp."""
        stamp_ns = nanoseconds(message.stamp.sec, message.stamp.nanosec)
        choice, camera = self._choice(stamp_ns), self.camera
        frame = camera.frames.nearest(stamp_ns) if camera is not None and choice.nearest else None
        return Request.from_command(message, listener, frame)

    def accept(self, request: Request) -> bool:
        """Queue a command, or answer it at once. Returns whether it was queued."""
        self.last_s = request.received_s
        self.answers.register(request)
        model = self.model
        if model is not None and model.worker.stopping:
            self.finish(request, SHUT_DOWN)
            return False
        if model is None or self.camera is None:
            self.finish(request, Outcome(Segmentation.REJECTED, f"The node is {self.state_name}, not active."))
            return False
        if (refusal := self._refusal(request)) is not None:
            self.finish(request, Outcome(Segmentation.REJECTED, refusal))
            return False
        return self._queue(request, model)

    def cancel(self, request: Request) -> None:
        """Cancel a command for its sender."""
        request.cancel_requested.set()
        for waiting in self.model.worker.withdraw(lambda one: one is request) if self.model else ():
            self.finish(waiting, _CANCELLED)

    def cancel_waiting(self, outcome: Outcome) -> None:
        """Answer the waiting commands with an outcome; commands that are being processed are not affected."""
        if self.model is not None:
            for request in self.model.worker.withdraw(lambda waiting: True):
                self.finish(request, outcome)

    def finish_all(self, outcome: Outcome) -> None:
        """Answer all commands that have no answer yet with an outcome."""
        for request in self.answers.unanswered():
            self.finish(request, outcome)

    def finish(self, request: Request, outcome: Outcome, encoded: EncodedFrame | None = None) -> None:
        """Answer a command, unless it has been answered already."""
        message = self.answers.publish(request, outcome, encoded)
        if message is not None:
            self._statistics.count_answer(outcome)
            if request.listener is not None:
                request.listener.on_answer(message)
            command = f"{quoted(request.operator_id)}: {quoted(request.text)}"
            result = detail_of(outcome.detail) or f"{len(outcome.objects)} object(s)"
            self._node.get_logger().info(f"{command} -> {result} ({outcome.total_ms:.0f} ms)")

    def _queue(self, request: Request, model: Model) -> bool:
        limit = self._parameters.current.queue_size
        if self._parameters.current.queue_policy == "latest_wins":
            for older in model.worker.withdraw(lambda waiting: waiting.operator_id == request.operator_id):
                self.finish(older, _SUPERSEDED)
        if model.worker.submit(request, limit):
            return True
        full = f"The queue is full: {limit} commands wait already (queue_size). Send the command again later."
        self.finish(request, Outcome(Segmentation.REJECTED, full))
        return False

    def _refusal(self, request: Request) -> str | None:
        """The reason to reject a command; None: it is accepted."""
        longest = self._parameters.current.max_text_length
        if not any(letter.isprintable() and not letter.isspace() for letter in request.text):
            return "The text is empty (it has no printable character). It must name what to segment."
        if len(request.text) > longest:
            return f"The text has {len(request.text)} characters; max_text_length allows {longest}."
        if request.answer and request.answer not in ANSWER_KINDS:
            known = ", ".join(repr(kind) for kind in ANSWER_KINDS)
            return f"The command's answer is {request.answer[:20]!r}; it must be {known}, or empty."
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
            encoded = self._choose_and_encode(request, dialogue, model.segmenter, camera)
            stopped = lambda: cancelled() or request.cancel_requested.is_set()  # noqa: E731
            outcome = self._infer(request, dialogue, encoded, model.segmenter, stopped, started_s)
        except _DeactivatedError:
            outcome = DEACTIVATED
        except (NoImageError, ImageError) as error:
            outcome = Outcome(Segmentation.NO_IMAGE, str(error))
        except Exception as error:  # the command must be answered whatever the model raises
            outcome = self._failure(request, error, encoded)
        timed = dataclasses.replace(
            outcome,
            queued_ms=1000 * (started_s - request.received_s),
            total_ms=1000 * (time.monotonic() - started_s),
        )
        self.finish(request, timed, encoded)
        if encoded is not None and timed.answered:
            self.on_answered(request, timed, encoded)

    def _failure(self, request: Request, error: Exception, encoded: EncodedFrame | None) -> Outcome:
        message = f"The command {quoted(request.text)} failed:\n{''.join(traceback.format_exception(error))}"
        self._node.get_logger().error(sendable(message))
        sentence = " ".join(f"The model failed: {type(error).__name__}: {error}".split())
        return Outcome(Segmentation.FAILED, sentence, encoded.header if encoded else None)

    def _dialogue(self, operator_id: str) -> DialogueSnapshot:
        """The operator's dialogue now. One command uses one snapshot, so that a reset meanwhile does not affect it."""
        self.dialogues.set_limits(dialogue_limits(self._parameters.current))
        return self.dialogues.snapshot(operator_name(operator_id))

    def _choose_and_encode(
        self, request: Request, dialogue: DialogueSnapshot, segmenter: Segmenter, camera: Camera
    ) -> EncodedFrame:
        parameters = self._parameters.current
        if parameters.follow_up_frame == "dialogue" and dialogue.turns:
            kept = self._dialogue_frames.of(operator_name(request.operator_id))
            if kept is not None:
                return dataclasses.replace(kept, known=True)
        frame = camera.choose(self._choice(request.stamp_ns, request))
        return camera.encode(segmenter, frame, parameters.same_frame_difference)

    def _choice(self, stamp_ns: int, request: Request | None = None) -> Choice:
        parameters = self._parameters.current
        reserved = request.frame if request else None
        return Choice(stamp_ns, reserved, parameters.command_frame, parameters.max_image_age)

    def _infer(
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
        settings = InferenceSettings(
            parameters.max_new_tokens,
            request.answer or parameters.answer,
            max_history_tokens=parameters.max_dialogue_tokens,
            min_score=parameters.min_score,
        )
        outcome = run_inference(segmenter, self.dialogues, dialogue, request, encoded, settings, cancelled, started_s)
        if begins and outcome.turn and parameters.follow_up_frame == "dialogue":
            self._dialogue_frames.begin(operator, encoded, parameters.max_operators)
        return outcome

    def _failed(self, request: Request, error: Exception) -> None:
        """Called by the worker if the answer of a command could not be published."""
        self._node.get_logger().error(sendable("".join(traceback.format_exception(error))))
        self.finish(request, Outcome(Segmentation.FAILED, f"The answer could not be published: {error}"))


def quoted(text: str) -> str:
    """A text from outside for the log: shortened, in quotes, with control characters escaped."""
    return f"{text[:_LOGGED_CHARACTERS]!r}"
