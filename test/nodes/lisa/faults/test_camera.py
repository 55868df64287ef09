# SPDX-License-Identifier: Apache-2.0
"""A camera that misbehaves: each command has one answer with a sentence, and the node works afterwards."""

from collections import Counter
from collections.abc import Iterator
from itertools import cycle

import camera_images
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe, probing
from ros_harness import Process, scripted_node, started, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation, TrackedObject
from lisa_ros.nodes.common.conversions import to_image_message

OK, NO_IMAGE = Segmentation.OK, Segmentation.NO_IMAGE
NOON_S = 43_200


class Robot:
    """A node under simulated time, its clock and its camera."""

    def __init__(self, probe: Probe) -> None:
        self.probe, self.now_s = probe, float(NOON_S)
        self.diagnostics: list[DiagnosticArray] = []
        self.tracked: list[TrackedObject] = []
        self._clock = probe.node.create_publisher(Clock, "/clock", 1)
        self.other_camera = probe.node.create_publisher(Image, "other", 1)
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        probe.node.create_subscription(TrackedObject, "/faulty/tracked/object", self.tracked.append, 10)

    def stamp(self, seconds: float | None = None) -> Time:
        seconds = self.now_s if seconds is None else seconds
        return Time(sec=int(seconds), nanosec=int(1e9 * (seconds % 1)))

    def set_clock(self, seconds: float) -> None:
        self.now_s = seconds
        self._clock.publish(Clock(clock=self.stamp()))

    def answer_about(self, image: Image, status: int, seconds: float | None = None) -> Segmentation:
        """Publish the clock and an image of this time until a command about it has this status."""
        self.set_clock(self.now_s)
        return self.probe.show_until(image, "two", lambda a: a.status == status, self.stamp(seconds))


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Robot, Process]]:
    arguments = (
        "-r",
        "__node:=faulty",
        "-p",
        "use_sim_time:=true",
        "-p",
        "queue_size:=300",
        "-p",
        "max_image_age:=5.0",
    )
    with probing("faulty") as probe, started(scripted_node(*arguments)) as process:
        robot = Robot(probe)
        probe.wait_for_node(process)
        wait_until(lambda: robot.diagnostics, "diagnostics before anybody has published the clock")
        yield robot, process
        assert process.alive and "Traceback" not in process.output
        counts = Counter(answer.id for answer in probe.answers)
        assert set(counts.values()) == {1}, "one answer a command"


@pytest.fixture
def robot(running: tuple[Robot, Process]) -> Robot:
    robot, _ = running
    robot.answer_about(camera_images.message("rgb8"), OK)
    return robot


def test_a_frozen_camera_is_refused_as_soon_as_its_image_is_too_old(robot: Robot) -> None:
    """The driver sends the same image with the same stamp again and again."""
    then_s = robot.now_s
    robot.now_s += 20.0
    answer = robot.answer_about(camera_images.message("rgb8"), NO_IMAGE, seconds=then_s)
    assert "20.0 s older than the command; max_image_age allows 5 s" in answer.detail


def test_stamps_that_go_back_are_followed(robot: Robot) -> None:
    """A bag was rewound, or the camera's clock was set: the newest image is the one that came last."""
    for back_s in (1.0, 3.0, 2.0):
        stamp_s = robot.now_s - back_s
        answer = robot.answer_about(camera_images.message("rgb8"), OK, seconds=stamp_s)
        assert answer.header.stamp == robot.stamp(stamp_s)


@pytest.mark.parametrize("jump_s", [3600.0, -7200.0, -1.0])
def test_the_clock_jumps(robot: Robot, jump_s: float) -> None:
    robot.set_clock(robot.now_s + jump_s)
    (kept,) = {robot.probe.ask("two").status}
    assert kept in (OK, NO_IMAGE), "the image from before the jump may be too old now"
    answer = robot.answer_about(camera_images.message("rgb8"), OK)
    assert answer.header.stamp == robot.stamp()


def test_size_and_encoding_change_with_every_frame_while_an_object_is_tracked(robot: Robot) -> None:
    def image(size: tuple[int, int], encoding: str) -> Image:
        pixels = np.zeros((*size, 3), dtype=np.uint8)
        pixels[:, : size[1] // 2, 0 if encoding == "rgb8" else 2] = 255
        pixels[:, size[1] // 2 :, 2 if encoding == "rgb8" else 0] = 255
        return to_image_message(pixels, encoding, Header())

    kinds = cycle([((48, 64), "rgb8"), ((60, 40), "bgr8"), ((100, 100), "rgb8"), ((24, 200), "bgr8")])
    for _ in range(12):
        size, encoding = next(kinds)
        robot.now_s += 0.05
        answer = robot.answer_about(image(size, encoding), OK)
        sizes = {(one.mask.height, one.mask.width) for one in answer.objects}
        while answer.header.stamp != robot.stamp():
            answer = robot.answer_about(image(size, encoding), OK)
            sizes = {(one.mask.height, one.mask.width) for one in answer.objects}
        assert sizes == {size}
    wait_until(lambda: robot.tracked, "the tracked object")


def test_a_thousand_images_a_second_and_then_none(robot: Robot) -> None:
    image = camera_images.message("rgb8")
    for number in range(1000):
        image.header.stamp = robot.stamp(robot.now_s + number / 1000)
        robot.probe.show(image)
    robot.now_s += 1.0

    def uses_the_newest() -> bool:
        robot.set_clock(robot.now_s + 0.01)
        image.header.stamp = robot.stamp()
        robot.probe.show(image)
        return any(robot.probe.ask("two").header.stamp == robot.stamp() for _ in range(10))

    assert any(uses_the_newest() for _ in range(3)), "each is shown once, and one may be lost"
    robot.set_clock(robot.now_s + 10.0)  # 0.1 Hz: the newest image is ten seconds old
    wait_until(lambda: robot.probe.ask("two").status == NO_IMAGE, "a refusal")


def test_two_publishers_on_one_topic_are_reported(robot: Robot) -> None:
    second = robot.probe.node.create_publisher(Image, "image", 1)
    sizes = set()
    small = np.zeros((24, 32, 3), dtype=np.uint8)
    small[:, :16, 0], small[:, 16:, 2] = 255, 255
    robot.diagnostics.clear()
    for _ in range(10):
        robot.now_s += 0.05
        message = to_image_message(small, "rgb8", Header(stamp=robot.stamp(), frame_id="other"))
        second.publish(message)
        answer = robot.answer_about(camera_images.message("rgb8"), OK)
        sizes |= {(one.mask.height, one.mask.width) for one in answer.objects}
    assert sizes <= {(24, 32), (camera_images.HEIGHT, camera_images.WIDTH)}

    def warned() -> bool:
        robot.set_clock(robot.now_s + 0.3)
        robot.probe.show(camera_images.message("rgb8"))
        messages = [status.message for one in robot.diagnostics for status in one.status]
        return any("2 publishers send images" in one for one in messages)

    wait_until(warned, "the warning")
    robot.probe.node.destroy_publisher(second)
