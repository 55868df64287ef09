# SPDX-License-Identifier: Apache-2.0
"""Positions in the planners' frame through tf2 itself, where tf2_ros is installed."""

from collections.abc import Iterator

import numpy as np
import pytest
from depth_camera import FRAME_ID, DepthCamera
from geometry_msgs.msg import TransformStamped
from node_probe import Probe, probing
from ros_harness import scripted_node, started

from lisa_ros.msg import Segmentation

tf2_ros = pytest.importorskip("tf2_ros")


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    command = scripted_node("-r", "__node:=framed", "-p", "target_frame:=arm", "-p", "transform_timeout:=0.5")
    with probing("framed") as probe, started(command) as process:
        probe.wait_for_node(process)
        yield probe


def transform(probe: Probe, parent: str, child: str, x: float) -> TransformStamped:
    made = TransformStamped(child_frame_id=child)
    made.header.frame_id, made.header.stamp = parent, probe.stamp_now()
    made.transform.translation.x, made.transform.rotation.w = x, 1.0
    return made


def test_positions_at_the_stamp_of_the_image(probe: Probe) -> None:
    static = tf2_ros.StaticTransformBroadcaster(probe.node)
    static.sendTransform(transform(probe, "base", FRAME_ID, 5.0))
    moving = tf2_ros.TransformBroadcaster(probe.node)
    camera = DepthCamera(probe)
    image = np.full((120, 160, 3), 90, dtype=np.uint8)
    depth_m = np.full((120, 160), 1.0, dtype=np.float32)
    image[40:80, 60:100], depth_m[40:80, 60:100] = (200, 30, 20), 0.8

    # As on a robot: the transform at the stamp of an image comes after the image.
    timer = probe.node.create_timer(0.05, lambda: moving.sendTransform(transform(probe, "base", "arm", 2.0)))
    is_located = lambda answer: bool(answer.objects) and answer.objects[0].located  # noqa: E731
    answer = camera.ask_about("red", is_located, image=image, depth_m=depth_m)
    probe.node.destroy_timer(timer)
    point = answer.objects[0].pose.position
    assert answer.position_frame == "arm"
    assert abs(point.x - 3.0) < 0.02 and abs(point.z - 0.8) < 1e-3


def test_frames_that_are_not_connected_are_named(probe: Probe) -> None:
    answer = probe.ask("red", target_frame="elsewhere")
    (found,) = answer.objects
    assert answer.status == Segmentation.OK and not found.located
    assert "'camera_optical' to 'elsewhere'" in found.location_detail and "does not exist" in found.location_detail
