# SPDX-License-Identifier: Apache-2.0
"""The thread that tracks an object, in this process: answers that come at bad moments, and a tracker that fails."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import camera_images
import pytest
from builtin_interfaces.msg import Time
from rclpy.parameter import Parameter
from ros_harness import talking_node, wait_until
from scripted_segmenter import ScriptedSegmenter, ScriptedSession, pixels_of
from std_msgs.msg import Header

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.answers.transforms import Transforms
from lisa_ros.nodes.lisa.camera.camera import Camera
from lisa_ros.nodes.lisa.camera.frames import CameraFrame, EncodedFrame, FrameBuffer
from lisa_ros.nodes.lisa.commands.commands import Commands
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.node import LisaNode
from lisa_ros.nodes.lisa.request import Outcome, Processed, Request
from lisa_ros.nodes.lisa.state import Model, NodeState
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.nodes.lisa.tracking.object_tracking import ObjectTracking, _CorrectionJob
from lisa_ros.nodes.lisa.tracking.tracked_topics import TrackedFrame
from lisa_ros.segmentation.answers import ObjectMask
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.tracking.interface import Image, LossReason, Mask, Tracked, TrackState, lost


class Still:
    """A tracker of an object that does not move."""

    def start(self, image: Image, mask: Mask) -> None:
        self.mask = mask

    def update(self, image: Image) -> Tracked:
        return Tracked(self.mask, TrackState.TRACKED, 1.0)


class Ending(Still):
    """A tracker that ends the thread it runs on."""

    def __init__(self) -> None:
        self.used = False

    def update(self, image: Image) -> Tracked:
        self.used = True
        raise SystemExit(1)


class Vanishing(Still):
    """A tracker of an object that is gone at once."""

    def update(self, image: Image) -> Tracked:
        return lost(image.shape[:2], LossReason.HIDDEN)


class Bench:
    """The tracking thread with a camera. Its topics have a subscriber, and what it publishes is kept."""

    def __init__(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node, self.parameters, self.state = node, LiveParameters(node, lambda: False), NodeState()
        self.parameters.current = replace(self.parameters.current, track_again_after=0.0)
        self.camera = Camera("/image", FrameBuffer(lambda: 1, lambda: 10.0, lambda: 0.02), lambda: 1)
        self.state.change(camera=self.camera)
        self.tracking = ObjectTracking(node, self.parameters, self.state)
        self.published: list[TrackedFrame] = []
        monkeypatch.setattr(self.tracking._topics, "has_subscribers", lambda: True)
        monkeypatch.setattr(self.tracking._topics, "publish", self.published.append)
        self.tracking.use(Still())

    def show(self, stamp: Time) -> CameraFrame:
        message = camera_images.message("rgb8")
        message.header.stamp = stamp
        self.camera.frames.add_image(message)
        self.tracking.wake()
        frame = self.camera.frames.newest()
        assert frame is not None
        return frame

    def answer(self, identity: str, frame: CameraFrame) -> tuple[Request, Outcome, EncodedFrame]:
        image = camera_images.colours()
        encoded = EncodedFrame(frame.header, image, None, False, frame)
        outcome = Outcome(
            Segmentation.OK,
            header=frame.header,
            answer="[SEG]",
            objects=(ObjectMask(pixels_of(image, "red"), (0, 5)),),
        )
        return Request(identity, "ann", "red"), outcome, encoded

    def tracked(self, identity: str, stamp: Time) -> TrackedFrame:
        def found() -> TrackedFrame | None:
            about = (one for one in list(self.published) if one.frame.header.stamp == stamp)
            return next((one for one in about if one.request.id == identity), None)

        frame: TrackedFrame = wait_until(found, f"the object of {identity} at {stamp.sec} s")
        return frame


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with talking_node("bench") as node:
        bench = Bench(node, monkeypatch)
        yield bench
        bench.tracking.close(10.0)


def test_a_frame_that_comes_after_an_answer_is_not_tracked_for_an_earlier_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.show(Time(sec=1))
    bench.tracking.answered(*bench.answer("old", first))
    bench.show(Time(sec=2))
    bench.tracked("old", Time(sec=2))
    newest: Callable[[], CameraFrame | None] = bench.camera.frames.newest
    answered: list[CameraFrame] = []

    def newest_after_an_answer() -> CameraFrame | None:
        """The tracking thread has chosen the old object when the new answer and the next frame come."""
        if not answered:
            answered.append(first)
            bench.tracking.answered(*bench.answer("new", first))
            bench.show(Time(sec=3))
        return newest()

    monkeypatch.setattr(bench.camera.frames, "newest", newest_after_an_answer)
    bench.tracking.wake()
    bench.tracked("new", Time(sec=3))
    assert not [one for one in bench.published if one.request.id == "old" and one.frame.header.stamp.sec == 3]


def test_an_answer_is_tracked_before_it_is_published(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    commands = Commands(
        bench.node,
        bench.parameters,
        bench.state,
        Dialogues(),
        Statistics(),
        transforms=Transforms(bench.node),
        on_answered=lambda request, outcome, encoded: order.append("tracked"),
        on_exhausted=lambda: None,
    )
    monkeypatch.setattr(commands.answers.outbox, "post_answer", lambda *given: order.append("published"))
    request, outcome, encoded = bench.answer("1", bench.show(Time(sec=1)))
    commands.answers.register(request)
    commands.finish(request, outcome, Processed(outcome, encoded))
    commands.answers.register(request)
    commands.finish(request, Outcome(Segmentation.CANCELLED, header=Header()), Processed(outcome, encoded))
    commands.answers.close(10.0)
    assert order == ["tracked", "published", "published"], "an answer without an object is not tracked"


def test_after_a_tracker_that_ends_its_thread_the_next_object_is_tracked(bench: Bench) -> None:
    ending = Ending()
    bench.tracking.use(ending)
    bench.tracking.answered(*bench.answer("1", bench.show(Time(sec=1))))
    bench.show(Time(sec=2))
    wait_until(lambda: ending.used, "the use of the tracker")
    bench.tracking.use(Still())
    bench.tracking.answered(*bench.answer("2", bench.show(Time(sec=3))))
    bench.show(Time(sec=4))
    bench.tracked("2", Time(sec=4))


@pytest.mark.parametrize(
    "stamp",
    [Time(sec=(1 << 31) - 1, nanosec=(1 << 32) - 1), Time(sec=-(1 << 31), nanosec=0), Time(sec=-1, nanosec=5)],
    ids=["the largest", "the smallest", "negative"],
)
def test_stamps_that_no_clock_has_are_tracked(bench: Bench, stamp: Time) -> None:
    frame = bench.show(stamp)
    bench.tracking.answered(*bench.answer("1", frame))
    bench.show(stamp)  # the thread may have looked at the first image before the answer came
    assert bench.tracked("1", stamp).found.sec == stamp.sec


def test_a_lost_object_is_not_taken_for_another_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With "mask_only" a model always gives a mask, and "this" names nothing without the point of that time."""
    jobs: list[Any] = []
    worker: Any = SimpleNamespace(submit_background=lambda job: jobs.append(job) or True)
    bench.state.change(model=Model(ScriptedSegmenter(), worker))
    bench.parameters.current = replace(bench.parameters.current, track_again_after=0.1)
    bench.tracking.use(Vanishing())
    kinds: list[str] = []
    segment = ScriptedSession.segment

    def recorded(session: ScriptedSession, *arguments: Any, answer: str, **named: Any) -> Any:
        kinds.append(answer)
        return segment(session, *arguments, answer=answer, **named)

    monkeypatch.setattr(ScriptedSession, "segment", recorded)

    def states() -> list[tuple[str, TrackState]]:
        return [(one.request.id, one.tracked.state) for one in list(bench.published)]

    def lose(identity: str, second: int, **changes: Any) -> None:
        request, outcome, encoded = bench.answer(identity, bench.show(Time(sec=second)))
        bench.tracking.answered(replace(request, answer="mask_only", **changes), outcome, encoded)
        bench.show(Time(sec=second + 1))
        # Of which image that is said depends on when the thread began.
        wait_until(lambda: (identity, TrackState.LOST) in states(), f"the loss of {identity}")

    lose("pointed", 1, text="this", pointing=Pointing(points=((3.0, 3.0),)))
    lose("named", 3)
    wait_until(lambda: jobs, "a search for the object")
    assert [job.subject.request.id for job in jobs] == ["named"]
    jobs[0].run(lambda: False)
    assert kinds == ["full"], "the model may find nothing"


def test_tracking_that_is_switched_off_ends_without_another_image(bench: Bench) -> None:
    bench.tracking.answered(*bench.answer("1", bench.show(Time(sec=1))))
    bench.show(Time(sec=2))
    bench.tracked("1", Time(sec=2))
    assert bench.node.set_parameters([Parameter("track", value=False)])[0].successful
    wait_until(lambda: bench.published[-1].tracked.state is TrackState.LOST, "its end")


def test_a_correction_that_comes_after_a_bag_was_rewound_does_not_begin_tracking_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.tracking.answered(*bench.answer("one", bench.show(Time(sec=100))))
    bench.tracked("one", bench.show(Time(sec=101)).header.stamp)
    answer = bench.tracking._answer
    assert answer is not None
    bench.show(Time(sec=1))
    wait_until(lambda: bench.published[-1].tracked.reason is LossReason.ENDED, "the end of tracking")
    monkeypatch.setattr(bench.tracking, "_infer", lambda *_: answer.mask)
    bench.tracking.segment(_CorrectionJob(bench.tracking, answer.subject, answer.frame, answer.image, None), bool)
    last = bench.show(Time(sec=2))
    wait_until(lambda: bench.tracking._last_frame is last and not bench.tracking._correction, "the next frame")
    assert bench.published[-1].tracked.reason is LossReason.ENDED


def test_a_tracker_that_does_not_end_is_reported_so_that_the_process_ends_without_it(bench: Bench) -> None:
    """Python's own end stopped its thread inside OpenCV, which aborted the process."""
    working, goes_on = threading.Event(), threading.Event()

    class Slow(Still):
        def update(self, image: Image) -> Tracked:
            working.set()
            goes_on.wait(60)
            return super().update(image)

    bench.tracking.use(Slow())
    bench.tracking.answered(*bench.answer("1", bench.show(Time(sec=1))))
    bench.show(Time(sec=2))
    assert working.wait(60)
    assert bench.tracking.close(0.1) is False
    node = MagicMock(subscriptions=(), _starter=None, _end_s=0.0, _tracking=bench.tracking)
    node._state.now.model = None
    assert LisaNode.close(node) is False
    goes_on.set()
    assert bench.tracking.close(60) is True
    assert LisaNode.close(node) is True
