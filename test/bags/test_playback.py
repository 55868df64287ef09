# SPDX-License-Identifier: Apache-2.0
"""`lisa bag` gives the answers that the node gives when the same bag is played to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy.serialization
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from recorded_bags import DEPTH, IMAGE, INFO, START_NS, write_bag
from ros_harness import scripted_node, started, talking_node, wait_until
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from scripted_segmenter import ScriptedSegmenter
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from lisa_ros.bags.commands import BagCommand
from lisa_ros.bags.frames import Topics
from lisa_ros.bags.run import BagJob, run_bag
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.lisa.answers.detections import vision_messages

pytestmark = pytest.mark.ros

LOOKER = "looker"
COMMANDS = (
    BagCommand(0.55, "ann", "two"),
    BagCommand(0.95, "ann", "history"),
    BagCommand(1.05, "bob", "the blue one"),
    BagCommand(1.25, "bob", "nothing"),
)


PLANNER_TOPICS: dict[str, Any] = {
    "instances": Image,
    "confidence": Image,
    "markers": MarkerArray,
    "grip_point": PoseStamped,
}
if (vision := vision_messages()) is not None:
    PLANNER_TOPICS |= {"detections_2d": vision.Detection2DArray, "detections": vision.Detection3DArray}


class Player:
    """Plays a bag with /clock, and gives each command at its time."""

    def __init__(self, node: Node) -> None:
        self.answers: list[Segmentation] = []
        self.refusals: list[Segmentation] = []
        self._newest: Any = None
        self.others: dict[str, list[Any]] = {topic: [] for topic in PLANNER_TOPICS}
        self._clock = node.create_publisher(Clock, "/clock", 1)
        self._commands = node.create_publisher(Command, "/played/command", 10)
        self._camera = {
            topic: node.create_publisher(kind, topic, qos_profile_sensor_data)
            for topic, kind in ((IMAGE, Image), (DEPTH, Image), (INFO, CameraInfo))
        }
        self._kinds = {IMAGE: Image, DEPTH: Image, INFO: CameraInfo}
        node.create_subscription(Segmentation, "/played/segmentation", self._keep, LATCHED)
        for topic, kind in PLANNER_TOPICS.items():
            node.create_subscription(kind, f"/played/{topic}", self.others[topic].append, 10)

    def _keep(self, answer: Segmentation) -> None:
        (self.refusals if answer.operator_id == LOOKER else self.answers).append(answer)

    def play(self, bag: Path) -> None:
        publishers = (self._commands, *self._camera.values())
        wait_until(lambda: all(one.get_subscription_count() for one in publishers), "the node")
        coming = list(COMMANDS)
        with AnyReader([bag]) as reader:
            for connection, time_ns, data in reader.messages():
                while coming and coming[0].time_ns(START_NS + 2_000_000) < time_ns:
                    self._ask(coming.pop(0))
                self._tick(time_ns)
                message = rclpy.serialization.deserialize_message(bytes(data), self._kinds[connection.topic])
                self._camera[connection.topic].publish(message)
                self._newest = message if connection.topic == IMAGE else self._newest
                time.sleep(0.05)

    def _ask(self, command: BagCommand) -> None:
        time_ns = command.time_ns(START_NS + 2_000_000)
        self._tick(time_ns)
        wait_until(lambda: self._has_newest(stamp(time_ns)), "the arrival of the images before it")
        before = len(self.answers)
        self._commands.publish(Command(operator_id=command.operator, text=command.text, stamp=stamp(time_ns)))
        wait_until(lambda: len(self.answers) > before, f"the answer to {command.text!r}")

    def _has_newest(self, now: Time) -> bool:
        """Whether the node has the newest image: asked with a command that the model refuses, which leaves no turn."""
        count = len(self.refusals)
        self._commands.publish(Command(operator_id=LOOKER, text="forbidden", stamp=now, dialogue="none"))
        wait_until(lambda: len(self.refusals) > count, "a refusal")
        if self.refusals[-1].header.stamp == self._newest.header.stamp:
            return True
        time.sleep(0.1)
        return False

    def _tick(self, time_ns: int) -> None:
        self._clock.publish(Clock(clock=stamp(time_ns)))


def stamp(time_ns: int) -> Time:
    return Time(sec=time_ns // 10**9, nanosec=time_ns % 10**9)


def answers_of(bag: Path, topic: str = "segmentation") -> list[Any]:
    with AnyReader([bag]) as reader:
        wanted = [one for one in reader.connections if one.topic == f"/lisa/{topic}"]
        return [reader.deserialize(data, one.msgtype) for one, _, data in reader.messages(wanted)]


def plain(message: Any) -> Any:
    """The values of a message of either library, without its types; ids of commands differ."""
    if isinstance(message, (str, bytes, bool, int, float)):
        return message
    if hasattr(message, "get_fields_and_field_types"):
        return {name: plain(getattr(message, name)) for name in message.get_fields_and_field_types() if name != "id"}
    if hasattr(message, "__msgtype__"):
        # Constants, in capitals, and "__msgtype__" are no fields.
        return {
            name: plain(value)
            for name, value in vars(message).items()
            if name not in ("id", "__msgtype__") and name.islower()
        }
    return [plain(one) for one in (message.tolist() if hasattr(message, "tolist") else message)]


def difference(one: Any, other: Any, where: str) -> str:
    """The first field in which two values differ."""
    if isinstance(one, dict) and one.keys() == other.keys():
        return next((found for key in one if (found := difference(one[key], other[key], f"{where}.{key}"))), "")
    if isinstance(one, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((found for i, (a, b) in pairs if (found := difference(a, b, f"{where}[{i}]"))), "")
    return "" if one == other else f"{where}: {one!r} and {other!r}"


def test_a_bag_gets_the_answers_of_its_playback(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", images=16, size=(320, 240))  # small: cameras are best effort
    run_bag(BagJob(source, tmp_path / "out", Topics(IMAGE, DEPTH, INFO), COMMANDS), ScriptedSegmenter, lambda _: None)
    remapped = [
        word
        for name, topic in (("image", IMAGE), ("depth", DEPTH), ("camera_info", INFO))
        for word in ("-r", f"{name}:={topic}")
    ]
    arguments = ("-r", "__node:=played", "-p", "use_sim_time:=true", *remapped)
    with talking_node("player") as node, started(scripted_node(*arguments)):
        player = Player(node)
        player.play(source)
        for topic, messages in player.others.items():
            expected = len(answers_of(tmp_path / "out", topic))
            wait_until(lambda messages=messages, expected=expected: len(messages) >= expected, topic)
    ours = answers_of(tmp_path / "out")
    assert len(ours) == len(player.answers) == len(COMMANDS)
    for from_bag, from_node in zip(ours, player.answers, strict=True):
        for field in ("operator_id", "text", "status", "detail", "answer", "explanation", "turn", "position_frame"):
            assert getattr(from_bag, field) == getattr(from_node, field), field
        assert from_bag.header.stamp.sec == from_node.header.stamp.sec
        assert from_bag.header.stamp.nanosec == from_node.header.stamp.nanosec
        assert len(from_bag.objects) == len(from_node.objects)
        for one, other in zip(from_bag.objects, from_node.objects, strict=True):
            assert np.array_equal(one.mask.data, np.asarray(other.mask.data))
            for field in (
                "pixels",
                "phrase",
                "name",
                "located",
                "location_detail",
                "score",
                "score_calibrated",
                "span_begin",
            ):
                assert getattr(one, field) == getattr(other, field), field
            for axis in "xyz":
                assert getattr(one.pose.position, axis) == getattr(other.pose.position, axis)
                assert getattr(one.box_size, axis) == getattr(other.box_size, axis)
    assert len(ours[0].objects) == 2 and ours[0].objects[0].located
    # The scripted model reports no probabilities, so that confidence is there for answers without objects alone.
    for topic, messages in player.others.items():
        from_bag = answers_of(tmp_path / "out", topic)
        assert len(from_bag) == len(messages) > 0, topic
        assert difference([plain(one) for one in from_bag], [plain(one) for one in messages], topic) == ""
    for one, other in zip(ours, player.answers, strict=True):
        assert [plain(found.grip) for found in one.objects] == [plain(found.grip) for found in other.objects]
    assert ours[0].objects[0].grip.found and ours[0].objects[0].grip.strategy == "top_plane"
