# SPDX-License-Identifier: Apache-2.0
"""The worked example: a planner asks the real node about the simulated table, and takes the thing where it truly is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from paths import CONFIG
from ros_harness import private_environment, wait_until

from lisa_ros.demo.processes import node_command, running
from lisa_ros.demo.script import SEED
from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.spatial.rotation import rotation_of

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def view() -> View:
    with Tabletop(SEED, width=WIDTH, height=HEIGHT) as table:
        return table.render()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    camera = {"seed": SEED, "width": WIDTH, "height": HEIGHT}
    commands = {
        "sim_camera": node_command("sim_camera", "/grasp", camera),
        "lisa_node": node_command("lisa_node", "/grasp", {"dialogue_file": "''", "device": "cpu"}),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in private_environment().items():
            patch.setenv(name, value)
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            patch.setenv(name, str(CONFIG / "fastdds.xml"))
        with running(commands, tmp_path_factory.mktemp("logs")):
            yield


def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    names = ("--lisa", "/grasp/lisa", "--camera-pose", "/grasp/sim_camera/camera_pose")
    command = [sys.executable, "-m", "lisa_ros.demo.grasp", *arguments, *names]
    return subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)


def first_success(*arguments: str) -> str:
    """The first images may still be on their way."""
    tried: list[subprocess.CompletedProcess[str]] = []

    def succeeded() -> bool:
        tried.append(plan(*arguments))
        assert "Traceback" not in tried[-1].stderr, tried[-1].stderr
        return tried[-1].returncode == 0

    wait_until(succeeded, "a grasp", 150.0)
    return tried[-1].stdout


def numbers(text: str, name: str) -> list[float]:
    (line,) = re.findall(rf"^  {name} +(.*)$", text, re.MULTILINE)
    return [float(word) for word in line.split()]


def the(view: View, colour: str, kind: str) -> SceneObject:
    (thing,) = [thing for thing in view.objects if (thing.colour, thing.kind) == (colour, kind)]
    return thing


def test_the_gripper_comes_down_on_the_thing(nodes: None, view: View) -> None:
    in_camera, in_table = first_success("Where is the blue bottle?").split("In frame 'table':")
    thing = the(view, "blue", "bottle")
    to = numbers(in_table, "to")
    assert np.hypot(*np.subtract(to, thing.position_m)[:2]) < 0.03
    assert 0.0 < to[2] < thing.position_m[2] + thing.extent_m[2] / 2
    down = rotation_of(tuple(numbers(in_table, "orientation")))[:, 2]  # type: ignore[arg-type]
    assert np.degrees(np.arccos(-down[2])) < 5.0
    assert numbers(in_table, "from")[2] == pytest.approx(to[2] + 0.1, abs=0.002)
    assert 0.02 < numbers(in_table, "opening")[0] < 0.11
    # Both are the same place.
    there = view.camera.pose @ [*numbers(in_camera, "to"), 1.0]
    assert there[:3] == pytest.approx(to, abs=0.003)


def test_what_cannot_be_grasped_is_said(nodes: None, view: View) -> None:
    first_success("Where is the blue bottle?")
    too_wide = plan("the yellow plate", "--opening", "0.02")
    assert too_wide.returncode == 1
    assert "grasp: The gripper would have to open" in too_wide.stderr and "Traceback" not in too_wide.stderr
    absent = plan("the red mug")
    assert absent.returncode == 1
    assert "names no object" in absent.stderr


def test_without_a_camera_it_says_so(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lisa_ros.demo.grasp",
        "a mug",
        "--camera-pose",
        "/nowhere",
        "--timeout",
        "0.3",
    ]
    ran = subprocess.run(command, env=private_environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "No message came on /nowhere; is sim_camera running?" in ran.stderr
