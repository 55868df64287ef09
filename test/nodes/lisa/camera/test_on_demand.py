# SPDX-License-Identifier: Apache-2.0
"""While no image is needed, the newest are taken five times per second; all are counted, and none is taken too late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import camera_images
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_harness import talking_node
from sensor_msgs.msg import CameraInfo, Image

from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.lisa.camera.camera_topics import CameraTopics, camera_qos
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.parameters import NodeParameters

RATE_HZ = 50.0
NOT_NEEDED_S = 1.0
"""Eight of five images a second take longer, however busy the machine is; eight of RATE_HZ take 0.16 s."""


class Receiver:
    """CameraTopics on an executor that this thread spins."""

    def __init__(self, node: Node) -> None:
        self.needed, self.counted, self.taken, self.calls = False, 0, 0, 0
        now_ns = lambda: int(node.get_clock().now().nanoseconds)  # noqa: E731
        self.frames = FrameBuffer(now_ns, lambda: 0.0, lambda: 0.02, lambda: 5.0)
        self.topics = CameraTopics(node, self.frames, NodeParameters(), self._on_images, lambda: self.needed)
        self.node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def _on_images(self, count: int) -> None:
        self.counted, self.taken = self.counted + count, self.taken + 1

    def spin(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, "it did not come true"
            self._executor.spin_once(timeout_sec=0.05)

    def seconds_for(self, images: int) -> float:
        """Until so many more images are taken."""
        began_s, taken = time.monotonic(), self.taken
        self.spin_until(lambda: self.taken >= taken + images)
        return time.monotonic() - began_s


class Camera:
    """Publishes images with stamps by a timer of its own node's thread."""

    def __init__(self, node: Node, depth: bool = False) -> None:
        self.published = 0
        self._node, self._publishing = node, threading.Lock()
        self._image = node.create_publisher(Image, "image", camera_qos(1))
        self._depth = node.create_publisher(Image, "depth", camera_qos(1)) if depth else None
        self.timer = node.create_timer(1.0 / RATE_HZ, self.publish)

    def publish(self) -> None:
        message = camera_images.message("rgb8")
        message.header.stamp = self._node.get_clock().now().to_msg()
        with self._publishing:  # the timer's last image may still be under way
            self._image.publish(message)
            self.published += 1
            if self._depth is not None:
                self._depth.publish(message)

    def show(self, received: Receiver) -> None:
        """Publish one more image, and wait until it is counted; a lost one is not waited for."""
        counted, until_s = received.counted, time.monotonic() + 20.0
        self.publish()
        while received.counted == counted and time.monotonic() < until_s:
            received.spin(0.01)

    def stop(self, received: Receiver) -> int:
        """End the timer. Returns how many images were not counted so far, once each new one is counted."""
        self.timer.cancel()
        time.sleep(0.1)
        missed: list[int] = []
        while len(missed) < 3 or len(set(missed[-3:])) > 1:
            assert len(missed) < 50, missed
            self.show(received)
            missed.append(self.published - received.counted - received.topics.arrivals.lost)
        return missed[-1]


@contextmanager
def receiver() -> Iterator[Receiver]:
    with talking_node("not_spun_by_its_thread") as other:  # its context has the private domain
        node = rclpy.create_node("receiver", context=other.context)
        made = Receiver(node)
        yield made
        made.topics.close()
        node.destroy_node()


def test_all_images_are_counted_and_few_taken_until_they_are_needed() -> None:
    with receiver() as received, talking_node("camera") as node:
        camera = Camera(node)
        received.spin_until(lambda: received.topics.arrivals.numbered)
        missed = camera.stop(received)  # before the subscription was known
        camera.timer.reset()
        assert received.seconds_for(8) > NOT_NEEDED_S
        assert camera.stop(received) == missed
        # A command: the newest image is there at once, and then each image.
        stamp = received.frames.newest().time_ns
        camera.publish()
        time.sleep(0.1)
        received.topics.take_newest()
        assert received.frames.newest().time_ns > stamp
        received.needed = True
        received.topics.take_newest()
        received.topics._timer.cancel()  # which takes five a second
        taken = received.taken
        for _ in range(20):
            camera.show(received)
        assert received.taken >= taken + 19
        received.needed = False
        received.topics._timer.reset()
        camera.timer.reset()
        received.spin(0.3)
        assert received.seconds_for(8) > NOT_NEEDED_S
        assert camera.stop(received) == missed


def test_depth_that_comes_after_its_image_is_waited_for() -> None:
    with receiver() as received, talking_node("camera") as node:
        camera = Camera(node, depth=True)
        received.spin_until(lambda: received.topics.arrivals.numbered)
        assert received.seconds_for(20) > 0.7  # not each of 50 a second
        for _ in range(5):
            received.spin_until(lambda: not received.frames.awaits_depth())
            assert any(frame.received_depth is not None for frame in received.frames.kept())
            received.spin(0.1)
        camera.timer.cancel()


def test_intrinsics_that_were_published_once_before_the_node_was_there_arrive() -> None:
    """A volatile subscription never got them, and a latched one fits no camera that publishes them again and again."""
    with talking_node("camera") as node:
        node.create_publisher(CameraInfo, "camera_info", LATCHED).publish(CameraInfo(width=16))
        with receiver() as received:
            received.spin_until(lambda: received.frames._infos)
    with talking_node("camera") as node, receiver() as received:
        info = node.create_publisher(CameraInfo, "camera_info", camera_qos(1))
        received.spin_until(lambda: info.publish(CameraInfo()) or received.frames._infos)
        assert info.get_subscription_count() == 1


def test_latched_intrinsics_of_a_driver_that_was_started_again_arrive() -> None:
    """Only the first ones were looked for: those of another resolution were missed."""
    with receiver() as received:
        with talking_node("camera") as node:
            info = node.create_publisher(CameraInfo, "camera_info", camera_qos(1))
            received.spin_until(lambda: info.publish(CameraInfo(width=16)) or received.frames._infos)
        with talking_node("camera") as node:
            node.create_publisher(CameraInfo, "camera_info", LATCHED).publish(CameraInfo(width=32))
            received.spin_until(lambda: received.frames._infos[-1].message.width == 32)


def test_images_of_two_cameras_are_taken_one_by_one() -> None:
    """Their numbers say nothing about the sum."""
    with receiver() as received, talking_node("camera") as node, talking_node("other_camera") as other:
        cameras = [Camera(node), Camera(other)]
        received.spin_until(lambda: received.taken > 50 and received.node.count_publishers("image") == 2)
        received.spin(0.5)
        counted, taken = received.counted, received.taken
        received.spin_until(lambda: received.taken > taken + 60)
        assert received.counted - counted == received.taken - taken
        cameras[1].timer.cancel()
        other.destroy_publisher(cameras[1]._image)
        received.spin_until(lambda: received.topics.arrivals.numbered)
        missed = cameras[0].stop(received)
        cameras[0].timer.reset()
        assert received.seconds_for(8) > NOT_NEEDED_S
        assert cameras[0].stop(received) == missed


def test_a_camera_that_starts_again_is_counted_anew() -> None:
    with receiver() as received:
        for _ in range(2):
            with talking_node("camera") as node:
                camera = Camera(node)
                received.counted = 0
                received.spin_until(lambda: received.counted > 60)
                camera.timer.cancel()
                received.spin(0.3)
                assert received.counted <= camera.published
