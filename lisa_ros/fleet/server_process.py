# SPDX-License-Identifier: Apache-2.0
"""The server as a process of its own, and what can be done to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lisa_ros.segmentation.errors import LisaError

NAME = "fleet"
_READY = "Robots ask"
_REPLICA = f"ServeReplica:{NAME}:model"
_END_S = 60.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        address: lisa://127.0.0.1:PORT/NAME.
        process: of `lisa serve`.
    """

    address: str
    process: subprocess.Popen[bytes]

    def replicas(self) -> list[int]:
        """Process ids of the model's replicas: those of this server alone."""
        return descendants(self.process.pid, _REPLICA)

    def kill_replica(self, replicas: int, timeout_s: float) -> None:
        """Kill one replica, once all of them run."""
        deadline_s = time.monotonic() + timeout_s
        while len(running := self.replicas()) < replicas:
            if time.monotonic() > deadline_s:
                raise LisaError(f"after {timeout_s:.0f} s, {len(running)} of {replicas} replicas run")
            time.sleep(0.2)
        os.kill(running[0], signal.SIGKILL)


def descendants(ancestor: int, title: str) -> list[int]:
    """Process ids of an ancestor's children, their children and so on, whose command line contains the title."""
    rows = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found = {int(row.split(None, 2)[0]): row.split(None, 2) for row in rows.splitlines()}

    def is_ours(pid: int) -> bool:
        while pid in found and pid != ancestor:
            pid = int(found[pid][1])
        return pid == ancestor

    return [pid for pid, row in found.items() if title in row[2] and is_ours(pid)]


@contextmanager
def serving(checkpoint: Path | None, replicas: int, folder: Path, timeout_s: float) -> Iterator[Server]:
    """Run `lisa serve` while the block runs.

    Args:
        checkpoint: None: the embedded one.
        replicas: of the model.
        folder: for its log.
        timeout_s: longest wait for its start.

    Raises:
        LisaError: it does not start; the text has the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "serve.log"
    command = [sys.executable, "-m", "lisa_ros.cli", "serve", "--name", NAME, "--port", str(port)]
    command += ["--replicas", str(replicas), *(["--checkpoint", str(checkpoint)] if checkpoint else [])]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(process, log, timeout_s)
        yield Server(f"lisa://127.0.0.1:{port}/{NAME}", process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while _READY not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline_s:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise LisaError(f"the server did not start. The end of {log}:\n{tail}")
        time.sleep(0.2)
