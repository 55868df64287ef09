# SPDX-License-Identifier: Apache-2.0
"""An operator on another machine: `operator_elsewhere.py COMMANDS GOALS OUTPUTS`; prints one JSON object.

Sends commands on the topic, and goals one after the other: how often each command was answered, the goals' statuses,
and the seconds until all was answered.
"""

import json
import sys
import time
from collections import Counter

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile

from lisa_ros.client import LisaClient
from lisa_ros.msg import Command, Segmentation

_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)
_DEADLINE_S = 150.0


def statuses_of_goals(client: LisaClient, goals: int, outputs: int) -> list[str]:
    """Sends goals one after the other."""
    statuses = []
    for _ in range(goals):
        client.segment("red", operator="goals", masks="none" if outputs else "image", timeout_s=60.0)
        client.is_complete(60.0)
        statuses.append(client.result().status.name)
    return statuses


def _connected(client: LisaClient, outputs: int) -> bool:
    """Whether a goal gets an answer about an image. The first ones may be lost: discovery is not complete."""
    client.segment("red", operator="goals", masks="none" if outputs else "image", timeout_s=5.0)
    return client.is_complete(60.0) and client.result().status.name not in ("NO_IMAGE", "NO_NODE")


def _hears(node: Node, answers: Counter[str]) -> bool:
    """Whether the subscription has got an answer, of a goal, too: the node may know only the client's so far."""
    end_s = time.monotonic() + 2.0
    while not answers and time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    return bool(answers)


def main(commands: int, goals: int, outputs: int) -> None:
    rclpy.init()
    node, client = rclpy.create_node("elsewhere"), LisaClient()
    answers: Counter[str] = Counter()
    node.create_subscription(Segmentation, "/lisa/segmentation", lambda answer: answers.update([answer.id]), _ALL)
    publisher = node.create_publisher(Command, "/lisa/command", _ALL)
    end_s = time.monotonic() + _DEADLINE_S
    while not (publisher.get_subscription_count() and node.count_publishers("/lisa/segmentation")):
        rclpy.spin_once(node, timeout_sec=0.1)
        if time.monotonic() > end_s:
            raise SystemExit("the node was not discovered")
    while not (_connected(client, outputs) and _hears(node, answers)):
        time.sleep(0.1)
    print("connected", flush=True)
    answers.clear()
    began_s = time.monotonic()
    for number in range(commands):
        publisher.publish(Command(id=str(number), operator_id=f"operator {number % 4}", text="two", outputs=outputs))
        rclpy.spin_once(node, timeout_sec=0.02)
    while sum(one.isdigit() for one in answers) < commands and time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.1)
    counted = {one: times for one, times in answers.items() if one.isdigit()}
    statuses = statuses_of_goals(client, goals, outputs)
    print(json.dumps({"answers": counted, "goals": statuses, "seconds": time.monotonic() - began_s}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
