# SPDX-License-Identifier: Apache-2.0
"""Tracks the most recently answered object through the camera's frames, on a thread of its own.

The object is tracked while `~/tracked/*` has a subscriber. At intervals, and when the object is lost, the model
segments the newest frame with the same command to correct the tracker, as long as no command waits.
"""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from rclpy.node import Node

from lisa_ros.nodes.common.conversions import ImageError, RgbImage, rgb_image_from
from lisa_ros.nodes.common.stamps import time_message
from lisa_ros.nodes.lisa.answers.locating import Locator
from lisa_ros.nodes.lisa.answers.outbox import Outbox
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.nodes.lisa.state import NodeState
from lisa_ros.nodes.lisa.tracking.tracked_topics import TrackedFrame, TrackedTopics
from lisa_ros.segmentation.answers import AnswerKind, Mask, MaskFound, checked_events
from lisa_ros.segmentation.found import is_object
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.segmentation.turns import Turn
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Follower, LossReason, Tracked, Tracker, TrackState, lost

_SHOWN_CHARACTERS = 64
_SAME_OBJECT_IOU = 0.3
"""Minimum IoU of the model's new mask with the tracked mask. Below it, the model found another object of this name."""


@dataclass(frozen=True, eq=False)
class _Subject:
    """The object to track: the command whose answer named it, and the dialogue before that command."""

    request: Request
    turns: tuple[Turn, ...]
    references: tuple[int, ...]
    answer: str


@dataclass(frozen=True)
class _Detection:
    """A mask of the model.

    Attributes:
        subject: The object.
        frame: The frame of the mask.
        image: Its image, RGB (H, W, 3).
        mask: (H, W).
        tracked: The tracker's mask in the same frame; None: the object was lost.
    """

    subject: _Subject
    frame: CameraFrame
    image: RgbImage
    mask: Mask
    tracked: Mask | None = None


class ObjectTracking:
    """Owns the tracking thread and the tracker, which no other thread uses."""

    def __init__(self, node: Node, parameters: LiveParameters, state: NodeState) -> None:
        """Create the topics on the node and start the thread."""
        self._node, self._parameters, self._node_state = node, parameters, state
        locator = Locator(lambda: parameters.current.image_rectified)
        self.outbox = Outbox(lambda sentence: node.get_logger().error(sentence))
        self._topics = TrackedTopics(node, self.outbox, locator, lambda: parameters.current.points_organised)
        self._follower = Follower(FlowTracker())
        self._next_tracker: Tracker | None = None
        self._woken, self._closing, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._correction: _Detection | None = None
        self._answer: _Detection | None = None
        self._tracked_answer: _Detection | None = None
        self._begun = False
        self._last_frame: CameraFrame | None = None
        self._published: TrackedFrame | None = None
        self._image_shape: tuple[int, ...] = ()
        self._next_correction_ns = 0
        self._thread = threading.Thread(target=self._run, name="lisa_tracking", daemon=True)
        self._thread.start()
        parameters.on_change(lambda _: self.wake())  # the camera may send no image that would

    @property
    def state(self) -> str:
        """State and command of the tracked object, for people."""
        answer, newest = self._answer, self._follower.newest
        if answer is None or newest is None:
            return "no object"
        return f"{newest.state.value}: {answer.subject.request.text[:_SHOWN_CHARACTERS]}"

    @property
    def needs_images(self) -> bool:
        """Whether somebody wants tracked objects."""
        return self._parameters.current.track and self._topics.has_subscribers()

    def use(self, tracker: Tracker) -> None:
        """Track with another tracker from now on; the object of the last answer is tracked from its frame again."""
        with self._lock:
            self._next_tracker = tracker
        self.wake()

    def answered(self, request: Request, outcome: Outcome, encoded: EncodedFrame) -> None:
        """Track the first object of a new answer from now on."""
        if not outcome.objects or encoded.source is None or self._node_state.now.camera is None:
            return
        answer = request.answer or self._parameters.current.answer
        subject = _Subject(request, outcome.history, outcome.references, answer)
        with self._lock:
            if self._node_state.now.camera is None:  # the node was deactivated meanwhile
                return
            self._answer = _Detection(subject, encoded.source, encoded.image, outcome.objects[0].mask)
            self._correction, self._begun = None, False
        self.wake()

    def wake(self) -> None:
        """Process the newest frame."""
        self._woken.set()

    def stop(self) -> None:
        """Stop tracking the current object."""
        with self._lock:
            self._answer = self._correction = None
            self._last_frame = None
        self.wake()

    def close(self, timeout_s: float) -> bool:
        """End the thread. Returns False if it did not end in time: its tracker works on a frame."""
        self._closing.set()
        self._woken.set()
        self._thread.join(timeout_s)
        self.outbox.close(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                self._step()
            except BaseException:  # the thread must survive every error of a tracker, SystemExit too
                self._node.get_logger().error(f"Tracking of the object stopped:\n{traceback.format_exc()}")
                self._give_up(self._tracked_answer)

    def _give_up(self, answer: _Detection | None) -> None:
        """Stop tracking the object of this answer; a newer answer that has arrived meanwhile is kept."""
        self._drop()
        with self._lock:
            if self._answer is answer:
                self._answer = self._correction = None

    def _step(self) -> None:
        with self._lock:
            tracker, self._next_tracker = self._next_tracker, None
        if tracker is not None:
            self._drop()
            self._follower = Follower(tracker)
        with self._lock:
            answer, begun = self._answer, self._begun
            self._tracked_answer = answer
            correction, self._correction = self._correction, None
        self._follower.refresh_after_s = self._parameters.current.track_again_after
        if not self.needs_images:
            self._drop()
            return
        if answer is None:
            self._end()
            if self._follower.newest is not None:
                self._follower.forget()
        elif not begun:
            self._begin(answer)
        elif correction is not None and correction.subject is answer.subject:
            self._correct(correction)
        self._track(answer)

    def _begin(self, answer: _Detection) -> None:
        with self._lock:
            if self._answer is answer:
                self._begun = True
        self._published, self._next_correction_ns = None, 0
        if self._image_shape != answer.image.shape:  # kept frames of another size cannot be tracked through
            self._follower.forget()
            self._image_shape = answer.image.shape
        self._follower.found(answer.frame.time_ns, answer.image, answer.mask, cancelled=self._closing.is_set)

    def _correct(self, correction: _Detection) -> None:
        """Continue with the model's new mask, unless it is of another object than the tracked one."""
        newest = self._follower.newest
        if newest is None:  # a bag was rewound: tracking has ended
            return
        tracked = correction.tracked if newest.state is TrackState.TRACKED else None
        if tracked is not None and intersection_over_union(correction.mask, tracked) < _SAME_OBJECT_IOU:
            return
        self._follower.found(
            correction.frame.time_ns, correction.image, correction.mask, cancelled=self._closing.is_set
        )

    def _track(self, answer: _Detection | None) -> None:
        camera = self._node_state.now.camera
        frame = camera.frames.newest() if camera is not None else None
        if frame is None or frame is self._last_frame:
            return
        with self._lock:
            if self._answer is not answer:  # a newer answer came meanwhile, and this frame may have come after it
                self.wake()
                return
        self._last_frame = frame
        try:
            image = rgb_image_from(frame.image)
        except ImageError:  # skip an image that cannot be decoded
            return
        if answer is not None and image.shape != answer.image.shape:
            self._node.get_logger().warning("The size of the images changed; the object is not tracked any more.")
            self._give_up(answer)
            return
        self._image_shape = image.shape
        tracked = self._follower.update(frame.time_ns, image)
        if tracked is None or answer is None:
            self._end()
            return
        self._publish(answer, frame, image, tracked)
        self._request_correction(answer.subject, frame, image, tracked)

    def _publish(self, answer: _Detection, frame: CameraFrame, image: RgbImage, tracked: Tracked) -> None:
        """Publish the object's mask and position. A loss is published once."""
        if tracked.state is TrackState.LOST and self._published and self._published.tracked.state is TrackState.LOST:
            return
        found = time_message(self._follower.found_ns or 0)
        self._published = TrackedFrame(answer.subject.request, frame, image, tracked, found)
        self._topics.publish(self._published)

    def _end(self) -> None:
        """Publish LOST if the last message was TRACKED, so that no subscriber, now or later, uses an old mask."""
        last, self._published = self._published, None
        if last is not None and last.tracked.state is TrackState.TRACKED:
            height, width = last.image.shape[:2]
            self._topics.publish(replace(last, tracked=lost((height, width), LossReason.ENDED)))

    def _request_correction(self, subject: _Subject, frame: CameraFrame, image: RgbImage, tracked: Tracked) -> None:
        model = self._node_state.now.model
        due = self._follower.needs_refresh(frame.time_ns) and frame.time_ns >= self._next_correction_ns
        # What was pointed at has moved since, and a text such as "this" does not name it.
        if not due or model is None or subject.request.pointing:
            return
        old_mask = tracked.mask if tracked.state is TrackState.TRACKED else None
        if model.worker.submit_background(_CorrectionJob(self, subject, frame, image, old_mask)):
            self._next_correction_ns = frame.time_ns + round(1e9 * self._parameters.current.track_again_after)

    def segment(self, job: "_CorrectionJob", cancelled: Callable[[], bool]) -> None:
        """Segment the object anew; called on a worker's thread. Cancelled when a command arrives."""
        # A model that must give a mask gives one of another object where the object is no more.
        mask_only = job.subject.answer == "mask_only" and job.tracked is not None
        mask = self._infer(job.subject, job.frame, cancelled, "mask_only" if mask_only else "full")
        if mask is not None and mask.any():
            with self._lock:
                self._correction = _Detection(job.subject, job.frame, job.image, mask, job.tracked)
            self.wake()

    def not_corrected(self, reason: str) -> None:
        """Log why the tracker was not corrected; tracking continues."""
        self._node.get_logger().error(f"The tracker was not corrected: {reason}")

    def _infer(
        self, subject: _Subject, frame: CameraFrame, cancelled: Callable[[], bool], answer: AnswerKind
    ) -> Mask | None:
        """The first mask of the model; None: it found no object, or a command arrived."""
        now, parameters = self._node_state.now, self._parameters.current
        model, camera = now.model, now.camera
        if model is None or camera is None:
            return None
        encoded = camera.encode(model.segmenter, frame, parameters.same_frame_difference)
        stopped: Callable[[], bool] = lambda: self._closing.is_set() or cancelled()  # noqa: E731
        longest = parameters.max_dialogue_tokens
        session = model.segmenter.session(encoded.encoded, subject.turns, max_history_tokens=longest)
        events = session.segment(
            subject.request.text,
            subject.references,
            max_new_tokens=parameters.max_new_tokens,
            cancelled=stopped,
            answer=answer,
        )
        checked = checked_events(events, encoded.image.shape[:2])
        found = (event.object for event in checked if isinstance(event, MaskFound))
        return next((one.mask for one in found if is_object(one, parameters.min_score)), None)

    def _drop(self) -> None:
        """Stop the tracker: no subscriber, or `track` is false. A later subscriber starts at the answer's frame."""
        self._end()
        self._follower.forget()
        self._last_frame = None
        with self._lock:
            self._begun = False


@dataclass(frozen=True, eq=False)
class _CorrectionJob:
    """A correction of the tracker as a background job of the worker: commands come first."""

    tracking: ObjectTracking
    subject: _Subject
    frame: CameraFrame
    image: RgbImage
    tracked: Mask | None

    @property
    def lane(self) -> str:
        return "tracking"

    def run(self, cancelled: Callable[[], bool]) -> None:
        self.tracking.segment(self, cancelled)

    def fail(self, error: BaseException) -> None:
        self.tracking.not_corrected("".join(traceback.format_exception(error)))

    def time_out(self, timeout_s: float) -> None:
        self.tracking.not_corrected(f"the model did not answer within {timeout_s:g} s (answer_timeout)")
