# SPDX-License-Identifier: Apache-2.0
"""`lisa doctor`: its sentences, and a run beside a real camera."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from rclpy.qos import qos_profile_sensor_data
from ros_harness import private_environment, started, talking_node, wait_until
from sensor_msgs.msg import CameraInfo, Image

from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.doctor.advice import advise
from lisa_ros.nodes.doctor.probe import SystemFacts, TopicFacts

STAMPS = [10**18, 10**18 + 10**8]
IMAGE = TopicFacts(
    "/image",
    publishers=["/camera: best_effort"],
    types=["sensor_msgs/msg/Image"],
    messages=2,
    width=640,
    height=480,
    message_bytes=300_000,
    frame_id="optical",
    age_s=0.01,
    stamps_ns=STAMPS,
)
GOOD = SystemFacts(
    image=IMAGE,
    depth=dataclasses.replace(IMAGE, name="/depth"),
    camera_info=dataclasses.replace(IMAGE, name="/camera_info"),
    depth_offset_s=0.0,
    node="/lisa",
    node_is_there=True,
    diagnostics={"level": 0, "message": "Ready.", "values": {}},
    rmw="rmw_fastrtps_cpp",
    profiles="",
    seconds=5.0,
)


def changed(**parts: object) -> SystemFacts:
    """The good system with a topic's facts, or facts of its own, changed."""
    topics = {
        name: dataclasses.replace(getattr(GOOD, name), **change)
        for name, change in parts.items()
        if isinstance(change, dict) and name in ("image", "depth", "camera_info")
    }
    return dataclasses.replace(GOOD, **{**parts, **topics})


def diagnostics(lost: str, rate_hz: str) -> dict[str, object]:
    return {"level": 0, "message": "Ready.", "values": {"lost images": lost, "image rate (Hz)": rate_hz}}


def test_nothing_is_found_where_all_is_well() -> None:
    assert advise(GOOD) == []
    assert advise(changed(depth={"width": 320, "height": 240})) == []  # brought to the image's grid
    assert advise(changed(depth={"frame_id": ""})) == [], "the node accepts it"
    simulated = {"level": 0, "message": "Ready.", "values": {"image age (s)": "0.05"}}
    assert advise(changed(image={"age_s": 1.7e9}, diagnostics=simulated)) == [], "the node uses the simulator's clock"
    large = changed(image={"message_bytes": 2_764_800}, diagnostics=diagnostics("0", "30.0"))
    assert advise(large) == [], "the node was started with the profile, and the terminal without"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (changed(node_is_there=False), "There is no node /lisa"),
        (changed(diagnostics={"level": 1, "message": "No image has arrived yet."}), "No image has arrived yet."),
        (changed(image={"publishers": []}), "Nobody publishes /image"),
        (changed(image={"messages": 0}), "Large images are lost on Fast DDS's defaults"),
        (changed(image={"messages": 0, "types": ["std_msgs/msg/String"]}), "Its type is std_msgs/msg/String"),
        (changed(image={"messages": 0}, profiles="/x.xml"), "ROS_DOMAIN_ID"),
        (changed(image={"message_bytes": 2_764_800}), "2.8 MB an image"),
        (changed(image={"message_bytes": 2_764_800}, diagnostics=diagnostics("0", "0.0")), "can be lost"),
        (changed(image={"message_bytes": 2_764_800}, diagnostics=diagnostics("7", "4.0")), "can be lost"),
        (changed(image={"age_s": 1.7e9}), "use_sim_time:=true"),
        (
            changed(image={"age_s": 1.7e9}, diagnostics=GOOD.diagnostics | {"values": {"image age (s)": "nan"}}),
            "use_sim_time:=true",
        ),
        (changed(image={"age_s": 12.0}), "12.0 s old when they arrive"),
        (changed(image={"age_s": -3600.0}), "stamped 3600.0 s in the future. Synchronise"),
        (changed(depth={"publishers": []}), "Nobody publishes /depth"),
        (changed(camera_info={"messages": 0}), "No camera_info arrived on /camera_info"),
        (changed(depth={"frame_id": "depth_optical"}), "align_depth.enable:=true"),
        (changed(depth={"width": 320, "height": 180}), "/depth is 320x180, the image 640x480"),
        (changed(depth_offset_s=0.033), "33 ms from the nearest image"),
    ],
)
def test_what_is_wrong_is_a_sentence(facts: SystemFacts, said: str) -> None:
    (sentence,) = advise(facts)
    assert said in sentence


def test_images_without_stamps_have_no_clock() -> None:
    assert advise(changed(image={"age_s": 1.7e9, "stamps_ns": [0, 0]})) == []


def test_beside_a_camera_in_another_process() -> None:
    camera = [sys.executable, "-c", "import sys; from lisa_ros.nodes.sim_camera.node import main; sys.exit(main())"]
    camera += ["--ros-args", "-p", "width:=320", "-p", "height:=240", "-p", "rate_hz:=10.0"]
    command = [sys.executable, "-m", "lisa_ros.cli", "doctor", "--seconds", "12", "--json"]
    command += ["--camera-info", "/once"]
    with talking_node("somebody") as node, started(camera) as process:
        images: list[Image] = []
        node.create_publisher(CameraInfo, "/once", LATCHED).publish(CameraInfo(width=77))
        node.create_subscription(Image, "/image", images.append, qos_profile_sensor_data)
        wait_until(lambda: images or not process.alive, "the camera's first image")
        assert process.alive, process.output
        ran = subprocess.run(command, env=private_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    report = json.loads(ran.stdout)
    image = report["ros"]["image"]
    assert (image["width"], image["height"], image["encoding"]) == (320, 240, "rgb8")
    assert image["messages"] > 10 and image["publishers"] == ["/sim_camera: best_effort"]
    assert report["ros"]["depth_offset_s"] == 0.0
    assert report["ros"]["camera_info"]["width"] == 77, "published once, before doctor was there"
    assert report["model"]["is_demonstration_model"] and report["model"]["model"] == "lisa"
    assert report["packages"]["torch"] != "not installed"
    assert report["advice"] == ["There is no node /lisa; start it, or name another with --node."]
