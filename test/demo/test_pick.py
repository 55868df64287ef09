# SPDX-License-Identifier: Apache-2.0
"""The arm takes what an operator asks for: the real node, over ROS, and an arm in PyBullet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ros_harness import private_environment

pytestmark = pytest.mark.ros


@pytest.mark.slow  # 20 to 60 s
@pytest.mark.timeout(400)
def test_the_arm_lifts_what_is_asked_for(tmp_path: Path) -> None:
    film = tmp_path / "pick.gif"
    command = [
        sys.executable,
        "-m",
        "lisa_ros.demo.pick",
        "--scenes",
        "2",
        "--output",
        str(tmp_path),
        "--gif",
        str(film),
    ]
    ran = subprocess.run(command, env=private_environment(), capture_output=True, text=True, check=False, timeout=360)
    assert ran.returncode == 0, ran.stderr[-2000:]
    trials = json.loads((tmp_path / "pick.json").read_text())
    assert [(one["kind"], one["outcome"]) for one in trials] == [("cube", "lifted")] * 2
    assert all(one["answer_ms"] > 0 and one["text"] for one in trials)
    assert "Lifted: 2 of 2." in ran.stdout and "| direct | 2 | 2 |" in ran.stdout
    assert film.read_bytes()[:6] == b"GIF89a"
