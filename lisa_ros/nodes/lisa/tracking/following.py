# SPDX-License-Identifier: Apache-2.0
"""Following the object that was answered last through the camera's pictures, on a thread of its own.

Only while someone listens: `~/tracked/*`. Now and then, and when the object is lost, the model looks for it again with
the same words, as long as no command waits for the model.
"""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from builtin_interfaces.msg import Time
from rclpy.node import Node

from lisa_ros.nodes.common.conversions import ImageError, RgbImage, rgb_image_from
from lisa_ros.nodes.lisa.answers.locating import Locator
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame
from lisa_ros.nodes.lisa.commands.answering import counts
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.nodes.lisa.tracking.tracked_topics import Sighting, TrackedTopics
from lisa_ros.segmentation.answers import Mask, MaskFound
from lisa_ros.segmentation.masks import intersection_over_union
from lisa_ros.segmentation.turns import Turn
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Follower, LossReason, Tracked, TrackState, lost

_STOP_S = 5.0
_SHOWN_LETTERS = 64
_SAME_OBJECT = 0.3
"""Least IoU of what the model finds again with what is followed; below it, it is another thing of the same name."""


@dataclass(frozen=True, eq=False)
class _Subject:
    """An object to follow: the command that named it, and the dialogue's turns before that."""

    request: Request
    turns: tuple[Turn, ...]
    references: tuple[int, ...]
    answer: str


@dataclass(frozen=True)
class _Finding:
    """A mask of the model's. `followed`: where the object was thought to be in the same picture; None: nobody knew."""

    subject: _Subject
    frame: CameraFrame
    picture: RgbImage
    mask: Mask
    followed: Mask | None = None


class Following:
    """Owns the thread, and the follower, which no other thread touches."""

    def __init__(self, node: Node, parameters: LiveParameters, commands: Commands) -> None:
        """Creates the topics on the node, and starts the thread."""
        self._node, self._parameters, self._commands = node, parameters, commands
        locator = Locator(lambda: parameters.current.image_rectified)
        self._topics = TrackedTopics(node, locator, lambda: parameters.current.points_organised)
        self._follower = Follower(FlowTracker())
        self._woken, self._closing, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._newest_finding: _Finding | None = None
        self._answer: _Finding | None = None
        self._begun = False
        self._last_frame: CameraFrame | None = None
        self._said: Sighting | None = None
        self._finding = threading.Event()
        self._next_find_ns = 0
        self._thread = threading.Thread(target=self._run, name="lisa_following", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """What is followed and how, for people."""
        answer, newest = self._answer, self._follower.newest
        if answer is None or newest is None:
            return "nothing"
        return f"{newest.state.value}: {answer.subject.request.text[:_SHOWN_LETTERS]}"

    def answered(self, request: Request, outcome: Outcome, encoded: EncodedFrame) -> None:
        """A command got its answer; its first object is followed from now on, in place of any other."""
        if not outcome.objects or encoded.source is None or self._commands.camera is None:
            return
        answer = request.answer or self._parameters.current.answer
        subject = _Subject(request, outcome.history, outcome.references, answer)
        with self._lock:
            if self._commands.camera is None:  # the node was deactivated meanwhile
                return
            self._answer = _Finding(subject, encoded.source, encoded.picture, outcome.objects[0].mask)
            self._newest_finding, self._begun = None, False
        self.wake()

    def wake(self) -> None:
        """A picture has come."""
        self._woken.set()

    def forget(self) -> None:
        """Follows nothing any more."""
        with self._lock:
            self._answer = self._newest_finding = None
            self._last_frame = None
        self.wake()

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._woken.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                self._step()
            except Exception:  # the thread must outlive whatever a camera sends
                self._node.get_logger().error(f"The object is not followed any more:\n{traceback.format_exc()}")
                self._drop()
                self.forget()

    def _step(self) -> None:
        with self._lock:
            answer, begun = self._answer, self._begun
            finding, self._newest_finding = self._newest_finding, None
        self._follower.again_after_s = self._parameters.current.track_again_after
        if not self._parameters.current.track or not self._topics.listened():
            self._drop()
            return
        if answer is None:
            self._end()
            if self._follower.newest is not None:
                self._follower.forget()
        elif not begun:
            self._begin(answer)
        elif finding is not None and finding.subject is answer.subject:
            self._correct(finding)
        self._follow(answer)

    def _begin(self, answer: _Finding) -> None:
        with self._lock:
            if self._answer is answer:
                self._begun = True
        self._said, self._next_find_ns = None, 0
        self._follower.found(answer.frame.time_ns, answer.picture, answer.mask, cancelled=self._closing.is_set)

    def _correct(self, finding: _Finding) -> None:
        """Takes the model's new mask, unless it is another thing than what is followed."""
        newest = self._follower.newest
        followed = finding.followed if newest is not None and newest.state is TrackState.TRACKED else None
        if followed is not None and intersection_over_union(finding.mask, followed) < _SAME_OBJECT:
            return
        self._follower.found(finding.frame.time_ns, finding.picture, finding.mask, cancelled=self._closing.is_set)

    def _follow(self, answer: _Finding | None) -> None:
        camera = self._commands.camera
        frame = camera.frames.newest() if camera is not None else None
        if frame is None or frame is self._last_frame:
            return
        self._last_frame = frame
        try:
            picture = rgb_image_from(frame.image)
        except ImageError:  # one picture that was cut short is none
            return
        if answer is not None and picture.shape != answer.picture.shape:
            self._node.get_logger().warning("The pictures have another size now; the object is not followed any more.")
            self._drop()
            self.forget()
            return
        tracked = self._follower.update(frame.time_ns, picture)
        if tracked is None or answer is None:
            self._end()
            return
        self._tell(answer, frame, picture, tracked)
        self._find_again(answer.subject, frame, picture, tracked)

    def _tell(self, answer: _Finding, frame: CameraFrame, picture: RgbImage, tracked: Tracked) -> None:
        """Says where the object is; that it is lost, once."""
        if tracked.state is TrackState.LOST and self._said and self._said.tracked.state is TrackState.LOST:
            return
        found_ns = self._follower.found_ns or 0
        found = Time(sec=found_ns // 1_000_000_000, nanosec=found_ns % 1_000_000_000)
        self._said = Sighting(answer.subject.request, frame, picture, tracked, found)
        self._topics.publish(self._said)

    def _end(self) -> None:
        """Nothing is followed any more: whoever listens, now or later, must not believe an old mask."""
        said, self._said = self._said, None
        if said is not None and said.tracked.state is TrackState.TRACKED:
            height, width = said.picture.shape[:2]
            self._topics.publish(replace(said, tracked=lost((height, width), LossReason.ENDED)))

    def _find_again(self, subject: _Subject, frame: CameraFrame, picture: RgbImage, tracked: Tracked) -> None:
        model = self._commands.model
        due = self._follower.should_find_again(frame.time_ns) and frame.time_ns >= self._next_find_ns
        if not due or model is None or self._finding.is_set() or not model.worker.idle:
            return
        self._next_find_ns = frame.time_ns + round(1e9 * self._parameters.current.track_again_after)
        self._finding.set()
        followed = tracked.mask if tracked.state is TrackState.TRACKED else None
        threading.Thread(
            target=self._find, args=(subject, frame, picture, followed), name="lisa_finding", daemon=True
        ).start()

    def _find(self, subject: _Subject, frame: CameraFrame, picture: RgbImage, followed: Mask | None) -> None:
        try:
            mask = self._ask(subject, frame)
            if mask is not None and mask.any():
                with self._lock:
                    self._newest_finding = _Finding(subject, frame, picture, mask, followed)
                self.wake()
        except Exception:  # following goes on without it
            self._node.get_logger().error(f"The model did not look again:\n{traceback.format_exc()}")
        finally:
            self._finding.clear()

    def _ask(self, subject: _Subject, frame: CameraFrame) -> Mask | None:
        """The model's first mask; None: it names nothing, or a command came."""
        model, camera, parameters = self._commands.model, self._commands.camera, self._parameters.current
        if model is None or camera is None:
            return None
        encoded = camera.encode(model.segmenter, frame, parameters.same_frame_difference)
        worker = model.worker
        stopped: Callable[[], bool] = lambda: self._closing.is_set() or worker.stopping or not worker.idle  # noqa: E731
        longest = parameters.max_dialogue_tokens
        session = model.segmenter.session(encoded.frame, subject.turns, max_history_tokens=longest)
        events = session.segment(
            subject.request.text,
            subject.references,
            max_new_tokens=parameters.max_new_tokens,
            cancelled=stopped,
            answer="mask_only" if subject.answer == "mask_only" else "full",
        )
        found = (event.object for event in events if isinstance(event, MaskFound))
        return next((one.mask for one in found if counts(one, parameters.min_score)), None)

    def _drop(self) -> None:
        """Nobody listens, or should hear; whoever does later begins at the answer."""
        self._end()
        self._follower.forget()
        self._last_frame = None
        with self._lock:
            self._begun = False
