# SPDX-License-Identifier: Apache-2.0
"""While no image is needed, the newest are taken five times per second; all are counted, and none is taken too late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import camera_images
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_harness import talking_node
from sensor_msgs.msg import Image

from lisa_ros.nodes.lisa.camera.camera_topics import CameraTopics, camera_qos
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.parameters import NodeParameters

RATE_HZ = 50.0


class Receiver:
    """CameraTopics on an executor that this thread spins."""

    def __init__(self, node: Node) -> None:
        self.needed, self.counted, self.taken, self.calls = False, 0, 0, 0
        now_ns = lambda: int(node.get_clock().now().nanoseconds)  # noqa: E731
        self.frames = FrameBuffer(now_ns, lambda: 0.0, lambda: 0.02, lambda: 0.1)
        self.topics = CameraTopics(node, self.frames, NodeParameters(), self._on_images, lambda: self.needed)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def _on_images(self, count: int) -> None:
        self.counted, self.taken = self.counted + count, self.taken + 1

    def spin(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, "it did not come true"
            self._executor.spin_once(timeout_sec=0.05)

    def during(self, seconds: float) -> tuple[int, int]:
        """Images that were counted and taken meanwhile."""
        counted, taken = self.counted, self.taken
        self.spin(seconds)
        return self.counted - counted, self.taken - taken


class Camera:
    """Publishes images with stamps by a timer of its own node's thread."""

    def __init__(self, node: Node, depth: bool = False) -> None:
        self.published, self.last_s = 0, 0.0
        self._node = node
        self._image = node.create_publisher(Image, "image", camera_qos(1))
        self._depth = node.create_publisher(Image, "depth", camera_qos(1)) if depth else None
        self.timer = node.create_timer(1.0 / RATE_HZ, self.publish)

    def publish(self) -> None:
        message = camera_images.message("rgb8")
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._image.publish(message)
        self.published += 1
        if self._depth is not None:
            self._depth.publish(message)


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
        received.spin_until(lambda: received.taken > 3)
        published = camera.published
        counted, taken = received.during(2.0)
        published = camera.published - published
        # The last ones are counted when the next one is taken.
        assert 4 <= taken <= 25 and published - 15 <= counted <= published + 15
        # A command: the newest image is there at once, and then each image.
        camera.timer.cancel()
        time.sleep(0.1)
        received.topics.take_newest()
        missed = camera.published - received.counted  # before the subscription was known
        camera.publish()
        time.sleep(0.1)
        stamp = received.frames.newest().time_ns
        received.topics.take_newest()
        assert received.frames.newest().time_ns > stamp
        camera.timer.reset()
        received.needed = True
        received.spin(0.3)
        published = camera.published
        counted, taken = received.during(1.0)
        # A busy machine's executor may miss one: the history has one image.
        assert abs(counted - (camera.published - published)) <= 3 and taken > counted / 2
        received.needed = False
        received.spin(0.3)
        assert received.during(1.0)[1] <= 15
        camera.timer.cancel()
        time.sleep(0.1)
        received.topics.take_newest()
        assert received.counted + missed == camera.published


def test_depth_that_comes_after_its_image_is_waited_for() -> None:
    with receiver() as received, talking_node("camera") as node:
        camera = Camera(node, depth=True)
        received.spin_until(lambda: received.taken > 3)
        _, taken = received.during(2.0)
        assert taken <= 40  # not each of 100
        for _ in range(5):
            received.spin_until(lambda: not received.frames.awaits_depth())
            assert any(frame.received_depth is not None for frame in received.frames.kept())
            received.spin(0.1)
        camera.timer.cancel()


def test_images_of_two_cameras_are_taken_one_by_one() -> None:
    """Their numbers say nothing about the sum."""
    with receiver() as received, talking_node("camera") as node, talking_node("other_camera") as other:
        cameras = [Camera(node), Camera(other)]
        received.spin_until(lambda: received.taken > 50)
        received.spin(0.5)
        counted, taken = received.during(2.0)
        assert counted == taken > 30
        cameras[1].timer.cancel()
        other.destroy_publisher(cameras[1]._image)
        received.spin_until(lambda: received.topics.arrivals.numbered)
        published = cameras[0].published
        counted, taken = received.during(2.0)
        assert taken <= 25 and abs(counted - (cameras[0].published - published)) <= 15


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
