# SPDX-License-Identifier: Apache-2.0
"""The node: a camera's images and operators' commands in, masks and explanations out.

The way of a command: `_on_command` -> `Commands.accept` (rejected at once, or queued) -> `Commands._work` on a worker's
thread (a frame from `Camera`, then `run_inference`) -> `Answers.publish`. Commands of different operators are processed
at the same time, those of one operator in order. The first object of an answer is then tracked by `ObjectTracking`, on
a thread of its own.
"""

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.store import StoreError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.msg import Command
from lisa_ros.nodes.common.command_line import check_program, report_overrides
from lisa_ros.nodes.common.guarding import guarded, guarded_by
from lisa_ros.nodes.common.starting import StartError, start_ros
from lisa_ros.nodes.lisa.camera.camera import NEAREST, Camera
from lisa_ros.nodes.lisa.camera.camera_topics import CameraTopics
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.commands.commands import DEACTIVATED, SHUT_DOWN, Commands
from lisa_ros.nodes.lisa.commands.segment_action import SegmentAction
from lisa_ros.nodes.lisa.diagnostics import Diagnostics, NodeStatus
from lisa_ros.nodes.lisa.dialogue_services import DialogueServices, dialogue_limits, open_dialogues
from lisa_ros.nodes.lisa.loading import loading_reports
from lisa_ros.nodes.lisa.parameters import DESCRIPTIONS, LiveParameters, NodeParameters, ParameterError
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.nodes.lisa.tracking.object_tracking import ObjectTracking
from lisa_ros.segmentation.interface import OnDevice, Segmenter

# Commands are small, so all of them are kept until the executor takes them, whatever their number.
_COMMAND_QOS = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
# When the node ends, commands that have arrived in this process but not at the executor are answered too.
_QUIET_PERIOD_S = 0.3
_MAX_UNTIL_QUIET_S = 3.0
_POLL_S = 0.02
_STOP_WORKER_S = 10.0
_STOP_OUTBOX_S = 10.0

DEMONSTRATION = (
    "No checkpoint is given: the demonstration model runs. It knows 14 kinds of objects of the simulated table, "
    "and nothing else. Another one: -p checkpoint:=FOLDER, or a Hugging Face id such as xinlai/LISA-7B-v1."
)

Load = Callable[[NodeParameters], Segmenter]


class LoadError(RuntimeError):
    """The model or the stored dialogues could not be loaded; the text is one sentence."""


def load_from_parameters(parameters: NodeParameters) -> Segmenter:
    """Load the checkpoint that the parameters name."""
    checkpoint = parameters.checkpoint or embedded_checkpoint()
    options = LoadOptions(
        template=parameters.template,
        precision=parameters.precision,
        quantization=parameters.quantization,
        device=parameters.device,
        vision_tower=parameters.vision_tower or None,
        cache_mib=parameters.cache_mib,
        threads=parameters.threads,
    )
    return load_segmenter(checkpoint, options)


class LisaNode(LifecycleNode):
    """Answers every command with one Segmentation.

    A configured node has a model, an active one also has a camera. In all other states, commands are rejected.
    """

    def __init__(self, *, load: Load = load_from_parameters) -> None:
        """Open the stored dialogues and create the topics. `on_configure` loads the model.

        Args:
            load: Loads the model; tests replace it by one without weights.

        Raises:
            ParameterError: A parameter has an invalid value.
            LoadError: The stored dialogues could not be opened.
        """
        super().__init__("lisa")
        self.callback_errors = 0
        # In rclpy, an invalid transition ends the executor; guarded, it is refused.
        self._service_change_state.callback = guarded_by(self, self._service_change_state.callback)
        self._load_model = load
        self._topics: CameraTopics | None = None
        self.trouble = ""
        self._live_parameters = LiveParameters(self, lambda: self._commands.model is not None)
        self._dialogues = self._open_dialogues()
        self._statistics = Statistics()
        self._commands = Commands(self, self._live_parameters, self._dialogues, self._statistics)
        self._tracking = ObjectTracking(self, self._live_parameters, self._commands)
        self._commands.on_answered = self._tracking.answered
        self._diagnostics = Diagnostics(self, self._statistics, self._status)
        self.create_subscription(Command, "~/command", self._on_command, _COMMAND_QOS)
        self.create_subscription(String, "~/command_text", self._on_command_text, _COMMAND_QOS)
        DialogueServices(self, self._dialogues)
        self._segment_action = SegmentAction(self, self._commands)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. The reason of a failure is in `trouble`."""
        self._commands.state_name = "configuring"
        try:
            with loading_reports(self, self._diagnostics.publish):
                segmenter = self._load()
            self._commands.start(segmenter)
        except LoadError as error:
            self.trouble, self._commands.state_name = str(error), "unconfigured"
            self.get_logger().error(self.trouble)
            return TransitionCallbackReturn.FAILURE
        self.trouble, self._commands.state_name = "", "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and accept commands."""
        assert self._commands.model is not None
        try:
            camera = self._open_camera()
        except Exception:  # rclpy would not log it
            self.get_logger().error(f"The subscriptions to the camera failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._commands.state_name = "active"
        self.get_logger().info(f"Ready: {self._commands.model.segmenter.name}; images from {camera.topic}.")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the camera and cancel the waiting commands. Commands that are being processed are answered."""
        self._commands.state_name = "inactive"
        self._close_camera()
        self._commands.cancel_waiting(DEACTIVATED)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and its memory."""
        self._close_camera()
        segmenter = self._commands.end(_STOP_WORKER_S)
        if isinstance(segmenter, OnDevice):
            segmenter.release()
        self._commands.state_name = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, for good."""
        done = self.on_cleanup(state)
        self._commands.state_name = "finalized"
        return done

    def start(self) -> None:
        """Configure and activate, if `autostart` is true.

        Raises:
            LoadError: It could not be configured or activated.
        """
        if not self._live_parameters.current.autostart:
            return
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise LoadError(self.trouble or "The node could not be configured.")
        if self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            raise LoadError("The node could not be activated.")

    def stop(self, spinning: Callable[[], bool]) -> None:
        """Start no more commands, and return when none has arrived for a while. The executor must still run.

        Args:
            spinning: Returns whether the executor runs.
        """
        self._commands.state_name = "shutting down"
        # While the executor runs, which sends the results of goals.
        self._commands.cancel_waiting(SHUT_DOWN)
        if self._commands.model is not None:
            self._commands.model.worker.stop()
        stopped_s = time.monotonic()
        while spinning() and (now_s := time.monotonic()) < stopped_s + _MAX_UNTIL_QUIET_S:
            if now_s > max(stopped_s, self._commands.last_s) + _QUIET_PERIOD_S:
                return
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Answer the remaining commands with CANCELLED, and end the threads. The executor must have stopped."""
        model = self._commands.model
        if model is not None and not model.worker.join(_STOP_WORKER_S):
            self.get_logger().warning("The model does not stop; its commands are answered with CANCELLED.")
        self._commands.finish_all(SHUT_DOWN)
        self._tracking.close()
        self._commands.answers.close(_STOP_OUTBOX_S)
        self._segment_action.close()
        self._dialogues.close()

    @guarded
    def _on_command(self, message: Command) -> None:
        self._commands.accept(self._commands.request(message))

    @guarded
    def _on_command_text(self, message: String) -> None:
        self._commands.accept(Request.from_text(message.data))

    def _open_camera(self) -> Camera:
        parameters = self._live_parameters
        now_ns = lambda: int(self.get_clock().now().nanoseconds)  # noqa: E731
        frames = FrameBuffer(
            now_ns,
            # If only the newest frame is used, others are kept until their depth image has arrived.
            lambda: parameters.current.frame_buffer if parameters.current.command_frame == NEAREST else 0.0,
            lambda: parameters.current.sync_tolerance,
            lambda: parameters.current.depth_wait,
        )
        self._topics = CameraTopics(self, frames, parameters.current, self._on_image)
        camera = Camera(self._topics.image_topic, frames, now_ns)
        self._commands.camera = camera
        return camera

    def _close_camera(self) -> None:
        self._commands.camera = None
        self._tracking.stop()
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()

    def _on_image(self) -> None:
        self._statistics.count_image()
        self._tracking.wake()

    def _status(self) -> NodeStatus:
        parameters, model, camera = self._live_parameters.current, self._commands.model, self._commands.camera
        return NodeStatus(
            state=self._commands.state_name,
            model=model.segmenter.name if model else "none",
            waiting=model.worker.waiting if model else 0,
            queue_size=parameters.queue_size,
            image_age_s=camera.age_s() if camera else None,
            max_image_age_s=parameters.max_image_age,
            callback_errors=self.callback_errors,
            tracking=self._tracking.state,
            unwritten_dialogues=self._dialogues.save(),
            gpu_bytes=model.segmenter.gpu_bytes() if model and isinstance(model.segmenter, OnDevice) else 0,
        )

    def _open_dialogues(self) -> Dialogues:
        parameters = self._live_parameters.current
        try:
            name, limits = self.get_fully_qualified_name(), dialogue_limits(parameters)
            return open_dialogues(parameters.dialogue_file, name, limits)
        except StoreError as error:
            raise LoadError(f"Parameter dialogue_file: {error}") from error

    def _load(self) -> Segmenter:
        parameters = self._live_parameters.current
        checkpoint = f"checkpoint {parameters.checkpoint}" if parameters.checkpoint else "embedded checkpoint"
        if not parameters.checkpoint:
            self.get_logger().warning(DEMONSTRATION)
        self.get_logger().info(f"Loading the {checkpoint} (quantization {parameters.quantization}) ...")
        try:
            return self._load_model(parameters)
        except Exception as error:  # main logs the reason and ends the node
            self.get_logger().debug(traceback.format_exc())
            raise LoadError(f"Could not load the {checkpoint}: {type(error).__name__}: {error}") from error


def main(args: Sequence[str] | None = None, *, load: Load = load_from_parameters) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0; 1 if the node could not start or its executor failed; the reason is logged.
    """
    stop = threading.Event()
    node: LisaNode | None = None
    try:
        _on_signals(lambda *_: stop.set())  # interrupting the constructor would crash
        # rclpy's own handlers shut the context down at once, before the last answers are published.
        if check_program(args, "lisa_node", "Answers commands about a camera's images with masks.", DESCRIPTIONS):
            return 0
        start_ros(args, SignalHandlerOptions.NO)
        node = LisaNode(load=load)
        report_overrides(node, args)
        _on_signals(signal.default_int_handler)  # loading takes long and may be interrupted
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
    """Run the executor on another thread, so that this one can wait for a signal."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    broken: list[BaseException] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as error:  # without its executor the node is useless
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
