# SPDX-License-Identifier: Apache-2.0
"""Writes docs/interface_examples.md: the messages of one command, as a real node publishes them.

tools/run python tools/show_interfaces.py docs/interface_examples.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped, PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from lisa_ros.demo.processes import Child, node_command, running, share_memory
from lisa_ros.demo.script import LINES, SEED
from lisa_ros.msg import Command, Segmentation, TrackedObject
from lisa_ros.srv import ListDialogues, ResetDialogue

_NAMESPACE = "/front"
_TOPICS: dict[str, Any] = {
    "segmentation": Segmentation,
    "explanation": String,
    "centroid_pixel": PointStamped,
    "pose": PoseStamped,
    "tracked/object": TrackedObject,
}
"""What a planner reads first. The other topics are messages of ROS 2 with the same header."""
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_SHOWN = 4
"""Elements of a long array that are shown."""
_PATIENCE_S = 300.0
_ANSWER_S = 6.0


def main() -> int:
    """Asks a real node about the demo's table, and writes what it heard."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="the page to write, docs/interface_examples.md")
    file: Path = parser.parse_args().file
    share_memory()
    settings = {"seed": SEED, "width": 320, "height": 240}
    commands = {
        "sim_camera": node_command("sim_camera", _NAMESPACE, settings),
        "lisa_node": node_command("lisa_node", _NAMESPACE, {"dialogue_file": json.dumps("")}),
    }
    with tempfile.TemporaryDirectory() as folder, running(commands, Path(folder)) as children:
        text = _talk(children)
    file.write_text(text, encoding="utf-8")
    return 0


def _talk(children: Sequence[Child]) -> str:
    rclpy.init()
    node = rclpy.create_node("reader")
    heard: dict[str, Any] = {}
    for topic, kind in _TOPICS.items():
        qos = _LATCHED if topic in ("segmentation", "tracked/object") else 10
        node.create_subscription(kind, f"{_NAMESPACE}/lisa/{topic}", lambda m, t=topic: heard.__setitem__(t, m), qos)
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: heard.__setitem__("/diagnostics", m), best_effort
    )
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    sections = _conversation(node, heard, children)
    rclpy.shutdown()
    return _page(sections)


def _conversation(node: Any, heard: dict[str, Any], children: Sequence[Child]) -> list[tuple[str, str]]:
    name = f"{_NAMESPACE}/lisa"
    commands = node.create_publisher(Command, f"{name}/command", 10)

    def is_there() -> bool:
        for child in children:
            child.check()
        return bool(commands.get_subscription_count())

    _until(is_there, "the node")
    # While the model loads, commands would wait, and the example would have been in the queue for seconds.
    _until(lambda: "/diagnostics" in heard and heard["/diagnostics"].status[0].message == "Ready.", "the model")
    command = Command(id="1", operator_id="ann", text=LINES[0].text)

    def all_heard() -> bool:
        """Asks again while a publisher and a listener may not know each other yet."""
        heard.clear()
        commands.publish(command)
        deadline = time.monotonic() + _ANSWER_S
        while len(heard) <= len(_TOPICS) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(heard) > len(_TOPICS)

    _until(all_heard, "all topics")
    sections = [("~/command (sent)", _yaml(command))]
    sections += [(f"~/{topic}", _yaml(heard[topic])) for topic in _TOPICS]
    sections.append(("/diagnostics", _yaml(heard["/diagnostics"])))
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
            raise SystemExit(f"waited {_PATIENCE_S:.0f} s without result for {what}")
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
        "# Messages of one command\n\nA command about the demo's table (320 x 240, embedded model) and what a node"
        " published, as `ros2 topic echo`\nshows it with long arrays cut. [interfaces.md](interfaces.md) has all"
        " topics, [`msg/`](../msg) the meaning of\nthe fields. The action's goal holds the same Command, its result the"
        " same Segmentation. Generated by\n`tools/show_interfaces.py`.\n"
    )
    return head + "".join(f"\n## {title}\n\n```yaml\n{text}```\n" for title, text in sections)


if __name__ == "__main__":
    sys.exit(main())
