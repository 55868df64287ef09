# SPDX-License-Identifier: Apache-2.0
"""`lisa train --stages render` that gets SIGTERM: no trace of it but whole shards, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def render(views: Path, work: Path) -> list[str]:
    options = ["--train-views", "100000", "--views", str(views), "--work", str(work)]
    return [sys.executable, "-m", "lisa_ros.cli.main", "train", "--stages", "render", *options]


def test_sigterm_ends_its_processes_and_says_that_the_same_command_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        render(tmp_path / "views", tmp_path / "work"), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 120
        while not any((tmp_path / "views/train").glob("shard_*.npz")):  # its processes render by now
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        workers = _children(process.pid)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        deadline = time.monotonic() + 5
    finally:
        process.kill()
    assert process.returncode == 143
    assert "rendering stopped; the same command resumes" in said
    assert "Traceback" not in said and "leaked" not in said
    assert len(workers) >= 2
    while any(map(_runs, workers)):  # the last one, Python's resource tracker, ends when its pipe is closed
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not list((tmp_path / "views/train").glob("*.part"))


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
