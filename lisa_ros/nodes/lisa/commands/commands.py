# SPDX-License-Identifier: Apache-2.0
"""The way of a command through the node: rejected at once, or queued, processed by the model, and answered."""

import dataclasses
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from rclpy.node import Node

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.rates import Rates
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.stamps import nanoseconds
from lisa_ros.nodes.lisa.answers.answers import Answers
from lisa_ros.nodes.lisa.answers.transforms import Transforms
from lisa_ros.nodes.lisa.camera.camera import NoImageError
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.commands.processing import Processor, frame_choice
from lisa_ros.nodes.lisa.commands.refusals import refusal_of
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.loading import follow_answer_timeout, release_logged
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.nodes.lisa.request import Listener, Outcome, Processed, Request
from lisa_ros.nodes.lisa.state import Model, NodeState
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.nodes.lisa.worker import Worker
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.text import detail_of, without_surrogates

_LOGGED_CHARACTERS = 64

_SUPERSEDED = Outcome(
    Segmentation.CANCELLED, "A newer command of the same operator arrived (queue_policy: latest_wins)."
)
_CANCELLED = Outcome(Segmentation.CANCELLED, "The command was cancelled before it was answered.")
DEACTIVATED = Outcome(Segmentation.CANCELLED, "The node was deactivated before it answered.")
SHUT_DOWN = Outcome(Segmentation.CANCELLED, "The node was shut down before it answered.")

OnAnswered = Callable[[Request, Outcome, EncodedFrame], None]


class Commands:
    """The commands of all operators, from their arrival to their answer. Thread-safe."""

    def __init__(
        self,
        node: Node,
        parameters: LiveParameters,
        state: NodeState,
        dialogues: Dialogues,
        statistics: Statistics,
        *,
        transforms: Transforms,
        on_answered: OnAnswered,
        on_exhausted: Callable[[], None],
        operators: Sequence[str] = (),
        before_command: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the answers' topics on the node.

        Args:
            node: The node.
            parameters: Its parameters.
            state: Its state; without a model and a camera, commands are rejected.
            dialogues: The dialogues of all operators.
            statistics: Counts the answers.
            transforms: Between the camera's frame and the planners'.
            on_answered: Called with each answer of the model, before it is published: who has received an answer and
                then sends an image gets no tracked object of an earlier answer about it.
            on_exhausted: Called when so many commands exceeded answer_timeout that no thread is left for others.
            operators: Those whose answers are published on topics of their own, too.
            before_command: Called when a command is accepted, before it is queued: takes the images that have arrived.
        """
        self._node, self._parameters, self._state = node, parameters, state
        self._statistics, self._on_answered, self._on_exhausted = statistics, on_answered, on_exhausted
        self._before_command = before_command
        self._processor = Processor(parameters, dialogues)
        parameters.on_change(self._on_parameters)
        self._rates = Rates()
        self.answers = Answers(node, parameters, transforms, operators)
        self.last_s = time.monotonic()
        self._held: list[Request] | None = None
        self._hold_lock = threading.Lock()

    def use_model(self, segmenter: Segmenter, parameters: NodeParameters) -> None:
        """Answer commands with a model from now on.

        Args:
            segmenter: The model.
            parameters: With which it was loaded.
        """
        worker: Worker[CommandJob] = Worker(
            threads=parameters.concurrent_commands,
            timeout_s=lambda: self._parameters.current.answer_timeout,
            exhausted=self._on_exhausted,
        )
        self._state.change(model=Model(segmenter, worker))
        self._on_parameters(self._parameters.current)  # changed while it was loaded, perhaps

    def _on_parameters(self, parameters: NodeParameters) -> None:
        if (model := self._state.now.model) is not None:
            follow_answer_timeout(model.segmenter, parameters)

    def end_model(self, model: Model, timeout_s: float) -> None:
        """Cancel all commands of a model, which is not used any more, and release it."""
        model.worker.stop()
        if not model.worker.join(timeout_s):
            self._node.get_logger().warning("The model does not stop; its commands are answered with CANCELLED.")
        self.finish_all(DEACTIVATED)
        self._processor.forget_frames()
        release_logged(model.segmenter, self._node.get_logger())

    def request(self, message: Command, listener: Listener | None = None) -> Request:
        """The request for a command message; with command_frame nearest, it reserves the frame nearest to its stamp."""
        stamp_ns = nanoseconds(message.stamp.sec, message.stamp.nanosec)
        camera = self._state.now.camera
        nearest = frame_choice(self._parameters.current, stamp_ns).nearest
        frame = camera.frames.nearest(stamp_ns) if camera is not None and nearest else None
        return Request.from_command(message, listener, frame)

    def has_room(self) -> bool:
        """Whether the answers to further commands can be kept."""
        return self.answers.outbox.has_room()

    def accept(self, request: Request) -> bool:
        """Queue a command, or answer it at once. Returns whether it was queued."""
        self.last_s = request.received_s
        self.answers.register(request)
        self._before_command()
        with self._hold_lock:
            if self._held is not None and len(self._held) < self._parameters.current.queue_size:
                self._held.append(request)
                return True
        return self._accept(request)

    def reject(self, request: Request, reason: str) -> None:
        """Answer a command that is not accepted."""
        self.last_s = request.received_s
        self.answers.register(request)
        self.finish(request, Outcome(Segmentation.REJECTED, reason))

    def hold(self) -> None:
        """Keep the commands that arrive, up to queue_size, until `release`: the node is being started."""
        with self._hold_lock:
            self._held = []

    def release(self) -> None:
        """Queue the commands that were kept, or answer them at once; those that arrive meanwhile come after them."""
        with self._hold_lock:
            held, self._held = self._held or [], None
            for request in held:
                self._accept(request)

    def _accept(self, request: Request) -> bool:
        now = self._state.now
        if now.stopping:
            self.finish(request, SHUT_DOWN)
            return False
        if now.model is None or now.camera is None:
            self.finish(request, Outcome(Segmentation.REJECTED, f"The node is {now.lifecycle}, not active."))
            return False
        if (refusal := self._refusal(request)) is not None:
            self.finish(request, Outcome(Segmentation.REJECTED, refusal))
            return False
        return self._queue(request, now.model)

    def cancel(self, request: Request) -> None:
        """Cancel a command for its sender."""
        request.cancel_requested.set()
        with self._hold_lock:
            is_held = request in (self._held or ())
            if self._held and is_held:
                self._held.remove(request)
        if is_held:
            self.finish(request, _CANCELLED)
        self._withdraw(self._state.now.model, lambda waiting: waiting is request, _CANCELLED)

    def cancel_waiting(self, model: Model | None, outcome: Outcome) -> None:
        """Answer the waiting commands with an outcome; commands that are being processed are not affected."""
        self._withdraw(model, lambda waiting: True, outcome)

    def finish_all(self, outcome: Outcome) -> None:
        """Answer all commands that have no answer yet with an outcome."""
        for request in self.answers.unanswered():
            try:
                self.finish(request, outcome)
            except Exception:  # the others need an answer, too
                self._node.get_logger().error(f"A command could not be answered:\n{traceback.format_exc()}")

    def finish(self, request: Request, outcome: Outcome, processed: Processed | None = None) -> bool:
        """Answer a command. Returns whether it had no answer yet."""

        def before() -> None:
            if processed is not None and outcome.answered:
                self._on_answered(request, outcome, processed.encoded)

        message = self.answers.publish(request, outcome, processed, before)
        if message is None:
            return False
        self._statistics.count_answer(outcome)
        if request.listener is not None:
            request.listener.on_answer(message)
        command = f"Command {quoted(request.id)} of {quoted(request.operator_id)}: {quoted(request.text)}"
        result = detail_of(outcome.detail) or f"{len(outcome.objects)} object(s)"
        self._node.get_logger().info(f"{command} -> {result} ({outcome.total_ms:.0f} ms)")
        return True

    def process(self, request: Request, cancelled: Callable[[], bool]) -> None:
        """Process a command and answer it; called on a worker's thread."""
        started_s = time.monotonic()
        if request.listener is not None:
            request.listener.on_start()
        outcome, processed = self._process(request, cancelled, started_s)
        timed = dataclasses.replace(
            outcome,
            queued_ms=1000 * (started_s - request.received_s),
            total_ms=1000 * (time.monotonic() - started_s),
        )
        if processed is not None:
            timed = self.answers.split(request, timed, processed.encoded)
        self.finish(request, timed, processed)

    def failed(self, request: Request, error: BaseException) -> None:
        """Answer a command whose answer could not be published."""
        self.finish(request, self._failure(request, error, "The answer could not be published", None))

    def timed_out(self, request: Request, timeout_s: float) -> None:
        """Answer a command that is not processed within answer_timeout."""
        sentence = f"The model did not answer within {timeout_s:g} s (answer_timeout)."
        self._node.get_logger().error(f"The command {quoted(request.text)}: {sentence}")
        self.finish(request, Outcome(Segmentation.FAILED, sentence, total_ms=1000 * timeout_s))

    def _process(
        self, request: Request, cancelled: Callable[[], bool], started_s: float
    ) -> tuple[Outcome, Processed | None]:
        now, encoded = self._state.now, None
        if now.model is None or now.camera is None:
            return DEACTIVATED, None
        segmenter = now.model.segmenter
        stopped = lambda: cancelled() or request.cancel_requested.is_set()  # noqa: E731
        try:
            dialogue = self._processor.dialogue(request)
            encoded = self._processor.encode(request, dialogue, segmenter, now.camera)
            processed = self._processor.infer(request, dialogue, encoded, segmenter, stopped, started_s)
        except (NoImageError, ImageError) as error:
            return Outcome(Segmentation.NO_IMAGE, str(error)), None
        except BaseException as error:  # the command must be answered whatever the model raises, SystemExit too
            return self._failure(request, error, "The model failed", encoded), None
        note = encoded.source.note if encoded.source is not None else ""
        detail = f"{processed.outcome.detail} {note}".strip()
        return dataclasses.replace(processed.outcome, detail=detail), processed

    def _failure(self, request: Request, error: BaseException, what: str, encoded: EncodedFrame | None) -> Outcome:
        header = encoded.header if encoded else None
        if isinstance(error, LisaError):  # a limit that the user can change, not a fault of the software
            self._node.get_logger().warning(without_surrogates(f"The command {quoted(request.text)} failed: {error}"))
            return Outcome(Segmentation.FAILED, detail_of(str(error)), header)
        message = f"The command {quoted(request.text)} failed:\n{''.join(traceback.format_exception(error))}"
        self._node.get_logger().error(without_surrogates(message))
        sentence = detail_of(f"{what}: {type(error).__name__}: {error}")
        return Outcome(Segmentation.FAILED, sentence, header)

    def _queue(self, request: Request, model: Model) -> bool:
        parameters = self._parameters.current
        if parameters.queue_policy == "latest_wins":
            self._withdraw(model, lambda waiting: waiting.operator_id == request.operator_id, _SUPERSEDED)
        own = parameters.max_operator_queue
        if own and model.worker.waiting_in(request.operator_id) >= own:
            full = f"{own} commands of this operator wait already (max_operator_queue). Send it again later."
        elif model.worker.submit(CommandJob(request, self), parameters.queue_size):
            return True
        elif model.worker.stopping:  # the model was released since the command was accepted
            self.finish(request, DEACTIVATED)
            return False
        else:
            full = (
                f"The queue is full: {parameters.queue_size} commands wait already (queue_size). Send it again later."
            )
        self.finish(request, Outcome(Segmentation.REJECTED, full))
        return False

    def _withdraw(self, model: Model | None, chosen: Callable[[Request], bool], outcome: Outcome) -> None:
        for job in model.worker.withdraw(lambda job: chosen(job.request)) if model else ():
            self.finish(job.request, outcome)

    def _refusal(self, request: Request) -> str | None:
        """The reason to reject a command; None: it is accepted."""
        if (refusal := refusal_of(request, self._parameters.current)) is not None:
            return refusal
        rate = self._parameters.current.max_operator_rate
        if self._rates.wait_s(request.operator_id, rate):
            return f"This operator has sent {rate} commands within a minute (max_operator_rate). Send it again later."
        others = [one for one in self.answers.unanswered() if one is not request]
        if request.references and not any(one.operator_id == request.operator_id for one in others):
            # Otherwise the operator's earlier commands may still add the turn; it is checked when its turn comes.
            return self._processor.reference_refusal(request)
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class CommandJob:
    """A command as a job of the worker. The commands of one operator are one lane."""

    request: Request
    commands: Commands

    @property
    def lane(self) -> str:
        """See Job."""
        return self.request.operator_id

    def run(self, cancelled: Callable[[], bool]) -> None:
        """See Job."""
        self.commands.process(self.request, cancelled)

    def fail(self, error: BaseException) -> None:
        """See Job."""
        self.commands.failed(self.request, error)

    def time_out(self, timeout_s: float) -> None:
        """See Job."""
        self.commands.timed_out(self.request, timeout_s)


def quoted(text: str) -> str:
    """A text from outside for the log: shortened, in quotes, with control characters escaped."""
    return f"{text[:_LOGGED_CHARACTERS]!r}"
