# SPDX-License-Identifier: Apache-2.0
"""The node: a camera's images and operators' commands in, masks and explanations out.

The way of a command: `_on_command` -> `Commands.accept` (rejected at once, or queued) -> `Commands.process` on a
worker's thread (a frame from `Camera`, then `run_inference`) -> `Answers.publish`. Commands of different operators are
processed at the same time, those of one operator in order. `ObjectTracking` tracks the first object of an answer.
"""

import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.store import StoreError
from lisa_ros.msg import Command
from lisa_ros.nodes.common.command_line import check_given_qos, check_program, report_overrides
from lisa_ros.nodes.common.package_log import log_to
from lisa_ros.nodes.common.starting import START_ERRORS, Stop, start_ros, use_fastdds_profile
from lisa_ros.nodes.lisa.answers.detections import NOT_INSTALLED, vision_messages
from lisa_ros.nodes.lisa.answers.model_info import ModelInfoTopic
from lisa_ros.nodes.lisa.answers.transforms import TransformBuffer, Transforms, open_tf2_buffer
from lisa_ros.nodes.lisa.camera.camera import NEAREST, Camera
from lisa_ros.nodes.lisa.camera.camera_topics import INPUTS, CameraTopics
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.commands.arrived import take_arrived
from lisa_ros.nodes.lisa.commands.command_topics import CommandTopics
from lisa_ros.nodes.lisa.commands.commands import DEACTIVATED, SHUT_DOWN, Commands
from lisa_ros.nodes.lisa.commands.operator_topics import OperatorTopics, operator_ids
from lisa_ros.nodes.lisa.commands.segment_action import SegmentAction
from lisa_ros.nodes.lisa.diagnostics import Diagnostics, NodeStatus
from lisa_ros.nodes.lisa.dialogue_services import DialogueServices, dialogue_limits, open_dialogues
from lisa_ros.nodes.lisa.lifecycle import guard_transitions
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.loading import (
    Load,
    LoadError,
    load_from_parameters,
    load_logged,
    load_tracker,
    loading_reports,
    memory_of,
    model_trouble,
)
from lisa_ros.nodes.lisa.parameters import DESCRIPTIONS, ParameterError
from lisa_ros.nodes.lisa.process import MAX_END_S, run
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.nodes.lisa.state import NodeState
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.nodes.lisa.tracking.object_tracking import ObjectTracking
from lisa_ros.segmentation.interface import DeviceMemory
from lisa_ros.tracking.flow import FlowTracker

# When the node ends, the executor still takes the commands that have arrived, as long as others follow.
_QUIET_PERIOD_S, _MAX_UNTIL_QUIET_S = 0.3, 2.0
_POLL_S = 0.02
# When the node has become active: its camera's first image is there by then, unless none is sent.
_FIRST_IMAGE_S = 2.0
_STOP_WORKER_S, _STOP_TRACKING_S = 3.0, 0.5
_AFTER_ANSWERS_S = 0.5  # of process.MAX_END_S

OpenBuffer = Callable[[Node], TransformBuffer]


class LisaNode(LifecycleNode):
    """Answers every command with one Segmentation.

    A configured node has a model, an active one also has a camera. In all other states, commands are rejected.
    """

    def __init__(
        self,
        *,
        load: Load = load_from_parameters,
        end: Callable[[], None] = lambda: None,
        open_buffer: OpenBuffer = open_tf2_buffer,
    ) -> None:
        """Open the stored dialogues and create the topics. `on_configure` loads the model.

        Args:
            load: Loads the model; tests replace it by one without weights.
            end: Ends the process; called after `failure` is set.
            open_buffer: Opens the buffer of transforms; tests replace it.

        Raises:
            ParameterError, StartError: A parameter has an invalid value.
            LoadError: The stored dialogues could not be opened.
        """
        super().__init__("lisa")
        check_given_qos(self)
        log_to(self.get_logger())
        self.callback_errors, self.failure, self._trouble, self._end_s = 0, "", "", 0.0
        self.change_state = guard_transitions(self)
        self._load_model, self._end = load, end
        self._topics: CameraTopics | None = None
        self._starter: threading.Thread | None = None
        self._state = NodeState()
        self._live_parameters = LiveParameters(self, lambda: self._state.now.uses_parameters)
        self._dialogues = self._open_dialogues()
        self._statistics = Statistics()
        operators = operator_ids(self._live_parameters.current.operators)
        self._tracking = ObjectTracking(self, self._live_parameters, self._state)
        self._transforms = Transforms(self, open_buffer)
        self._commands = Commands(
            self,
            self._live_parameters,
            self._state,
            self._dialogues,
            self._statistics,
            transforms=self._transforms,
            on_answered=self._tracking.answered,
            on_exhausted=self._on_exhausted,
            operators=operators,
            before_command=self._take_newest_images,
        )
        self._transforms.follow(self._live_parameters)
        self._model_info = ModelInfoTopic(self)
        self._diagnostics = Diagnostics(self, self._statistics, self._status)
        topics = CommandTopics(self, self._commands.has_room, self._statistics.count_unreadable)
        OperatorTopics(topics, operators, self._commands)
        self._segment_action = self._listen_to_all(topics) if self._live_parameters.current.shared_command else None
        DialogueServices(self, self._dialogues, self._live_parameters)
        if self._live_parameters.current.autostart:
            self._commands.hold()  # before the executor takes the first command

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model. The reason of a failure is in the log."""
        with self._live_parameters.changing:  # from now on, a change of what is read below is refused
            self._set_lifecycle("configuring")
            parameters = self._live_parameters.current
        try:
            with loading_reports(self):
                # The tracker first: it is loaded faster, so that what is wrong with it is known sooner.
                tracker = load_tracker(parameters)
                segmenter = load_logged(self._load_model, parameters, self.get_logger())
        except LoadError as error:
            self._trouble = str(error)
            self._set_lifecycle("unconfigured")
            self.get_logger().error(self._trouble)
            return TransitionCallbackReturn.FAILURE
        self._commands.use_model(segmenter, parameters)
        self._model_info.publish(segmenter, parameters.checkpoint)
        self._tracking.use(tracker)
        self._trouble = ""
        self._set_lifecycle("inactive")
        return TransitionCallbackReturn.SUCCESS

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """See rclpy: the way of all changes by the node's services."""
        with self._live_parameters.changing:
            return self._live_parameters.refused(parameter_list) or super().set_parameters_atomically(parameter_list)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and accept commands."""
        model = self._state.now.model
        assert model is not None
        try:
            camera = self._open_camera()
        except Exception:  # rclpy would not log it
            self.get_logger().error(f"The subscriptions to the camera failed:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.FAILURE
        self._state.change(camera=camera)
        self._set_lifecycle("active")
        self.get_logger().info(f"Ready: {model.segmenter.name}; images from {camera.topic}.")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the camera and cancel the waiting commands. Commands that are being processed are answered."""
        self._set_lifecycle("inactive")
        self._close_camera()
        self._commands.cancel_waiting(self._state.now.model, DEACTIVATED)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the model and its memory."""
        self._close_camera()
        model = self._state.change(model=None).model
        if model is not None:
            self._commands.end_model(model, _STOP_WORKER_S)
            self._model_info.publish(None, "")
        self._tracking.use(FlowTracker())  # frees the memory of a video model
        self._set_lifecycle("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, for good."""
        done = self.on_cleanup(state)
        self._set_lifecycle("finalized")
        return done

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, after a transition that raised an error."""
        return self.on_cleanup(state)

    def start(self) -> None:
        """Configure and activate on a thread of its own, if `autostart` is true. A failure ends the process.

        Commands that arrive meanwhile wait, and are answered when the node is active.
        """
        if self._live_parameters.current.autostart:
            self._starter = threading.Thread(target=self._start, name="lisa_start", daemon=True)
            self._starter.start()

    def stop(self, spinning: Callable[[], bool]) -> None:
        """Start no more commands, and return when none has arrived for a while. The executor must still run.

        Args:
            spinning: Returns whether the executor runs.
        """
        model = self._state.stop().model
        self._commands.release()
        # While the executor runs, which sends the results of goals.
        self._commands.cancel_waiting(model, SHUT_DOWN)
        if model is not None:
            model.worker.stop()
        stopped_s = time.monotonic()
        self._end_s = stopped_s + MAX_END_S - _AFTER_ANSWERS_S
        while spinning() and (now_s := time.monotonic()) < stopped_s + _MAX_UNTIL_QUIET_S:
            if now_s > max(stopped_s, self._commands.last_s) + _QUIET_PERIOD_S:
                return
            time.sleep(_POLL_S)

    def close(self) -> bool:
        """Answer the remaining commands with CANCELLED, and end the threads. The executor must have stopped.

        Returns:
            False if a thread of the model, of its loading, or of the tracker still runs.
        """
        take_arrived(self)
        model, ended = self._state.now.model, True
        if model is not None:
            model.worker.stop()  # it may have been loaded after `stop`
            ended = model.worker.join(_STOP_WORKER_S)
        if not ended:
            self.get_logger().warning("The model does not stop; its commands are answered with CANCELLED.")
        self._commands.finish_all(SHUT_DOWN)
        ended = self._tracking.close(_STOP_TRACKING_S) and ended
        self._commands.answers.close(max(0.0, self._end_s - time.monotonic()))
        if self._segment_action is not None:
            self._segment_action.close()
        self._dialogues.close()
        return ended and (self._starter is None or not self._starter.is_alive())

    def _start(self) -> None:
        try:
            started = self.trigger_configure() == TransitionCallbackReturn.SUCCESS
            started = started and self.trigger_activate() == TransitionCallbackReturn.SUCCESS
            if not started and not self._state.now.stopping:
                self._fail(self._trouble or "The node could not be activated.")
        except BaseException as error:  # another transition was requested meanwhile, or the node is being destroyed
            if not self._state.now.stopping:
                self._fail(f"The node could not be started: {type(error).__name__}: {error}")
        self._await_first_image()
        self._commands.release()

    def _await_first_image(self) -> None:
        """Return when an image has arrived or none can be expected: the camera was subscribed to a moment ago."""
        until_s = time.monotonic() + _FIRST_IMAGE_S
        while (now := self._state.now).camera is not None and not now.stopping and now.camera.age_s() is None:
            if time.monotonic() > until_s or not self.count_publishers(now.camera.topic):
                return
            time.sleep(_POLL_S)

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._end()

    def _on_exhausted(self) -> None:
        self._fail("So many commands exceeded answer_timeout that the model cannot be used any more; the node ends.")

    def _set_lifecycle(self, name: str) -> None:
        if not self._state.now.stopping:
            self._state.change(lifecycle=name)

    def _on_command(self, message: Command) -> None:
        self._commands.accept(self._commands.request(message))

    def _on_command_text(self, message: String) -> None:
        self._commands.accept(Request.from_text(message.data))

    def _listen_to_all(self, topics: CommandTopics) -> SegmentAction:
        """Take commands of all operators: two topics, and the action."""
        topics.subscribe(Command, "~/command", self._on_command)
        topics.subscribe(String, "~/command_text", self._on_command_text)
        return SegmentAction(self, self._commands, lambda: self._live_parameters.current.no_object_is == "abort")

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
        self._topics = CameraTopics(self, frames, parameters.current, self._on_images, self._needs_images)
        rectified = lambda: parameters.current.image_rectified  # noqa: E731
        return Camera(self._topics.image_topic, frames, now_ns, self._topics.arrivals, rectified)

    def _close_camera(self) -> None:
        self._state.change(camera=None)
        self._tracking.stop()
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.close()

    def _needs_images(self) -> bool:
        """Whether each image is needed when it arrives, and not only the newest one when a command arrives."""
        nearest = self._live_parameters.current.command_frame == NEAREST
        return nearest or self._commands.answers.waited_for or self._tracking.needs_images

    def _take_newest_images(self) -> None:
        if (topics := self._topics) is not None:
            topics.take_newest()

    def _on_images(self, count: int) -> None:
        self._statistics.count_images(count)
        self._tracking.wake()

    def _status(self) -> NodeStatus:
        self._take_newest_images()
        parameters, now = self._live_parameters.current, self._state.now
        model, camera, outbox = now.model, now.camera, self._commands.answers.outbox
        self._model_info.publish(model.segmenter if model else None, parameters.checkpoint if model else "")
        return NodeStatus(
            state=now.lifecycle,
            model=model.segmenter.name if model else "none",
            model_trouble=model_trouble(model.segmenter) if model else "",
            waiting=model.worker.waiting if model else 0,
            queue_size=parameters.queue_size,
            image_age_s=camera.age_s() if camera else None,
            image_trouble=camera.trouble(parameters.max_image_age) if camera else "",
            depth_trouble=camera.depth.trouble() if camera else "",
            depth_offset_s=camera.depth.offset_s() if camera else math.nan,
            lost_images=camera.arrivals.lost if camera else 0,
            callback_errors=self.callback_errors,
            dropped=outbox.dropped + self._tracking.outbox.dropped,
            pending_answers=outbox.pending,
            stuck=model.worker.stuck if model else 0,
            tracking=self._tracking.state,
            standard_messages=NOT_INSTALLED if vision_messages() is None else "published",
            unwritten_dialogues=self._dialogues.save(),
            image_publishers=self.count_publishers(camera.topic) if camera else 0,
            gpu_memory=memory_of(model.segmenter) if model else DeviceMemory(),
        )

    def _open_dialogues(self) -> Dialogues:
        parameters = self._live_parameters.current
        try:
            name, limits = self.get_fully_qualified_name(), dialogue_limits(parameters)
            return open_dialogues(parameters.dialogue_file, name, limits)
        except StoreError as error:
            raise LoadError(f"Parameter dialogue_file: {error}") from error


def main(
    args: Sequence[str] | None = None,
    *,
    load: Load = load_from_parameters,
    open_buffer: OpenBuffer = open_tf2_buffer,
) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0; 1 if the node could not start or failed; the reason is logged.
    """
    stop = Stop()
    # rclpy's own handlers shut the context down at once, before the last answers are published.
    stop.at_signals()
    node: LisaNode | None = None
    try:
        if check_program(args, "lisa_node", "Answers commands about a camera's images with masks.", DESCRIPTIONS):
            return 0
        use_fastdds_profile()
        start_ros(args, SignalHandlerOptions.NO)
        node = LisaNode(load=load, end=stop.set, open_buffer=open_buffer)
        report_overrides(node, args, INPUTS)
    except (*START_ERRORS, ParameterError, LoadError) as error:
        rclpy.logging.get_logger("lisa").fatal(str(error))
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        return 1
    return run(node, stop)


if __name__ == "__main__":
    sys.exit(main())
