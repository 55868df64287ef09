# SPDX-License-Identifier: Apache-2.0
"""`make fleet`: one server with the model, three robots that ask it, and a replica that is killed on the way."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.processes import isolate, node_command, running, share_memory
from lisa_ros.fleet.server_process import Server, serving
from lisa_ros.msg import Command, Segmentation
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.common.starting import Stop
from lisa_ros.segmentation.errors import LisaError

ROBOTS = ("robot1", "robot2", "robot3")
COMMANDS = ("the red mug", "something to drink from", "all the cubes", "the blue ball", "something to read")
ROUNDS = 6
REPLICAS = 2
WAIT_S = 180.0
NEW_SCENE_S = 4.0


@dataclass
class Robot:
    """A robot's node as its operator sees it."""

    name: str
    publisher: Any
    answers: dict[str, Segmentation] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    twice: int = 0

    def on_answer(self, answer: Segmentation) -> None:
        """Keeps an answer."""
        self.twice += answer.id in self.answers
        self.answers[answer.id] = answer

    def ask(self, text: str) -> None:
        """Sends a command."""
        identity = f"{self.name}-{len(self.asked) + 1}"
        self.asked.append(identity)
        self.publisher.publish(Command(id=identity, operator_id=self.name, text=text))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it.

    Returns:
        0 when every command was answered once; 1 when not, or the demo could not go on; 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="lisa_ros.demo.fleet", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/fleet"), help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    interrupted = Stop()
    interrupted.at_signals(signal.SIGHUP)
    isolate()
    share_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        print(f"The server starts with {REPLICAS} replicas; its log is {options.output}/serve.log.", flush=True)
        with serving(None, REPLICAS, options.output, WAIT_S) as server:
            return _run(server, options.output, interrupted)
    except (DemoError, LisaError) as error:
        print(f"\nfleet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfleet: interrupted", file=sys.stderr)
        return 130


def _run(server: Server, output: Path, interrupted: Stop) -> int:
    with running(_commands(server), output) as children:

        def check() -> None:
            if interrupted.is_set():
                raise KeyboardInterrupt
            for child in children:
                child.check()

        with _robots() as (robots, wait):
            wait(lambda: all(one.publisher.get_subscription_count() for one in robots), check, "the robots' nodes")
            _ask_all(robots, wait, check, server)
    return _report(robots, output)


def _commands(server: Server) -> dict[str, list[str]]:
    lisa = {"checkpoint": json.dumps(server.address), "dialogue_file": json.dumps(""), "use_depth": "false"}
    found = {}
    for number, name in enumerate(ROBOTS):
        camera = {"seed": 92 + number, "rearrange_period_s": NEW_SCENE_S, "rate_hz": 5.0}
        found[f"{name}_camera"] = node_command("sim_camera", f"/{name}", camera)
        found[f"{name}_node"] = node_command("lisa_node", f"/{name}", lisa)
    return found


Wait = Callable[[Callable[[], bool], Callable[[], None], str], None]


@contextmanager
def _robots() -> Iterator[tuple[list[Robot], Wait]]:
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node: Node = rclpy.create_node("fleet_operators")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    robots = [Robot(name, node.create_publisher(Command, f"/{name}/lisa/command", 10)) for name in ROBOTS]
    # Latched: a node may not know of its subscription yet when it publishes the first answer.
    for robot in robots:
        node.create_subscription(Segmentation, f"/{robot.name}/lisa/segmentation", robot.on_answer, LATCHED)

    def wait(condition: Callable[[], bool], check: Callable[[], None], what: str) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            check()
            if time.monotonic() > deadline_s:
                raise DemoError(f"{what} did not come within {WAIT_S:.0f} s.")
            executor.spin_once(timeout_sec=0.05)

    try:
        yield robots, wait
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _ask_all(robots: Sequence[Robot], wait: Wait, check: Callable[[], None], server: Server) -> None:
    """Rounds of commands from all robots at once; a replica is killed in the middle of one of them."""
    for robot in robots:  # a camera's first image takes a moment
        _ask_until_seen(robot, wait, check)
    for number in range(ROUNDS):
        for text in COMMANDS:
            for robot in robots:
                robot.ask(text)
            if number == ROUNDS // 2 and text == COMMANDS[0]:
                print("A replica is killed.", flush=True)
                server.kill_replica(REPLICAS, WAIT_S)
            wait(lambda: all(one.asked[-1] in one.answers for one in robots), check, "an answer")
        print(f"round {number + 1} of {ROUNDS}", flush=True)


def _ask_until_seen(robot: Robot, wait: Wait, check: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        robot.ask("the red mug")
        wait(lambda: robot.asked[-1] in robot.answers, check, f"an answer of {robot.name}")
        if robot.answers[robot.asked[-1]].status != Segmentation.NO_IMAGE:
            break
        if time.monotonic() > deadline_s:
            raise DemoError(f"the camera of {robot.name} sent no image in {WAIT_S:.0f} s.")
    robot.asked.clear()
    robot.answers.clear()


def _report(robots: Sequence[Robot], output: Path) -> int:
    names = ("robot", "commands", "answered", "failed", "known images", "first mask, ms", "total p50, ms", "p95, ms")
    rows = [_row(robot) for robot in robots]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in rows]
    (output / "fleet.md").write_text("\n".join(lines) + "\n")
    print("\n".join(["", *lines, "", f"The table is {output}/fleet.md, the logs are beside it."]))
    right = all(set(one.asked) == set(one.answers) and not one.twice and not _failed(one) for one in robots)
    return 0 if right else 1


def _row(robot: Robot) -> tuple[object, ...]:
    answers = list(robot.answers.values())
    masks = [one.first_mask_ms for one in answers if one.first_mask_ms]
    p50, p95 = np.percentile([one.total_ms for one in answers], [50, 95])
    known = sum(one.frame_known for one in answers)
    first = f"{median(masks):.0f}" if masks else "-"
    return robot.name, len(robot.asked), len(answers), _failed(robot), known, first, f"{p50:.0f}", f"{p95:.0f}"


def _failed(robot: Robot) -> int:
    return sum(one.status not in (Segmentation.OK, Segmentation.NO_OBJECT) for one in robot.answers.values())


if __name__ == "__main__":
    sys.exit(main())
