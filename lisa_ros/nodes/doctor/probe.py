# SPDX-License-Identifier: Apache-2.0
"""Listens to the camera's topics and to the node for some seconds, as lisa_node would."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lisa_ros.nodes.common.endpoints import LATCHED, offers_latched
from lisa_ros.nodes.common.stamps import nanoseconds

_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass
class TopicFacts:
    """What was heard on one topic.

    Attributes:
        name: the topic.
        publishers: "node: reliability" of each.
        types: of what is published there.
        messages: that arrived.
        rate_hz: at which they arrived.
        encoding: of images; the format of compressed ones.
        width, height: pixels; 0: not known.
        message_bytes: of the data of the newest.
        frame_id: of the newest header.
        age_s: median of arrival minus stamp, seconds.
        stamps_ns: of all messages.
    """

    name: str
    publishers: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    messages: int = 0
    rate_hz: float = 0.0
    encoding: str = ""
    width: int = 0
    height: int = 0
    message_bytes: int = 0
    frame_id: str = ""
    age_s: float | None = None
    stamps_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SystemFacts:
    """What was heard of a ROS 2 system.

    Attributes:
        image, depth, camera_info: the camera's topics.
        depth_offset_s: median distance of a depth image's stamp to the nearest image's, seconds; None: not measured.
        node: full name of the node that was looked for.
        node_is_there: whether it is in the graph.
        diagnostics: its newest status: level, message and values by key.
        rmw: the RMW implementation.
        profiles: the Fast DDS profile file of this terminal; empty: none.
        seconds: for which was listened.
    """

    image: TopicFacts
    depth: TopicFacts
    camera_info: TopicFacts
    depth_offset_s: float | None
    node: str
    node_is_there: bool
    diagnostics: dict[str, Any]
    rmw: str
    profiles: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For a program; without the single stamps."""
        facts = asdict(self)
        for topic in ("image", "depth", "camera_info"):
            del facts[topic]["stamps_ns"]
        return facts


@dataclass(frozen=True)
class Wanted:
    """What to listen to: topics of the camera, the node's full name, and for how long (seconds)."""

    image: str = "/image"
    depth: str = "/depth"
    camera_info: str = "/camera_info"
    node: str = "/lisa"
    seconds: float = 5.0


def listen(wanted: Wanted) -> SystemFacts:
    """Listens, and reports what was heard. Starts and ends ROS in this process."""
    rclpy.init(args=[])
    try:
        node = rclpy.create_node(f"lisa_doctor_{os.getpid()}")
        try:
            return _listen(node, wanted)
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


def _listen(node: Node, wanted: Wanted) -> SystemFacts:
    topics = {name: TopicFacts(getattr(wanted, name)) for name in ("image", "depth", "camera_info")}
    diagnostics: dict[str, Any] = {}
    subscribed: set[str] = set()
    node.create_subscription(DiagnosticArray, "/diagnostics", _take_diagnostics(wanted.node, diagnostics), 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    began_s = time.monotonic()
    while (left_s := began_s + wanted.seconds - time.monotonic()) > 0:
        for key, facts in topics.items():
            if key not in subscribed and _subscribe(node, facts, is_image=key != "camera_info"):
                subscribed.add(key)
        executor.spin_once(timeout_sec=min(0.1, left_s))
    for facts in topics.values():
        _read_graph(node, facts)
        facts.rate_hz = facts.messages / wanted.seconds
    return SystemFacts(
        **topics,
        depth_offset_s=_offset_s(topics["image"].stamps_ns, topics["depth"].stamps_ns),
        node=wanted.node,
        node_is_there=wanted.node in _names(node),
        diagnostics=diagnostics,
        rmw=rclpy.get_rmw_implementation_identifier(),
        profiles=next((os.environ[name] for name in _PROFILES if os.environ.get(name)), ""),
        seconds=wanted.seconds,
    )


_PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def _names(node: Node) -> set[str]:
    return {f"{namespace.rstrip('/')}/{name}" for name, namespace in node.get_node_names_and_namespaces()}


def _subscribe(node: Node, facts: TopicFacts, *, is_image: bool) -> bool:
    """Subscribes once the type is known, which takes the discovery a moment."""
    types = dict(node.get_topic_names_and_types()).get(facts.name, [])
    if not types:
        return False
    kind: Any = CameraInfo
    if is_image:
        kind = CompressedImage if "sensor_msgs/msg/CompressedImage" in types else Image
    if f"sensor_msgs/msg/{kind.__name__}" in types:
        qos = LATCHED if kind is CameraInfo and offers_latched(node, facts.name) else _QOS  # published once, perhaps
        node.create_subscription(kind, facts.name, _take(node, facts), qos)
    return True


def _take(node: Node, facts: TopicFacts) -> Callable[[Any], None]:
    ages_s: list[float] = []

    def take(message: Any) -> None:
        stamp_ns = nanoseconds(message.header.stamp.sec, message.header.stamp.nanosec)
        ages_s.append((node.get_clock().now().nanoseconds - stamp_ns) / 1e9)
        facts.messages += 1
        facts.age_s = median(ages_s)
        facts.stamps_ns.append(stamp_ns)
        facts.frame_id = message.header.frame_id
        facts.width, facts.height = getattr(message, "width", 0), getattr(message, "height", 0)
        facts.encoding = getattr(message, "encoding", getattr(message, "format", ""))
        facts.message_bytes = len(getattr(message, "data", b""))

    return take


def _take_diagnostics(name: str, found: dict[str, Any]) -> Callable[[DiagnosticArray], None]:
    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.hardware_id == name.strip("/"):
                found["level"] = int.from_bytes(status.level, "little")
                found["message"] = status.message
                found["values"] = {value.key: value.value for value in status.values}

    return take


def _read_graph(node: Node, facts: TopicFacts) -> None:
    facts.types = dict(node.get_topic_names_and_types()).get(facts.name, [])
    for info in node.get_publishers_info_by_topic(facts.name):
        who = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
        facts.publishers.append(f"{who}: {info.qos_profile.reliability.name.lower()}")


def _offset_s(images_ns: list[int], depths_ns: list[int]) -> float | None:
    if not images_ns or not depths_ns:
        return None
    return median(min(abs(image - depth) for image in images_ns) for depth in depths_ns) / 1e9
