# SPDX-License-Identifier: Apache-2.0
"""Writes docs/interface_examples.md: what every topic, service and action says, as the real node says it.

tools/run .venv/bin/python tools/show_interfaces.py docs/interface_examples.md
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped, PoseStamped
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from lisa_ros.action import Segment
from lisa_ros.demo.processes import node_command, running, share_memory
from lisa_ros.demo.script import LINES, SEED
from lisa_ros.msg import Command, Segmentation, TrackedObject
from lisa_ros.srv import ListDialogues, ResetDialogue

_NAMESPACE = "/front"
_TOPICS: dict[str, Any] = {
    "segmentation": Segmentation,
    "mask": Image,
    "explanation": String,
    "centroid_pixel": PointStamped,
    "centroid": PointStamped,
    "pose": PoseStamped,
    "points": PointCloud2,
    "markers": MarkerArray,
    "confidence": Image,
    "labels": Image,
    "frame/image": Image,
    "frame/depth": Image,
    "frame/camera_info": CameraInfo,
    "overlay": Image,
    "tracked/object": TrackedObject,
    "tracked/mask": Image,
    "tracked/centroid_pixel": PointStamped,
    "tracked/centroid": PointStamped,
    "tracked/pose": PoseStamped,
    "tracked/points": PointCloud2,
}
with suppress(ImportError):  # an optional package of ROS 2
    from vision_msgs.msg import LabelInfo

    _TOPICS["label_info"] = LabelInfo
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_SHOWN = 4
"""Elements of a long array that are shown."""
_PATIENCE_S = 120.0
_ANSWER_S = 6.0


def main() -> int:
    """Asks a real node about the demo's table, and writes what it heard."""
    share_memory()
    settings = {"seed": SEED, "width": 320, "height": 240}
    commands = {
        "sim_camera": node_command("sim_camera", _NAMESPACE, settings),
        "lisa_node": node_command("lisa_node", _NAMESPACE, {"dialogue_file": json.dumps("")}),
    }
    with tempfile.TemporaryDirectory() as folder, running(commands, Path(folder)):
        text = _talk()
    Path(sys.argv[1]).write_text(text, encoding="utf-8")
    return 0


def _talk() -> str:
    rclpy.init()
    node = rclpy.create_node("reader")
    heard: dict[str, Any] = {}
    for topic, kind in _TOPICS.items():
        qos = _LATCHED if topic in ("segmentation", "tracked/object", "label_info") else 10
        node.create_subscription(kind, f"{_NAMESPACE}/lisa/{topic}", lambda m, t=topic: heard.__setitem__(t, m), qos)
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: heard.__setitem__("/diagnostics", m), best_effort
    )
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    sections = _conversation(node, heard)
    rclpy.shutdown()
    return _page(sections)


def _conversation(node: Any, heard: dict[str, Any]) -> list[tuple[str, str]]:
    name = f"{_NAMESPACE}/lisa"
    commands = node.create_publisher(Command, f"{name}/command", 10)
    action = ActionClient(node, Segment, f"{name}/segment")
    _until(lambda: commands.get_subscription_count() and action.server_is_ready(), "the node")
    command = Command(id="1", operator_id="ann", text=LINES[0].text)

    def all_heard() -> bool:
        """Asks again while a publisher and a listener may not know each other yet."""
        for topic in set(heard) - {"label_info"}:  # which is sent once
            heard.pop(topic, None)
        commands.publish(command)
        deadline = time.monotonic() + _ANSWER_S
        while len(heard) <= len(_TOPICS) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(heard) > len(_TOPICS)

    _until(all_heard, "all topics")
    sections = [("~/command (sent)", _yaml(command)), ("~/command_text (sent)", _yaml(String(data=command.text)))]
    sections += [(f"~/{topic}", _yaml(heard[topic])) for topic in _TOPICS]
    sections.append(("/diagnostics", _yaml(heard["/diagnostics"])))
    feedback: list[Any] = []
    goal = Segment.Goal(command=Command(operator_id="ben", text=LINES[0].text))
    sent = action.send_goal_async(goal, feedback_callback=lambda message: feedback.append(message.feedback))
    handle = _result(sent)
    result = _result(handle.get_result_async()).result
    _until(lambda: any(one.found for one in feedback), "feedback")
    found = next(one for one in feedback if one.found)
    sections += [
        ("~/segment: goal", _yaml(goal)),
        ("~/segment: feedback", _yaml(found)),
        ("~/segment: result", _yaml(result)),
    ]
    for kind, service, request in (
        (ListDialogues, "list_dialogues", ListDialogues.Request()),
        (ResetDialogue, "reset_dialogue", ResetDialogue.Request(operator_id="ann")),
    ):
        client = node.create_client(kind, f"{name}/{service}")
        _until(client.service_is_ready, service)
        sections.append((f"~/{service}", _yaml(request) + "---\n" + _yaml(_result(client.call_async(request)))))
    return sections


def _result(future: Any) -> Any:
    _until(future.done, "an answer")
    return future.result()


def _until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {_PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(0.05)


def _yaml(message: Any, indent: str = "") -> str:
    lines = []
    for field in message.get_fields_and_field_types():
        value = getattr(message, field)
        if hasattr(value, "get_fields_and_field_types"):
            lines.append(f"{indent}{field}:\n{_yaml(value, indent + '  ')}")
        elif isinstance(value, list) and value and hasattr(value[0], "get_fields_and_field_types"):
            items = "".join(f"{indent}-\n{_yaml(one, indent + '  ')}" for one in value[:_SHOWN])
            more = f"{indent}# ... {len(value)} in all\n" if len(value) > _SHOWN else ""
            lines.append(f"{indent}{field}:\n{items}{more}")
        else:
            lines.append(f"{indent}{field}: {_plain(value)}\n")
    return "".join(lines) or f"{indent}# empty\n"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return str(value[0])
    if hasattr(value, "__len__"):
        shown = ", ".join(_plain(one) for one in list(value[: _SHOWN * 3]))
        return f"[{shown}]" if len(value) <= _SHOWN * 3 else f"[{shown}, ...]  # {len(value)} elements"
    return f"{value:.6g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _page(sections: list[tuple[str, str]]) -> str:
    head = (
        "# What the node says\n\nOne command about the demo's table (320 x 240, the checkpoint that comes with the"
        " package), as `ros2 topic echo`\nshows it, long arrays cut (`~/label_info` with vision_msgs installed)."
        " Written by `tools/show_interfaces.py`; what\nthe fields mean stands in [interfaces.md](interfaces.md)"
        " and [`msg/`](../msg).\n"
    )
    return head + "".join(f"\n## {title}\n\n```yaml\n{text}```\n" for title, text in sections)


if __name__ == "__main__":
    sys.exit(main())
