# SPDX-License-Identifier: Apache-2.0
"""Starts nodes as processes and communicates with them over DDS, for tests.

All functions wait for a condition, with a deadline that only a failing node reaches.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_prefix
from paths import HELPERS, PROCESSES
from rclpy.node import Node

from lisa_ros.demo.spun_node import spun_node

DEADLINE_S = 120.0


def private_domain() -> int:
    """The ROS domain of the test module that runs, reserved by the fixture `ros_domain` of test/conftest.py."""
    return int(os.environ["ROS_DOMAIN_ID"])


def private_environment() -> dict[str, str]:
    """The environment of a test's processes: they communicate on this machine and in the module's domain only."""
    path = os.pathsep.join(filter(None, (str(PROCESSES), str(HELPERS), os.environ.get("PYTHONPATH"))))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The condition's first true value. Fails after the deadline with the name of what was expected."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {deadline_s:.0f} s")
        time.sleep(0.005)
    return value


def free_port() -> int:
    """A TCP port for a server that is started later or again. Linux gives connections ports from 32768 on."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def wait_at(gate: Path) -> None:
    """Wait until the scripted model processes a command "gate <file>"; it waits there until the file exists."""
    wait_until(gate.with_suffix(".reached").exists, "the command at the gate")


class Process:
    """A child process whose output is kept."""

    def __init__(self, command: Sequence[str]) -> None:
        self._child = subprocess.Popen(
            list(command),
            env=private_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit code, once it has ended."""
        code = self._child.wait(deadline_s)
        self._reader.join(DEADLINE_S)
        return code

    def end(self) -> None:
        if self.alive:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.append(line)


@contextmanager
def started(command: Sequence[str]) -> Iterator[Process]:
    """Run a process while the block runs; print its output if the block fails."""
    process = Process(command)
    try:
        yield process
    except BaseException:
        process.end()
        print(process.output)
        raise
    process.end()


@contextmanager
def ros_context() -> Iterator[rclpy.Context]:
    """A context of rclpy in the private domain."""
    context = rclpy.Context()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(context=context, domain_id=private_domain())
    try:
        yield context
    finally:
        rclpy.shutdown(context=context)


@contextmanager
def talking_node(name: str) -> Iterator[Node]:
    """A node of the test, spun by a thread, in the private domain."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with spun_node(name, domain_id=private_domain()) as node:
        yield node


def scripted_node(*arguments: str) -> list[str]:
    """The command line of lisa_node with the scripted segmenter.

    A test that is held up for some seconds between its image and its command must not find the image too old.
    """
    command = [sys.executable, str(PROCESSES / "scripted_node.py")]
    age = () if any("max_image_age" in one for one in arguments) else ("-p", "max_image_age:=60.0")
    # Dialogues must not pass from one test to the next.
    return [*command, "--ros-args", "-p", "dialogue_file:=''", *age, *arguments]


def speech_node(*arguments: str, namespace: str = "") -> list[str]:
    """The command line of the speech node, with parameters as NAME:=VALUE."""
    program = Path(get_package_prefix("lisa_ros")) / "lib" / "lisa_ros" / "speech"
    remapped = ["-r", f"__ns:={namespace}"] if namespace else []
    return [
        sys.executable,
        str(program),
        "--ros-args",
        *remapped,
        *(part for text in arguments for part in ("-p", text)),
    ]
