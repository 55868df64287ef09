# SPDX-License-Identifier: Apache-2.0
"""The node: a camera's pictures and operators' commands in, masks and reasons out.

The way of a command: `_on_command` -> `_accept` (refused at once, or queued) -> `_work` on a worker's thread (the
newest picture, then `answering.ask`) -> `Answers.settle`, which publishes. Commands of different operators are worked
on at the same time, those of one operator in their order.
"""

import dataclasses
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from lisa_ros.dialogue import Dialogues, OperatorError, operator_name
from lisa_ros.dialogue_store import StoreError
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.answering import Limits, ask
from lisa_ros.nodes.answers import Answers, sendable
from lisa_ros.nodes.camera import CAMERA_QOS, Camera, NoPictureError, Seen
from lisa_ros.nodes.conversions import ImageError
from lisa_ros.nodes.diagnostics import Condition, Diagnostics
from lisa_ros.nodes.dialogue_services import DialogueServices, open_dialogues
from lisa_ros.nodes.guarding import guarded, guarded_by
from lisa_ros.nodes.parameters import LiveParameters, NodeParameters, ParameterError
from lisa_ros.nodes.request import Outcome, Request
from lisa_ros.nodes.segment_action import SegmentAction
from lisa_ros.nodes.starting import StartError, start_ros
from lisa_ros.nodes.statistics import Statistics
from lisa_ros.nodes.worker import Worker
from lisa_ros.segmenter import ANSWER_KINDS, LoadOptions, OnDevice, Segmenter, embedded_checkpoint, load_segmenter

# A flood must wait somewhere until the executor has seen it, whoever it comes from; commands are small.
_COMMAND_QOS = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
# Commands that have reached this process, but not yet the executor, get their answer too when the node ends.
_QUIET_S = 0.3
_LONGEST_UNTIL_QUIET_S = 3.0
_POLL_S = 0.02
_LOGGED_LETTERS = 64
_STOP_WORKER_S = 10.0
_STOP_OUTBOX_S = 10.0

_SUPERSEDED = Outcome(Segmentation.CANCELLED, "A newer command of the same operator came (queue_policy: latest_wins).")
_TAKEN_BACK = Outcome(Segmentation.CANCELLED, "The command was taken back before it was answered.")
_DEACTIVATED = Outcome(Segmentation.CANCELLED, "The node was deactivated before it answered.")
_SHUT_DOWN = Outcome(Segmentation.CANCELLED, "The node was shut down before it answered.")

Load = Callable[[NodeParameters], Segmenter]


class LoadError(RuntimeError):
    """The model, or the dialogues that were kept, could not be loaded; the text is one sentence."""


class _DeactivatedError(Exception):
    """The node was deactivated before a command's turn came."""


@dataclass(frozen=True)
class _Model:
    """What a configured node has."""

    segmenter: Segmenter
    worker: Worker[Request]


def load_from_parameters(parameters: NodeParameters) -> Segmenter:
    """Load the checkpoint that the parameters name."""
    checkpoint = Path(parameters.checkpoint).expanduser() if parameters.checkpoint else embedded_checkpoint()
    options = LoadOptions(
        template=parameters.template,
        precision=parameters.precision,
        quantization=parameters.quantization,
        device=parameters.device,
        vision_tower=parameters.vision_tower or None,
        cache_mib=parameters.cache_mib,
    )
    return load_segmenter(checkpoint, options)


class LisaNode(LifecycleNode):
    """Answers every command with one Segmentation about the camera's newest picture, while it is active.

    Configured, it has a model; active, it has a camera. What is sent to it in any other state is refused.
    """

    def __init__(self, *, load: Load = load_from_parameters) -> None:
        """Open dialogues and topics; load nothing yet.

        Args:
            load: makes the model; tests hand in one without weights.

        Raises:
            ParameterError: a parameter has a value that cannot be used.
            LoadError: the dialogues that were kept could not be opened.
        """
        super().__init__("lisa")
        self.callback_errors = 0
        # rclpy lets a transition that the state does not have end the executor; guarded, it is refused.
        self._service_change_state.callback = guarded_by(self, self._service_change_state.callback)
        self._load_model = load
        self._model: _Model | None = None
        self._camera: Camera | None = None
        self.trouble = ""
        self._state_name = "unconfigured"
        self._live_parameters = LiveParameters(self, lambda: self._model is not None)
        self._dialogues = self._open_dialogues()
        self._answers = Answers(self)
        self._last_command_s = time.monotonic()
        self._statistics = Statistics()
        self._diagnostics = Diagnostics(self, self._statistics, self._condition)
        self.create_subscription(Command, "~/command", self._on_command, _COMMAND_QOS)
        self.create_subscription(String, "~/command_text", self._on_command_text, _COMMAND_QOS)
        DialogueServices(self, self._dialogues)
        self._segment_action = SegmentAction(self, self._accept, self._take_back)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model; what keeps it from that is in `trouble`."""
        self._state_name = "configuring"
        self._diagnostics.publish()
        try:
            segmenter = self._load()
        except LoadError as error:
            self.trouble, self._state_name = str(error), "unconfigured"
            self.get_logger().error(self.trouble)
            return TransitionCallbackReturn.FAILURE
        worker = Worker(
            self._work,
            self._failed,
            threads=self._live_parameters.current.concurrent_commands,
            lane=lambda request: request.operator_id,
        )
        self._model = _Model(segmenter, worker)
        self.trouble, self._state_name = "", "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera, and answer."""
        assert self._model is not None
        self._camera = self._open_camera()
        self._state_name = "active"
        self.get_logger().info(f"Ready: {self._model.segmenter.name}; pictures from {self._camera.topic}.")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Keep the model, forget the camera, and cancel what waits; what is being answered goes on."""
        self._state_name = "inactive"
        self._close_camera()
        if self._model is not None:
            for request in self._model.worker.withdraw(lambda waiting: True):
                self._settle(request, _DEACTIVATED)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the model and free its memory."""
        self._close_camera()
        self._release_model()
        self._state_name = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup; nothing comes after it."""
        done = self.on_cleanup(state)
        self._state_name = "finalized"
        return done

    def start(self) -> None:
        """Configure and activate, where `autostart` says so.

        Raises:
            LoadError: it could not be configured.
        """
        if not self._live_parameters.current.autostart:
            return
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise LoadError(self.trouble or "The node could not be configured.")
        self.trigger_activate()

    def stop(self, spinning: Callable[[], bool]) -> None:
        """Start no command any more; return when none has come for a while. The executor must still run.

        Args:
            spinning: whether it does.
        """
        self._state_name = "shutting down"
        if self._model is not None:
            self._model.worker.stop()
        stopped_s = time.monotonic()
        while spinning() and (now_s := time.monotonic()) < stopped_s + _LONGEST_UNTIL_QUIET_S:
            if now_s > max(stopped_s, self._last_command_s) + _QUIET_S:
                return
            time.sleep(_POLL_S)

    def close(self) -> None:
        """After `stop`: answer what waits with CANCELLED, and end the threads. The executor must have stopped."""
        if self._model is not None and not self._model.worker.join(_STOP_WORKER_S):
            self.get_logger().warning("The model does not stop; its command is answered without it.")
        for request in self._answers.waiting():
            self._settle(request, _SHUT_DOWN)
        self._answers.close(_STOP_OUTBOX_S)
        self._segment_action.close()
        self._dialogues.close()

    def _release_model(self) -> None:
        model, self._model = self._model, None
        if model is None:
            return
        model.worker.stop()
        if not model.worker.join(_STOP_WORKER_S):
            self.get_logger().warning("The model does not stop; its command is answered without it.")
        for request in self._answers.waiting():
            self._settle(request, _DEACTIVATED)
        if isinstance(model.segmenter, OnDevice):
            model.segmenter.release()

    def _close_camera(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            self.destroy_subscription(self._pictures)

    @guarded
    def _on_image(self, message: Image | CompressedImage) -> None:
        if self._camera is not None:
            self._camera.take(message)
            self._statistics.count_picture()

    @guarded
    def _on_command(self, message: Command) -> None:
        self._accept(Request.from_command(message))

    @guarded
    def _on_command_text(self, message: String) -> None:
        self._accept(Request.from_text(message.data))

    def _accept(self, request: Request) -> bool:
        """Queue a command, or answer it at once; whether it was queued."""
        self._last_command_s = request.received_s
        self._answers.open(request)
        limit, model = self._live_parameters.current.queue_size, self._model
        if model is not None and model.worker.stopping:
            self._settle(request, _SHUT_DOWN)
            return False
        if model is None or self._camera is None:
            self._settle(request, Outcome(Segmentation.REJECTED, f"The node is {self._state_name}, not active."))
            return False
        if (refusal := self._refusal(request)) is not None:
            self._settle(request, Outcome(Segmentation.REJECTED, refusal))
            return False
        if self._live_parameters.current.queue_policy == "latest_wins":
            for older in model.worker.withdraw(lambda waiting: waiting.operator_id == request.operator_id):
                self._settle(older, _SUPERSEDED)
        if model.worker.submit(request, limit):
            return True
        full = f"{limit} commands wait already (queue_size); send it again later."
        self._settle(request, Outcome(Segmentation.REJECTED, full))
        return False

    def _take_back(self, request: Request) -> None:
        request.taken_back.set()
        for waiting in self._model.worker.withdraw(lambda one: one is request) if self._model else ():
            self._settle(waiting, _TAKEN_BACK)

    def _refusal(self, request: Request) -> str | None:
        """Why a command is not put to the model; None when it is."""
        longest = self._live_parameters.current.max_text_length
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
        seen: Seen | None = None
        try:
            model, camera = self._model, self._camera
            if model is None or camera is None:
                raise _DeactivatedError
            seen = self._look(request, model.segmenter, camera)
            stopped = lambda: cancelled() or request.taken_back.is_set()  # noqa: E731
            outcome = self._ask(request, seen, model.segmenter, stopped, started_s)
        except _DeactivatedError:
            outcome = _DEACTIVATED
        except (NoPictureError, ImageError) as error:
            outcome = Outcome(Segmentation.NO_IMAGE, str(error))
        except Exception as error:  # whatever a model does, the command gets its answer
            self.get_logger().error(sendable(f"The command {_shown(request.text)} failed:\n{traceback.format_exc()}"))
            sentence = " ".join(f"The model failed: {type(error).__name__}: {error}".split())
            outcome = Outcome(Segmentation.FAILED, sentence, seen.header if seen else None)
        timed = dataclasses.replace(
            outcome,
            queued_ms=1000 * (started_s - request.received_s),
            total_ms=1000 * (time.monotonic() - started_s),
        )
        self._settle(request, timed, seen)

    def _look(self, request: Request, segmenter: Segmenter, camera: Camera) -> Seen:
        reference_ns = request.stamp_ns or self.get_clock().now().nanoseconds
        parameters = self._live_parameters.current
        return camera.look(segmenter, reference_ns, parameters.max_image_age, parameters.same_frame_difference)

    def _ask(
        self, request: Request, seen: Seen, segmenter: Segmenter, cancelled: Callable[[], bool], started_s: float
    ) -> Outcome:
        parameters = self._live_parameters.current
        self._dialogues.set_limits(
            max_turns=parameters.max_turns,
            max_operators=parameters.max_operators,
            max_idle_s=60 * parameters.max_dialogue_idle,
        )
        limits = Limits(parameters.max_new_tokens, request.answer or parameters.answer)
        return ask(segmenter, self._dialogues, request, seen, limits, cancelled, started_s)

    def _failed(self, request: Request, error: Exception) -> None:
        """The worker's last resort: publishing an answer failed."""
        self.get_logger().error(sendable("".join(traceback.format_exception(error))))
        self._settle(request, Outcome(Segmentation.FAILED, f"The answer could not be published: {error}"))

    def _settle(self, request: Request, outcome: Outcome, seen: Seen | None = None) -> None:
        message = self._answers.settle(request, outcome, seen)
        if message is not None:
            self._statistics.count_answer(outcome)
            if request.listener is not None:
                request.listener.settle(message)
            who_and_what = f"{_shown(request.operator_id)}: {_shown(request.text)}"
            what = sendable(outcome.detail) or f"{len(outcome.objects)} object(s)"
            self.get_logger().info(f"{who_and_what} -> {what} ({outcome.total_ms:.0f} ms)")

    def _open_camera(self) -> Camera:
        # As image_transport does: remapping `image` moves `image/compressed` along.
        topic = self.resolve_topic_name("image")
        compressed = self._live_parameters.current.image_transport == "compressed"
        self._pictures = self.create_subscription(
            CompressedImage if compressed else Image,
            f"{topic}/compressed" if compressed else topic,
            self._on_image,
            CAMERA_QOS,
        )
        return Camera(self._pictures.topic_name, lambda: int(self.get_clock().now().nanoseconds))

    def _condition(self) -> Condition:
        parameters, model, camera = self._live_parameters.current, self._model, self._camera
        return Condition(
            state=self._state_name,
            model=model.segmenter.name if model else "none",
            waiting=model.worker.waiting if model else 0,
            queue_size=parameters.queue_size,
            picture_age_s=camera.age_s() if camera else None,
            max_picture_age_s=parameters.max_image_age,
            callback_errors=self.callback_errors,
            gpu_bytes=model.segmenter.gpu_bytes() if model and isinstance(model.segmenter, OnDevice) else 0,
        )

    def _open_dialogues(self) -> Dialogues:
        parameters = self._live_parameters.current
        try:
            return open_dialogues(parameters.dialogue_file, self.get_fully_qualified_name())
        except StoreError as error:
            raise LoadError(f"Parameter dialogue_file: {error}") from error

    def _load(self) -> Segmenter:
        parameters = self._live_parameters.current
        checkpoint = parameters.checkpoint or "that comes with the package"
        self.get_logger().info(f"Loading the checkpoint {checkpoint} (quantization {parameters.quantization}) ...")
        try:
            return self._load_model(parameters)
        except Exception as error:  # the node cannot live without it, and main says why
            self.get_logger().debug(traceback.format_exc())
            raise LoadError(f"Could not load the checkpoint {checkpoint}: {type(error).__name__}: {error}") from error


def _shown(text: str) -> str:
    """For the log: what somebody sent, short, and without letters that a terminal would obey."""
    return f"{text[:_LOGGED_LETTERS]!r}"


def main(args: Sequence[str] | None = None, *, load: Load = load_from_parameters) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0; 1 when the node could not start or broke down, after saying why.
    """
    stop = threading.Event()
    node: LisaNode | None = None
    try:
        _on_signals(lambda *_: stop.set())  # a node that is half made must not be interrupted: its end would crash
        # rclpy's own handlers would end the context at once, and the last answers could not be published.
        start_ros(args, SignalHandlerOptions.NO)
        node = LisaNode(load=load)
        _on_signals(signal.default_int_handler)  # loading takes long
        if not stop.is_set():
            node.start()
        _on_signals(lambda *_: stop.set())
        return _spin(node, stop)
    except (StartError, ParameterError, LoadError) as error:
        rclpy.logging.get_logger("lisa").fatal(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _on_signals(signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _spin(node: LisaNode, stop: threading.Event) -> int:
    """Run the callbacks on another thread, so that this one can wait for a signal."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    broken: list[BaseException] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as error:  # a half-dead node is worse than none
            broken.append(error)
            node.get_logger().fatal(traceback.format_exc())
        stop.set()

    thread = threading.Thread(target=spin, name="lisa_executor", daemon=True)
    thread.start()
    stop.wait()
    node.stop(thread.is_alive)
    executor.shutdown()
    thread.join()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
