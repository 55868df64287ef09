# SPDX-License-Identifier: Apache-2.0
"""The README's blocks about a running node, as they are written, with the simulated camera and the embedded model."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT
from ros_harness import private_environment, wait_until

from lisa_ros.demo.processes import node_command

ENDED_S = 60


def block(language: str, word: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [one for one in blocks if word in one]
    return found


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A person opens the other terminals once the log says "Ready"."""
    log = tmp_path_factory.mktemp("nodes") / "log"
    commands = (
        node_command("sim_camera", "/", {"seed": 92, "width": 320, "height": 240}),
        node_command("lisa_node", "/", {"dialogue_file": json.dumps("")}),
    )
    with log.open("w") as output:
        children = [subprocess.Popen(one, env=private_environment(), stderr=output) for one in commands]
    wait_until(lambda: "Ready: " in log.read_text(), "the node", deadline_s=120)
    yield
    for child in children:
        child.terminate()
    for child in children:
        child.wait(ENDED_S)


def test_the_planners_snippet_gets_an_answer(nodes: None, tmp_path: Path) -> None:
    program = tmp_path / "planner.py"
    program.write_text(block("python", "LisaClient").replace("the red mug", "the blue bottle") + "print(result)\n")
    deadline_s = time.monotonic() + 120
    while True:
        done = subprocess.run(
            [sys.executable, program],
            env=private_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        # The node may be ready before the camera sends.
        if "NO_IMAGE" not in done.stdout or time.monotonic() > deadline_s:
            break
    assert done.returncode == 0, done.stderr
    assert "The blue bottle" in done.stdout and "Status.OK" in done.stdout


@pytest.mark.skipif(
    shutil.which("ros2") is None or importlib.util.find_spec("rosidl_runtime_py") is None,
    reason="no ros2 command line here",
)
def test_echo_and_pub_print_the_answer(nodes: None) -> None:
    echo = subprocess.Popen(
        ["bash", "-c", f"exec {block('bash', 'topic echo')}"],
        env=private_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        subprocess.run(["bash", "-c", block("bash", "topic pub")], env=private_environment(), check=True, timeout=120)
        assert echo.stdout is not None
        answer = "".join(itertools.takewhile(lambda line: line != "---\n", echo.stdout))
        assert "text: hand me something to drink from\n" in answer and "status: 0\n" in answer
        assert "explanation: Sure, it is ①" in answer and "objects: '<sequence type" in answer
    finally:
        echo.terminate()
        echo.wait(ENDED_S)
