# SPDX-License-Identifier: Apache-2.0
"""Fifty nodes in one ROS domain on one machine: each is found, and each answers its own commands."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack

import camera_images
import pytest
from rclpy.qos import HistoryPolicy, QoSProfile
from ros_harness import scripted_node, started, talking_node, wait_until
from sensor_msgs.msg import Image

from lisa_ros.msg import Command, Segmentation

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(1200)]
NODES, COMMANDS = 50, 4
_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)


def memory_mib(pid: int) -> float:
    with open(f"/proc/{pid}/smaps_rollup") as file:  # noqa: PTH123
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("Pss:"))


def test_fifty_nodes_answer_their_own_commands() -> None:
    names = [f"/robot{number}" for number in range(NODES)]
    answers: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    def count(answer: Segmentation) -> None:
        answers[answer.id] += 1
        statuses[answer.status] += 1

    began_s = time.monotonic()
    with talking_node("operator") as node, ExitStack() as stack:
        camera = node.create_publisher(Image, "/image", 1)
        processes = []
        for name in names:
            command = scripted_node("-r", f"__ns:={name}", "-r", "image:=/image", "-p", "max_image_age:=0.0")
            processes.append(stack.enter_context(started(command)))
            if len(processes) % 5 == 0:  # five at a time, as robots that are switched on one after the other
                wait_until(lambda: all("Ready" in one.output for one in processes), "the nodes", 300)
        publishers = {name: node.create_publisher(Command, f"{name}/lisa/command", _ALL) for name in names}
        for name in names:
            node.create_subscription(Segmentation, f"{name}/lisa/segmentation", count, _ALL)

        def unconnected() -> list[str]:
            heard = {name for name in names if node.count_publishers(f"{name}/lisa/segmentation")}
            return [name for name in names if name not in heard or not publishers[name].get_subscription_count()]

        wait_until(lambda: not unconnected(), "all nodes", 120)
        started_s = time.monotonic() - began_s
        image = camera_images.message("rgb8")
        image.header.stamp = node.get_clock().now().to_msg()
        wait_until(lambda: camera.get_subscription_count() == NODES, "all cameras", 120)
        for _ in range(5):
            camera.publish(image)
            time.sleep(0.2)
        sent_s = time.monotonic()
        ids = [f"{name} {number}" for number in range(COMMANDS) for name in names]
        for identity in ids:
            publishers[identity.split()[0]].publish(Command(id=identity, operator_id="ann", text="two"))
        wait_until(lambda: len(answers) == len(ids), "all answers", 120)
        answered_s = time.monotonic() - sent_s
        time.sleep(1.0)
        assert answers == Counter(ids)
        assert statuses[Segmentation.OK] == len(ids)
        memory = [memory_mib(one.pid) for one in processes]
    print(
        f"{NODES} nodes: found after {started_s:.0f} s, {len(ids)} answers in {answered_s:.1f} s, "
        f"{sum(memory) / 1024:.1f} GiB together"
    )
