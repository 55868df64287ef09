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
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
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
from lisa_ros.nodes.guarding import guarded
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
_SHUT_DOWN = Outcome(Segmentation.CANCELLED, "The node was shut down before it answered.")

Load = Callable[[NodeParameters], Segmenter]


class LoadError(RuntimeError):
    """The model, or the dialogues that were kept, could not be loaded; the text is one sentence."""


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


class LisaNode(Node):
    """Answers every command with one Segmentation about the camera's newest picture."""

    def __init__(self, *, load: Load = load_from_parameters) -> None:
        """Load the model, then listen.

        Args:
            load: makes the model; tests hand in one without weights.

        Raises:
            ParameterError: a parameter has a value that cannot be used.
            LoadError: the model or the kept dialogues could not be loaded.
        """
        super().__init__("lisa")
        self.callback_errors = 0
        self._live_parameters = LiveParameters(self)
        self._segmenter = self._load(load)
        self._dialogues = self._open_dialogues()
        self._answers = Answers(self)
        self._worker = Worker(
            self._work,
            self._failed,
            threads=self._live_parameters.current.concurrent_commands,
            lane=lambda request: request.operator_id,
        )
        self._last_command_s = time.monotonic()
        self._camera = self._open_camera()
        self._statistics = Statistics()
        Diagnostics(self, self._statistics, self._condition)
        self.create_subscription(Command, "~/command", self._on_command, _COMMAND_QOS)
        self.create_subscription(String, "~/command_text", self._on_command_text, _COMMAND_QOS)
        DialogueServices(self, self._dialogues)
        SegmentAction(self, self._accept, self._take_back)
        self.get_logger().info(f"Ready: {self._segmenter.name}; pictures from {self._camera.topic}.")

    def stop(self, spinning: Callable[[], bool]) -> None:
        """Start no command any more; return when none has come for a while. The executor must still run.

        Args:
            spinning: whether it does.
        """
        self._worker.stop()
        stopped_s = time.monotonic()
        while spinning() and (now_s := time.monotonic()) < stopped_s + _LONGEST_UNTIL_QUIET_S:
            if now_s > max(stopped_s, self._last_command_s) + _QUIET_S:
                return
            time.sleep(_POLL_S)

    def close(self) -> None:
        """After `stop`: answer what waits with CANCELLED, and end the threads. The executor must have stopped."""
        if not self._worker.join(_STOP_WORKER_S):
            self.get_logger().warning("The model does not stop; its command is answered without it.")
        for request in self._answers.waiting():
            self._settle(request, _SHUT_DOWN)
        self._answers.close(_STOP_OUTBOX_S)
        self._dialogues.close()

    @guarded
    def _on_image(self, message: Image | CompressedImage) -> None:
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
        limit = self._live_parameters.current.queue_size
        if (refusal := self._refusal(request)) is not None:
            self._settle(request, Outcome(Segmentation.REJECTED, refusal))
            return False
        if self._live_parameters.current.queue_policy == "latest_wins":
            for older in self._worker.withdraw(lambda waiting: waiting.operator_id == request.operator_id):
                self._settle(older, _SUPERSEDED)
        if self._worker.submit(request, limit):
            return True
        if self._worker.stopping:
            self._settle(request, _SHUT_DOWN)
        else:
            full = f"{limit} commands wait already (queue_size); send it again later."
            self._settle(request, Outcome(Segmentation.REJECTED, full))
        return False

    def _take_back(self, request: Request) -> None:
        request.taken_back.set()
        for waiting in self._worker.withdraw(lambda one: one is request):
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
            seen = self._look(request)
            outcome = self._ask(request, seen, lambda: cancelled() or request.taken_back.is_set(), started_s)
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

    def _look(self, request: Request) -> Seen:
        reference_ns = request.stamp_ns or self.get_clock().now().nanoseconds
        parameters = self._live_parameters.current
        return self._camera.look(
            self._segmenter, reference_ns, parameters.max_image_age, parameters.same_frame_difference
        )

    def _ask(self, request: Request, seen: Seen, cancelled: Callable[[], bool], started_s: float) -> Outcome:
        parameters = self._live_parameters.current
        self._dialogues.set_limits(
            max_turns=parameters.max_turns,
            max_operators=parameters.max_operators,
            max_idle_s=60 * parameters.max_dialogue_idle,
        )
        limits = Limits(parameters.max_new_tokens, request.answer or parameters.answer)
        return ask(self._segmenter, self._dialogues, request, seen, limits, cancelled, started_s)

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
        subscription = self.create_subscription(
            CompressedImage if compressed else Image,
            f"{topic}/compressed" if compressed else topic,
            self._on_image,
            CAMERA_QOS,
        )
        return Camera(subscription.topic_name, lambda: int(self.get_clock().now().nanoseconds))

    def _condition(self) -> Condition:
        parameters = self._live_parameters.current
        return Condition(
            model=self._segmenter.name,
            waiting=self._worker.waiting,
            queue_size=parameters.queue_size,
            picture_age_s=self._camera.age_s(),
            max_picture_age_s=parameters.max_image_age,
            callback_errors=self.callback_errors,
            gpu_bytes=self._segmenter.gpu_bytes() if isinstance(self._segmenter, OnDevice) else 0,
        )

    def _open_dialogues(self) -> Dialogues:
        parameters = self._live_parameters.current
        try:
            return open_dialogues(parameters.dialogue_file, self.get_fully_qualified_name())
        except StoreError as error:
            raise LoadError(f"Parameter dialogue_file: {error}") from error

    def _load(self, load: Load) -> Segmenter:
        parameters = self._live_parameters.current
        checkpoint = parameters.checkpoint or "that comes with the package"
        self.get_logger().info(f"Loading the checkpoint {checkpoint} (quantization {parameters.quantization}) ...")
        try:
            return load(parameters)
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
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        # rclpy's own handlers would end the context at once, and the last answers could not be published.
        start_ros(args, SignalHandlerOptions.NO)
        return _spin(LisaNode(load=load))
    except (StartError, ParameterError, LoadError) as error:
        rclpy.logging.get_logger("lisa").fatal(str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        rclpy.try_shutdown()


def _spin(node: LisaNode) -> int:
    """Run the callbacks on another thread, so that this one can wait for a signal."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
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
    node.close()
    node.destroy_node()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
