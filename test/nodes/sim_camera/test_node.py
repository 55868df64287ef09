# SPDX-License-Identifier: Apache-2.0
"""The node sim_camera, driven as its users run it: in another process, over DDS."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from paths import ROOT

rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped  # noqa: E402
from rclpy.context import Context  # noqa: E402 - only where ROS is
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data  # noqa: E402
from ros_harness import private_domain, private_environment  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header, String  # noqa: E402

from lisa_ros.nodes.sim_camera.node import SimCameraParameters, camera_pose_message, transform_message  # noqa: E402
from lisa_ros.simulation.scene import View  # noqa: E402
from lisa_ros.simulation.tabletop import Tabletop  # noqa: E402
from lisa_ros.spatial.rotation import transform_of  # noqa: E402

SEED, WIDTH, HEIGHT = 21, 160, 120
START = "import sys; from lisa_ros.nodes.sim_camera.node import main; sys.exit(main())"


def command_line(**parameters: object) -> list[str]:
    """The node as a process with these parameters."""
    settings = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-c", START, "--ros-args", *settings]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a process that ends by itself."""
    return subprocess.run(command, env=private_environment(), capture_output=True, text=True, timeout=250)


class Listener:
    """Keeps every message of the camera's topics by topic and stamp."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=private_domain())
        self.node = Node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.by_stamp: dict[tuple[int, int], dict[str, Any]] = {}
        self.objects: list[Any] = []
        for topic, kind in (("image", Image), ("depth", Image), ("instances", Image), ("camera_info", CameraInfo)):
            self.node.create_subscription(kind, topic, self._keeper(topic), qos_profile_sensor_data)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(String, "sim_camera/objects", self._keep_objects, latched)

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
            self.by_stamp.setdefault(stamp, {})[topic] = message

        return keep

    def _keep_objects(self, message: String) -> None:
        self.objects.append(json.loads(message.data))

    def complete(self) -> list[dict[str, Any]]:
        """The sets of four messages with one stamp."""
        return [messages for _, messages in sorted(self.by_stamp.items()) if len(messages) == 4]

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120.0
        while not condition():
            assert time.monotonic() < deadline, f"did not come: {what}"
            self.executor.spin_once(timeout_sec=0.2)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=private_environment())
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def camera() -> Iterator[subprocess.Popen[bytes]]:
    yield from running(command_line(seed=SEED, width=WIDTH, height=HEIGHT, rate_hz=10.0, frame_id="here"))


@pytest.fixture
def restless_camera() -> Iterator[subprocess.Popen[bytes]]:
    yield from running(command_line(seed=SEED, width=WIDTH, height=HEIGHT, rate_hz=10.0, rearrange_period_s=0.5))


@pytest.fixture(scope="module")
def truth() -> View:
    with Tabletop(SEED, width=WIDTH, height=HEIGHT) as table:
        return table.render()


def test_all_topics_come_with_one_stamp_and_the_values_of_the_view(
    camera: subprocess.Popen[bytes], listener: Listener, truth: View
) -> None:
    listener.wait_for(lambda: len(listener.complete()) >= 2 and bool(listener.objects), "two frames and the objects")
    first, *_, last = listener.complete()
    assert first["image"].header.stamp != last["image"].header.stamp
    assert {message.header.frame_id for message in last.values()} == {"here"}

    image, depth, instances, info = (last[topic] for topic in ("image", "depth", "instances", "camera_info"))
    assert (image.encoding, depth.encoding, instances.encoding) == ("rgb8", "32FC1", "mono8")
    assert (image.step, depth.step, instances.step) == (3 * WIDTH, 4 * WIDTH, WIDTH)
    assert np.array_equal(np.frombuffer(image.data, np.uint8).reshape(HEIGHT, WIDTH, 3), truth.rgb)
    assert np.array_equal(np.frombuffer(depth.data, "<f4").reshape(HEIGHT, WIDTH), truth.depth_m)
    assert np.array_equal(np.frombuffer(instances.data, np.uint8).reshape(HEIGHT, WIDTH), truth.instances)
    assert not depth.is_bigendian

    assert (info.width, info.height, info.distortion_model) == (WIDTH, HEIGHT, "plumb_bob")
    assert np.array_equal(np.array(info.k).reshape(3, 3), truth.camera.k)
    assert np.array_equal(np.array(info.p).reshape(3, 4)[:, :3], truth.camera.k)
    assert list(info.d) == [0.0] * 5


def test_objects_are_latched_and_agree_with_the_image(
    camera: subprocess.Popen[bytes], listener: Listener, truth: View
) -> None:
    listener.wait_for(lambda: bool(listener.objects), "the objects")
    objects = listener.objects[0]
    assert [(o["instance"], o["kind"], o["colour"]) for o in objects] == [
        (o.instance, o.kind, o.colour) for o in truth.objects
    ]
    for entry in objects:
        u, v = entry["centroid_px"]
        assert truth.instances[round(v), round(u)] == entry["instance"]
        depth = float(truth.depth_m[round(v), round(u)])
        assert abs(entry["position_m"][2] - depth) < 0.15


def test_the_cameras_pose_transforms_positions_to_the_table(
    camera: subprocess.Popen[bytes], listener: Listener, truth: View
) -> None:
    poses: list[PoseStamped] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener.node.create_subscription(PoseStamped, "sim_camera/camera_pose", poses.append, latched)
    listener.wait_for(lambda: bool(poses and listener.objects), "the pose and the objects")
    pose = poses[0].pose
    assert poses[0].header.frame_id == "table"
    o, p = pose.orientation, pose.position
    to_table = transform_of((p.x, p.y, p.z), (o.x, o.y, o.z, o.w))
    for entry, visible in zip(listener.objects[0], truth.objects, strict=True):
        assert (to_table @ [*entry["position_m"], 1.0])[:3] == pytest.approx(visible.position_m, abs=1e-6)


def test_tf_has_the_same_pose(truth: View) -> None:
    pose = camera_pose_message(truth.camera)
    message = transform_message(pose, Header(frame_id="table"), "camera")
    assert (message.header.frame_id, message.child_frame_id) == ("table", "camera")
    translation, point = message.transform.translation, pose.position
    assert (
        [translation.x, translation.y, translation.z]
        == [point.x, point.y, point.z]
        == truth.camera.pose[:3, 3].tolist()
    )
    assert message.transform.rotation == pose.orientation


def test_a_moving_scene_changes(restless_camera: subprocess.Popen[bytes], listener: Listener) -> None:
    def images() -> set[bytes]:
        return {bytes(messages["image"].data) for messages in listener.complete()}

    listener.wait_for(lambda: len(images()) >= 2 and len(listener.objects) >= 2, "two different scenes")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [({"width": 3}, "Parameter width must be a whole number from 16"), ({"rate_hz": "fast"}, "rate_hz")],
)
def test_an_invalid_parameter_ends_the_node_with_a_sentence(setting: dict[str, object], reason: str) -> None:
    ended = run(command_line(**setting))
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_invalid_command_line_ends_the_node_with_a_sentence() -> None:
    command = [sys.executable, "-c", START, "--ros-args", "--nonsense"]
    ended = run(command)
    assert ended.returncode == 1
    assert "sim_camera: ROS could not start; check the arguments after --ros-args: ['--nonsense']" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_while_the_scene_is_made_ends_the_node(number: str) -> None:
    start = f"""
import os, signal, sys, time
import rclpy
from lisa_ros.nodes.sim_camera import node as sim_camera

real = sim_camera.Tabletop

def made(*arguments, **named):
    os.kill(os.getpid(), signal.{number})
    while rclpy.ok():
        time.sleep(0.01)
    return real(*arguments, **named)

sim_camera.Tabletop = made
sys.exit(sim_camera.main())
"""
    ended = run([sys.executable, "-c", start])
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_config_file_holds_the_defaults() -> None:
    written = yaml.safe_load((ROOT / "config" / "sim_camera.yaml").read_text(encoding="utf-8"))
    assert written == {"/**": {"ros__parameters": dataclasses.asdict(SimCameraParameters())}}
