# SPDX-License-Identifier: Apache-2.0
"""`lisa console`: its parameters, and the processes of --simulated, which end with it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("starlette", reason="the extra `console` is not installed")

import rclpy
from console_page import address_of, console_command
from ros_harness import Process, private_domain, started, wait_until

from lisa_ros.cli.console import _arguments
from lisa_ros.demo import fleet

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("text", ["it's a secret", "/data/o'b/cert.pem", "::", 'a "b": {c}', "1234567890123", "äöü"])
def test_texts_reach_the_node_as_they_were_typed(text: str) -> None:
    options = argparse.Namespace(host=text, port=0, token=text, tls_cert=text, tls_key=text, cameras="front, wrist")
    context = rclpy.Context()
    rclpy.init(args=_arguments(options), context=context, domain_id=private_domain())
    try:
        node = rclpy.create_node("console", context=context)
        for name in ("host", "token", "tls_cert", "tls_key"):
            assert node.declare_parameter(name, "").value == text
        assert node.declare_parameter("cameras", [""]).value == ["front", "wrist"]
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


@contextmanager
def simulated(folder: Path, *options: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "lisa_ros.cli", "console", "--simulated", "--port", "0", "--output", str(folder)]
    with started([*command, *options]) as process:
        wait_until(lambda: not process.alive or "Logs: " in process.output, "the names of the logs")
        yield process


def children_of(process: Process) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.parametrize("when", ["at the start", "with a page"])
def test_a_closed_terminal_ends_camera_and_node(tmp_path: Path, when: str) -> None:
    with simulated(tmp_path) as process:
        assert f"{tmp_path / 'camera.log'}, {tmp_path / 'node.log'}" in process.output
        children = children_of(process)
        assert len(children) == 2
        if when == "with a page":
            address_of(process)
        process.send_signal(signal.SIGHUP)
        assert process.wait() in (0, 130)
        assert "Traceback" not in process.output
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_a_camera_that_ends_by_itself_is_said_with_its_log(tmp_path: Path) -> None:
    with simulated(tmp_path) as process:
        (camera,) = (one for one in children_of(process) if b"camera" in Path(f"/proc/{one}/cmdline").read_bytes())
        os.kill(camera, signal.SIGKILL)
        wait_until(lambda: f"camera ended early with exit code -9. The end of {tmp_path}" in process.output, "the end")
        address_of(process)


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    with started(["nohup", *console_command()]) as process:
        address_of(process)
        process.send_signal(signal.SIGHUP)
        time.sleep(2.0)  # it would end within 0.1 s
        assert process.alive


@pytest.fixture
def signals() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_the_fleet_demonstration_is_interrupted_by_a_closed_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: None
) -> None:
    def run(server: Any, output: Path, interrupted: Any) -> int:
        signal.raise_signal(signal.SIGHUP)
        return 7 if interrupted.is_set() else 0

    monkeypatch.setattr(fleet, "isolate", lambda: None)
    monkeypatch.setattr(fleet, "share_memory", lambda: None)
    monkeypatch.setattr(fleet, "serving", lambda *_: nullcontext())
    monkeypatch.setattr(fleet, "_run", run)
    assert fleet.main(["--output", str(tmp_path)]) == 7
