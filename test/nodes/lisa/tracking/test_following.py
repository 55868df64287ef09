# SPDX-License-Identifier: Apache-2.0
"""The answered object followed at camera rate, by lisa_node as a process of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from depth_camera import FRAME_ID, DepthCamera
from geometry_msgs.msg import PoseStamped
from moving_pictures import HEIGHT, WIDTH, ground, put, thing
from node_probe import Probe, pixels, probing
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import scripted_node, started, talking_node, wait_until
from scripted_segmenter import pixels_of
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation, TrackedObject
from lisa_ros.nodes.common.conversions import to_image_message

DEPTH = np.full((HEIGHT, WIDTH), 0.8, dtype=np.float32)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing() as probe, started(scripted_node("-p", "track_again_after:=0.0")) as process:
        probe.wait_for_node(process)
        yield probe


@pytest.fixture(scope="module")
def camera(probe: Probe) -> DepthCamera:
    return DepthCamera(probe)


class Listener:
    """What a planner hears on `~/tracked/*`."""

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
def listening(name: str = "lisa") -> Iterator[Listener]:
    """A planner that listens as long as the block lasts."""
    with talking_node("planner") as node:
        yield Listener(node, name)


def scene(x: int, y: int = 40) -> NDArray[np.uint8]:
    return put(ground(0), thing(), x, y)[0]


def empty() -> NDArray[np.uint8]:
    """The scene without the thing."""
    return put(ground(0), thing(), 3 * WIDTH, 0)[0]


def in_state(heard: Listener, state: int) -> Callable[[Any], Any]:
    """For `shown_until`: what was said of a picture, where it says this."""
    return lambda stamp: next((one for one in [heard.of(stamp)] if one and one.state == state), None)


def shown_until(camera: DepthCamera, picture: NDArray[np.uint8], find: Callable[[Any], Any], what: str) -> Any:
    """Shows a picture, with fresh stamps, until something has come of one of them."""
    stamps: list[Any] = []

    def found() -> Any:
        stamps.append(camera.show(picture, DEPTH).stamp)
        return next(filter(None, map(find, stamps)), None)

    return wait_until(found, what)


def iou(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def begin(camera: DepthCamera, text: str = "red") -> Segmentation:
    return camera.ask_about(text, lambda answer: bool(answer.objects), picture=scene(20), depth_m=DEPTH)


def test_followed_then_lost_and_said_so(probe: Probe, camera: DepthCamera) -> None:
    with listening() as heard:
        answer = begin(camera)
        for x in range(20, 61, 4):
            told = shown_until(camera, scene(x), heard.of, f"the object at {x}")
            assert told.state == TrackedObject.TRACKED and told.id == answer.id and told.text == "red"
            assert iou(pixels(told.object.mask), pixels_of(scene(x), "red")) > 0.8
            assert told.object.located and told.object.pose.position.z == pytest.approx(0.8, abs=1e-3)
        assert told.found == answer.header.stamp
        wait_until(lambda: any(pose.header.stamp == told.header.stamp for pose in heard.poses), "its pose")
        told = shown_until(camera, empty(), in_state(heard, TrackedObject.LOST), "the loss")
        assert told.detail.startswith("The object is lost: ") and told.object.pixels == 0 and told.confidence == 0.0
        assert not told.object.located
        wait_until(lambda: heard.masks and not any(heard.masks[-1].data), "an empty mask")
        count = len(heard.objects)
        with listening() as late:
            wait_until(lambda: late.objects and late.objects[-1].state == TrackedObject.LOST, "the loss, told late")
        assert len(heard.objects) == count, "a loss is said once"


def test_a_newer_answer_takes_over(probe: Probe, camera: DepthCamera) -> None:
    with listening() as heard:
        begin(camera)
        shown_until(camera, scene(20), heard.of, "the first")
        second = begin(camera)
        told = shown_until(
            camera, scene(20), lambda stamp: (one := heard.of(stamp)) and one.id == second.id and one, "the second"
        )
        assert told.state == TrackedObject.TRACKED


def test_who_listens_late_hears_of_the_answer_given_before(probe: Probe, camera: DepthCamera) -> None:
    answer = begin(camera)
    with listening() as heard:
        told = shown_until(camera, scene(22), heard.of, "the object")
        assert told.id == answer.id and told.state == TrackedObject.TRACKED


def test_nothing_is_followed_with_track_false(probe: Probe, camera: DepthCamera) -> None:
    with listening() as heard:
        begin(camera)
        shown_until(camera, scene(20), heard.of, "the object")
        assert probe.set_parameter("track", False).successful
        try:
            wait_until(
                lambda: camera.show(scene(20), DEPTH) and heard.objects[-1].state == TrackedObject.LOST, "its end"
            )
            answer = begin(camera)
            assert not any(one.id == answer.id for one in heard.objects)
        finally:
            assert probe.set_parameter("track", True).successful
        shown_until(camera, scene(20), lambda stamp: (o := heard.of(stamp)) and o.id == answer.id, "it, now")


def test_a_picture_of_another_size_ends_it_and_the_node_goes_on(probe: Probe, camera: DepthCamera) -> None:
    with listening() as heard:
        begin(camera)
        shown_until(camera, scene(20), heard.of, "the object")
        small = scene(20)[:60, :80].copy()
        for _ in range(2):
            camera.show(small, DEPTH[:60, :80])
        wait_until(lambda: heard.objects[-1].state == TrackedObject.LOST, "the end, said")
        assert heard.objects[-1].detail == "The object is lost: it is not followed any more."
        answer = camera.ask_about("red", lambda a: bool(a.objects), picture=small, depth_m=DEPTH[:60, :80])
        assert answer.status == Segmentation.OK
        begin(camera)
        told = shown_until(camera, scene(20), heard.of, "the object again")
        assert told.state == TrackedObject.TRACKED


def test_one_broken_picture_or_one_sent_twice_ends_nothing(probe: Probe, camera: DepthCamera) -> None:
    with listening() as heard:
        answer = begin(camera)
        shown_until(camera, scene(20), heard.of, "the object")
        header = camera.show(scene(22), DEPTH)
        twice = to_image_message(scene(22), "rgb8", header)
        probe.show(twice)
        broken = to_image_message(scene(22), "rgb8", Header(stamp=probe.stamp_now(), frame_id=FRAME_ID))
        broken.data = broken.data[:100]
        probe.show(broken)
        told = shown_until(camera, scene(24), heard.of, "the object after it")
        assert told.id == answer.id and told.state == TrackedObject.TRACKED
        assert not any(one.state == TrackedObject.LOST for one in heard.objects if one.id == answer.id)


def test_the_model_finds_what_was_lost() -> None:
    node = scripted_node("-r", "__node:=finder", "-p", "track_again_after:=0.2")
    with probing("finder") as probe, started(node) as process, listening("finder") as heard:
        probe.wait_for_node(process)
        camera = DepthCamera(probe)
        begin(camera)
        shown_until(camera, scene(20), in_state(heard, TrackedObject.TRACKED), "the object")
        lost = shown_until(camera, empty(), in_state(heard, TrackedObject.LOST), "the loss")
        again = shown_until(camera, scene(90), in_state(heard, TrackedObject.TRACKED), "the object elsewhere")
        assert iou(pixels(again.object.mask), pixels_of(scene(90), "red")) > 0.8
        assert (again.found.sec, again.found.nanosec) > (lost.found.sec, lost.found.nanosec)
