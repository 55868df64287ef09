# SPDX-License-Identifier: Apache-2.0
"""The answered object tracked at camera rate, with lisa_node as another process."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from depth_camera import FRAME_ID, DepthCamera
from geometry_msgs.msg import PoseStamped
from moving_images import HEIGHT, WIDTH, background, placed, target
from node_probe import Probe, pixels, probing
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import scripted_node, started, talking_node, wait_until
from scripted_segmenter import pixels_of
from seeing_tracker import noticing_tracker, seeing_tracker
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation, TrackedObject
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.parameters import NodeParameters, ParameterError
from lisa_ros.nodes.lisa.tracking.trackers import tracker_from_parameters
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import LossReason
from lisa_ros.tracking.video_models import load_video_tracker

DEPTH = np.full((HEIGHT, WIDTH), 0.8, dtype=np.float32)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def probe(scripted_probe: Probe) -> Iterator[Probe]:
    assert scripted_probe.set_parameter("track_again_after", 0.0).successful
    yield scripted_probe
    assert scripted_probe.set_parameter("track_again_after", 5.0).successful


@pytest.fixture(scope="module")
def camera(probe: Probe) -> DepthCamera:
    return DepthCamera(probe)


class Listener:
    """The messages of a planner that subscribes to `~/tracked/*`."""

    def __init__(self, node: Node, name: str = "lisa") -> None:
        self.objects: list[TrackedObject] = []
        self.poses: list[PoseStamped] = []
        self.masks: list[Image] = []
        node.create_subscription(TrackedObject, f"/{name}/tracked/object", self.objects.append, LATCHED)
        node.create_subscription(PoseStamped, f"/{name}/tracked/pose", self.poses.append, 10)
        node.create_subscription(Image, f"/{name}/tracked/mask", self.masks.append, 10)

    def of(self, stamp: Any) -> TrackedObject | None:
        return next((one for one in list(self.objects) if one.header.stamp == stamp), None)


@contextmanager
def subscribed(name: str = "lisa") -> Iterator[Listener]:
    """A planner that subscribes while the block runs."""
    with talking_node("planner") as node:
        yield Listener(node, name)


def scene(x: int, y: int = 40) -> NDArray[np.uint8]:
    return placed(background(0), target(), x, y)[0]


def empty_scene() -> NDArray[np.uint8]:
    """The scene without the object."""
    return placed(background(0), target(), 3 * WIDTH, 0)[0]


def in_state(received: Listener, state: int) -> Callable[[Any], Any]:
    """For `shown_until`: the message about a frame, if it has this state."""
    return lambda stamp: next((one for one in [received.of(stamp)] if one and one.state == state), None)


def located_in(received: Listener) -> Callable[[Any], Any]:
    """For `shown_until`: the message about a frame, if its depth came, too: a camera's messages may be late or lost."""
    return lambda stamp: next((one for one in [received.of(stamp)] if one and one.object.located), None)


def shown_until(camera: DepthCamera, image: NDArray[np.uint8], find: Callable[[Any], Any], what: str) -> Any:
    """Publish an image, with new stamps, until `find` returns something for one of them."""
    stamps: list[Any] = []

    def found() -> Any:
        stamps.append(camera.show(image, DEPTH).stamp)
        return next(filter(None, map(find, stamps)), None)

    return wait_until(found, what)


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def begin(camera: DepthCamera, text: str = "red") -> Segmentation:
    return camera.ask_about(text, lambda answer: bool(answer.objects), image=scene(20), depth_m=DEPTH)


def test_an_object_is_tracked_then_lost(probe: Probe, camera: DepthCamera) -> None:
    with subscribed() as received:
        answer = begin(camera)
        for x in range(20, 61, 4):
            tracked = shown_until(camera, scene(x), located_in(received), f"the object at {x}")
            assert tracked.state == TrackedObject.TRACKED and tracked.id == answer.id and tracked.text == "red"
            assert iou(pixels(tracked.object.mask), pixels_of(scene(x), "red")) > 0.8
            assert tracked.object.name == answer.objects[0].name == "red"
            assert tracked.object.located and tracked.object.pose.position.z == pytest.approx(0.8, abs=1e-3)
        assert tracked.found == answer.header.stamp
        wait_until(lambda: any(pose.header.stamp == tracked.header.stamp for pose in received.poses), "its pose")
        tracked = shown_until(camera, empty_scene(), in_state(received, TrackedObject.LOST), "the loss")
        assert (
            tracked.detail.startswith("The object is lost: ")
            and tracked.object.pixels == 0
            and tracked.confidence == 0.0
        )
        assert not tracked.object.located
        wait_until(lambda: received.masks and not any(received.masks[-1].data), "an empty mask")
        count = len(received.objects)
        with subscribed() as late:
            wait_until(
                lambda: late.objects and late.objects[-1].state == TrackedObject.LOST, "the loss, for a late subscriber"
            )
        assert len(received.objects) == count, "a loss is published once"


def test_a_newer_answer_replaces_the_object(probe: Probe, camera: DepthCamera) -> None:
    with subscribed() as received:
        begin(camera)
        shown_until(camera, scene(20), received.of, "the first")
        second = begin(camera)
        tracked = shown_until(
            camera, scene(20), lambda stamp: (one := received.of(stamp)) and one.id == second.id and one, "the second"
        )
        assert tracked.state == TrackedObject.TRACKED


def test_a_late_subscriber_gets_the_object_of_the_earlier_answer(probe: Probe, camera: DepthCamera) -> None:
    answer = begin(camera)
    with subscribed() as received:
        tracked = shown_until(camera, scene(22), received.of, "the object")
        assert tracked.id == answer.id and tracked.state == TrackedObject.TRACKED


def test_with_track_false_no_object_is_tracked(probe: Probe, camera: DepthCamera) -> None:
    with subscribed() as received:
        begin(camera)
        shown_until(camera, scene(20), received.of, "the object")
        assert probe.set_parameter("track", False).successful
        try:
            wait_until(
                lambda: camera.show(scene(20), DEPTH) and received.objects[-1].state == TrackedObject.LOST, "its end"
            )
            answer = begin(camera)
            assert not any(one.id == answer.id for one in received.objects)
        finally:
            assert probe.set_parameter("track", True).successful
        shown_until(camera, scene(20), lambda stamp: (o := received.of(stamp)) and o.id == answer.id, "the object now")


def test_images_of_another_size_end_tracking_and_the_node_continues(probe: Probe, camera: DepthCamera) -> None:
    with subscribed() as received:
        begin(camera)
        shown_until(camera, scene(20), received.of, "the object")
        small = scene(20)[:60, :80].copy()
        wait_until(
            lambda: camera.show(small, DEPTH[:60, :80]) and received.objects[-1].state == TrackedObject.LOST, "the end"
        )
        assert received.objects[-1].detail == "The object is lost: it is no longer tracked."
        answer = camera.ask_about("red", lambda a: bool(a.objects), image=small, depth_m=DEPTH[:60, :80])
        assert answer.status == Segmentation.OK
        begin(camera)
        tracked = shown_until(camera, scene(20), received.of, "the object again")
        assert tracked.state == TrackedObject.TRACKED


def test_a_truncated_image_or_a_repeated_one_does_not_end_tracking(probe: Probe, camera: DepthCamera) -> None:
    with subscribed() as received:
        answer = begin(camera)
        shown_until(camera, scene(20), received.of, "the object")
        header = camera.show(scene(22), DEPTH)
        twice = to_image_message(scene(22), "rgb8", header)
        probe.show(twice)
        broken = to_image_message(scene(22), "rgb8", Header(stamp=probe.stamp_now(), frame_id=FRAME_ID))
        broken.data = broken.data[:100]
        probe.show(broken)
        tracked = shown_until(camera, scene(24), received.of, "the object after it")
        assert tracked.id == answer.id and tracked.state == TrackedObject.TRACKED
        assert not any(one.state == TrackedObject.LOST for one in received.objects if one.id == answer.id)


def test_the_model_finds_what_was_lost() -> None:
    node = scripted_node("-r", "__node:=finder", "-p", "track_again_after:=0.2")
    with probing("finder") as probe, started(node) as process, subscribed("finder") as received:
        probe.wait_for_node(process)
        camera = DepthCamera(probe)
        begin(camera)
        shown_until(camera, scene(20), in_state(received, TrackedObject.TRACKED), "the object")
        lost = shown_until(camera, empty_scene(), in_state(received, TrackedObject.LOST), "the loss")
        again = shown_until(camera, scene(90), in_state(received, TrackedObject.TRACKED), "the object elsewhere")
        assert iou(pixels(again.object.mask), pixels_of(scene(90), "red")) > 0.8
        assert (again.found.sec, again.found.nanosec) > (lost.found.sec, lost.found.nanosec)


@pytest.mark.parametrize("kind", ["sam2", "edgetam", "sam3"])
def test_a_video_model_tracks_loses_and_finds_the_object_in_the_nodes_place_of_optical_flow(
    tmp_path: Path, kind: str
) -> None:
    image, covered = scene(20), np.zeros_like(scene(20))
    truth = pixels_of(image, "red")
    checkpoint = noticing_tracker(tmp_path / kind, kind, image, truth, covered)
    tracker = ["-p", f"tracker:={kind}", "-p", f"tracker_checkpoint:={checkpoint}", "-p", "device:=cpu"]
    node = scripted_node("-r", "__node:=video", "-p", "track_again_after:=0.0", *tracker)
    with probing("video") as probe, started(node) as process, subscribed("video") as received:
        probe.wait_for_node(process)
        camera = DepthCamera(probe)
        answer = begin(camera)
        found = shown_until(camera, image, received.of, "the object")
        expected = load_video_tracker(kind, checkpoint, "cpu")
        expected.start(image, truth)
        # How many frames the model has seen is the node's own matter: the answer is one of the first.
        answers = [expected.update(image) for _ in range(20)]
        assert found.state == TrackedObject.TRACKED and found.id == answer.id
        assert iou(pixels(found.object.mask), truth) < 0.5, "the flow tracker would find the object"
        assert any((pixels(found.object.mask) == one.mask).all() for one in answers)
        lost = shown_until(camera, covered, in_state(received, TrackedObject.LOST), "the loss")
        assert lost.detail.startswith("The object is lost: ") and lost.object.pixels == 0
        again = shown_until(camera, image, located_in(received), "the object again")
        assert again.id == answer.id and again.found == answer.header.stamp, "the segmenter was not asked again"
        assert again.object.pixels > 0 and again.state == TrackedObject.TRACKED


def test_a_video_model_finds_an_object_again_by_itself(tmp_path: Path) -> None:
    """It is covered where it stands, then it leaves the view and comes back elsewhere; the segmenter is not asked."""
    places = [(x, y) for x in range(0, 110, 15) for y in (5, 40, 70)]
    seen = [placed(background(0), target(), *place) for place in places]
    checkpoint = seeing_tracker(tmp_path / "sam2", seen)
    arguments = ["-p", "tracker:=sam2", "-p", f"tracker_checkpoint:={checkpoint}", "-p", "device:=cpu"]
    node = scripted_node("-r", "__node:=seeing", "-p", "track_again_after:=0.0", *arguments)
    with probing("seeing") as probe, started(node) as process, subscribed("seeing") as received:
        probe.wait_for_node(process)
        camera = DepthCamera(probe)
        answer = begin(camera)

        def tracked_at(x: int, y: int) -> TrackedObject:
            image, truth = placed(background(0), target(), x, y)
            found: TrackedObject = shown_until(camera, image, located_in(received), f"it at {x}")
            assert found.state == TrackedObject.TRACKED
            assert found.id == answer.id and iou(pixels(found.object.mask), truth) > 0.5
            return found

        def lost_after(reason: LossReason) -> None:
            lost = shown_until(camera, empty_scene(), in_state(received, TrackedObject.LOST), "the loss")
            assert lost.detail == f"The object is lost: {reason.value}." and lost.object.pixels == 0

        for x in (20, 40, 60):
            tracked_at(x, 40)
        lost_after(LossReason.HIDDEN)
        assert tracked_at(60, 40).found == answer.header.stamp
        tracked_at(WIDTH - 25, 40)
        lost_after(LossReason.OUT_OF_VIEW)
        assert tracked_at(10, 70).found == answer.header.stamp
        assert probe.set_parameter("track_again_after", 0.2).successful
        corrected = shown_until(
            camera,
            scene(80),
            lambda stamp: (o := received.of(stamp)) and o.found != answer.header.stamp and o,
            "a mask",
        )
        assert corrected.state == TrackedObject.TRACKED, "the segmenter's masks correct the video model, too"


def test_a_tracker_that_cannot_be_loaded_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="tracker is sam2; tracker_checkpoint must name its model, such as face"):
        tracker_from_parameters(NodeParameters(tracker="sam2"))
    with pytest.raises(ParameterError, match="but tracker is flow, which has none"):
        tracker_from_parameters(NodeParameters(tracker_checkpoint="x"))
    assert isinstance(tracker_from_parameters(NodeParameters()), FlowTracker)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, "has no config.json"),
        ({"model_type": "edgetam_video"}, "holds 'edgetam_video'"),
        ({"model_type": "clip"}, "holds 'clip'"),
        ({"hidden_size": 8}, "has a config.json that names no model"),
        ([], "cannot be read"),
    ],
)
def test_a_folder_of_another_model_is_named_beside_what_the_tracker_needs(
    tmp_path: Path, config: object, found: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(LisaError) as refused:
        tracker_from_parameters(NodeParameters(tracker="sam2", tracker_checkpoint=str(tmp_path)))
    text = str(refused.value)
    assert str(tmp_path) in text and found in text and "\n" not in text
    assert text.endswith("; tracker sam2 needs sam2_video of transformers, such as facebook/sam2.1-hiera-tiny")
