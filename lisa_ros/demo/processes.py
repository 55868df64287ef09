# SPDX-License-Identifier: Apache-2.0
"""The demo's nodes as processes: started together, watched, and ended in every case."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import get_package_prefix, get_package_share_directory

from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.private_domain import reserved_domain

_TAIL_LINES = 15
_until_exit = ExitStack()
# lisa_node answers what waits and ends its threads first, which it gives itself 23 s for at most.
_END_S = 28.0


@dataclass(frozen=True)
class Child:
    """A running node and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise DemoError, with the end of its log, when it is not running any more."""
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            tail = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
            raise DemoError(f"{self.name} ended early with exit code {code}. The end of {self.log}:\n{tail}")


def isolate() -> None:
    """For this process and its children: nothing is sent beyond this machine or received from other runs.

    Whatever the terminal is set to.
    """
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(_until_exit.enter_context(reserved_domain("demo")))
    os.environ.pop("ROS_STATIC_PEERS", None)


def share_memory() -> None:
    """For this process and its children: images of any size through shared memory, see docs/interfaces.md.

    Unless the terminal has settings of its own. Fast DDS's default holds 512 kB: already a colour and a depth image
    of 320 x 240 together are more, and some are lost.
    """
    profiles = str(Path(get_package_share_directory("lisa_ros")) / "config" / "fastdds.xml")
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(name, profiles)


def node_command(executable: str, namespace: str, parameters: Mapping[str, object]) -> list[str]:
    """What `ros2 run lisa_ros EXECUTABLE` runs, in a namespace, with parameters whose values are YAML."""
    program = Path(get_package_prefix("lisa_ros")) / "lib" / "lisa_ros" / executable
    settings = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, str(program), "--ros-args", "-r", f"__ns:={namespace}", *settings]


@contextmanager
def running(commands: Mapping[str, Sequence[str]], folder: Path) -> Iterator[list[Child]]:
    """Runs the commands (by name) as long as the block lasts; their output goes to FOLDER/NAME.log.

    Signals must not raise here: an exception in the midst of starting a process would lose it.
    """
    children: list[Child] = []
    try:
        for name, command in commands.items():
            children.append(_start(name, command, folder / f"{name}.log"))
        yield children
    finally:
        _end(children)


def _start(name: str, command: Sequence[str], log: Path) -> Child:
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return Child(name, process, log)


def _end(children: Sequence[Child]) -> None:
    for child in children:
        child.process.send_signal(signal.SIGINT)
    for child in children:
        try:
            child.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
