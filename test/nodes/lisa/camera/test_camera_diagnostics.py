# SPDX-License-Identifier: Apache-2.0
"""What lisa_node says of a camera that is missing, of another clock, lost on the way, or without usable depth."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from depth_camera import FOCAL, FRAME_ID, info_message
from depth_coding import compressed_depth
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import Probe, probing
from paths import PROCESSES
from ros_harness import scripted_node, started, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.common.starting import NO_PROFILE_VARIABLE, PROFILE_VARIABLES

WIDTH, HEIGHT = 160, 120
RED_BOX = (slice(40, 80), slice(30, 70))


class Watch:
    """The newest diagnostics of a node."""

    def __init__(self, probe: Probe, name: str) -> None:
        self._name, self.status = name, DiagnosticStatus()
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", self._keep, 10)

    def _keep(self, message: DiagnosticArray) -> None:
        self.status = next((one for one in message.status if one.hardware_id == self._name), self.status)

    def value(self, key: str) -> str:
        return next((one.value for one in self.status.values if one.key == key), "")

    def wait_for(self, sentence: str, level: bytes = DiagnosticStatus.WARN, meanwhile: Any = lambda: None) -> None:
        def said() -> bool:
            meanwhile()
            return sentence in self.status.message and self.status.level == level

        try:
            wait_until(said, sentence)
        except AssertionError as error:
            raise AssertionError(f"{error}; diagnostics say: {self.status.message}") from error


class Camera:
    """Images with depth of image_transport's compressedDepth; what is wrong with them is chosen."""

    def __init__(self, probe: Probe, topic: str) -> None:
        self._node = probe.node
        self._image = probe.node.create_publisher(Image, topic, 1)
        self._depth = probe.node.create_publisher(CompressedImage, "depth/compressedDepth", 1)
        self._info = probe.node.create_publisher(CameraInfo, "camera_info", 1)
        self.offset_ms = 33
        self.info_size: tuple[int, int] | None = None
        self.coding = "rvl"

    def show(self) -> Header:
        pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        pixels[RED_BOX] = (200, 30, 20)
        depth_m = np.full((HEIGHT, WIDTH), 1.0, dtype=np.float32)
        depth_m[RED_BOX] = 0.5
        now_ns = self._node.get_clock().now().nanoseconds - 100_000_000
        header = Header(stamp=stamp(now_ns), frame_id=FRAME_ID)
        later = Header(stamp=stamp(now_ns + 1_000_000 * self.offset_ms), frame_id=FRAME_ID)
        if self.info_size is not None:
            self._info.publish(info_message(*self.info_size, header))
        self._image.publish(to_image_message(pixels, "rgb8", header))
        self._depth.publish(compressed_depth(depth_m, "32FC1", self.coding, later))
        return header

    def show_at(self, seconds: float) -> None:
        pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        header = Header(stamp=stamp(int(seconds * 1e9)), frame_id=FRAME_ID)
        self._image.publish(to_image_message(pixels, "rgb8", header))


def stamp(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


@contextmanager
def watched(name: str, *arguments: str) -> Iterator[tuple[Probe, Watch]]:
    with probing(name, "/unused") as probe:
        watch = Watch(probe, name)
        with started(scripted_node("-r", f"__node:={name}", *arguments)) as process:
            wait_until(lambda: not process.alive or watch.value("state") == "active", "the active node")
            assert process.alive, process.output
            yield probe, watch


def test_a_camera_is_put_right_step_by_step() -> None:
    arguments = ("-r", "image:=/cam/colour", "-p", "depth_transport:=compressedDepth")
    with watched("stepwise", *arguments) as (probe, watch):
        watch.wait_for("No image has arrived on /cam/colour yet. Nobody publishes there")
        answer = probe.ask("red")
        assert answer.status == Segmentation.NO_IMAGE and "Nobody publishes there" in answer.detail
        camera = Camera(probe, "/cam/colour")
        watch.wait_for("The topic has 1 publisher, but no image of it arrives")
        assert "1 publisher" in probe.ask("red").detail

        watch.wait_for("stamped 33 ms from the images and sync_tolerance allows 20 ms", meanwhile=slow(camera))
        assert "set sync_tolerance to 0.050" in watch.status.message
        assert watch.value("depth offset (ms)") == "33"
        found = probe.show_until_object(camera.show, "red", lambda one: "33 ms away" in one.location_detail)
        assert not found.located
        assert probe.set_parameter("sync_tolerance", 0.05).successful
        watch.wait_for("No camera_info arrives", meanwhile=slow(camera))
        camera.info_size = (WIDTH, HEIGHT // 2)
        watch.wait_for(
            f"The camera_info is {WIDTH}x{HEIGHT // 2} and the image {WIDTH}x{HEIGHT}", meanwhile=slow(camera)
        )
        camera.info_size = (WIDTH, HEIGHT)
        watch.wait_for("Ready.", DiagnosticStatus.OK, meanwhile=slow(camera))

        depths: list[CompressedImage] = []
        probe.node.create_subscription(CompressedImage, "/stepwise/frame/depth/compressedDepth", depths.append, 10)
        for coding in ("png", "rvl"):
            camera.coding = coding
            found = probe.show_until_object(
                camera.show,
                "red",
                lambda one, coding=coding: one.located and any(m.format.endswith(coding) for m in depths),
            )
            z = 0.5
            x, y = ((30 + 69) / 2 - (WIDTH - 1) / 2) * z / FOCAL, ((40 + 79) / 2 - (HEIGHT - 1) / 2) * z / FOCAL
            position = found.pose.position
            assert [position.x, position.y, position.z] == pytest.approx([x, y, z], abs=1e-3)

        def refused() -> Segmentation | None:
            camera.show_at(27.3)
            given = probe.ask("red")
            return given if given.status == Segmentation.NO_IMAGE else None

        detail = wait_until(refused, "the refusal").detail
        assert "is stamped 27.3 s" in detail and "set use_sim_time" in detail
        watch.wait_for("stamps of another clock than the node's", meanwhile=lambda: camera.show_at(27.3))


def slow(camera: Camera) -> Any:
    """Shows an image every 0.2 s while something is waited for."""

    def show() -> None:
        camera.show()
        time.sleep(0.2)

    return show


@pytest.mark.skipif("fastrtps" not in rclpy.get_rmw_implementation_identifier(), reason="Fast DDS alone loses them")
def test_images_that_are_lost_on_the_way_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched("losing") as (probe, watch):
        for name in PROFILE_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(NO_PROFILE_VARIABLE, "1")
        with started([sys.executable, str(PROCESSES / "camera_without_profile.py")]):
            watch.wait_for("were lost. Fast DDS loses images over 512 kB")
            assert int(watch.value("lost images")) > 3

            def old() -> Segmentation | None:
                answer = probe.ask("red")
                return answer if "were lost" in answer.detail else None

            answer = wait_until(old, "an answer about the small image")
            assert answer.status in (Segmentation.OK, Segmentation.NO_OBJECT)
            assert "images on /image were lost" in answer.detail and "config/fastdds.xml" in answer.detail
