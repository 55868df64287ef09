# SPDX-License-Identifier: Apache-2.0
"""The benchmark of grips, on a few scenes, and the gripper that it uses."""

from pathlib import Path

import cv2
import pytest

pytest.importorskip("pybullet")

from lisa_ros.benchmark.grip import report, run, shares
from lisa_ros.simulation.gripper import try_grasp
from lisa_ros.simulation.tabletop import Tabletop


def test_grips_of_a_few_scenes_reach_the_bars(tmp_path: Path) -> None:
    results = run(4, 0, "10 % holes", tmp_path / "grips.png")
    measured = shares(results)
    assert measured["on the object"] >= 0.95 and measured["normal within 10 degrees"] >= 0.9
    assert measured["lifted"] >= 0.8 and len(results["antipodal"]) >= 4
    assert "| lifted |" in report(results)
    assert "ms of processor time per object" in report(results)
    assert cv2.imread(str(tmp_path / "grips.png")).shape == (960, 1280, 3)


def test_the_image_of_a_single_scene_is_that_scene(tmp_path: Path) -> None:
    run(1, 0, "clean", tmp_path / "grips.png")
    assert cv2.imread(str(tmp_path / "grips.png")).shape == (480, 640, 3)


def test_the_gripper_lifts_nothing_beside_the_object_and_leaves_the_world_as_it_was() -> None:
    with Tabletop(0) as table:
        thing = table.render().objects[0]
        body = table.body_of(thing.instance)
        before = table.world.getBasePositionAndOrientation(body)
        x, y, z = thing.position_m
        assert not try_grasp(table.world, body, (x + 0.3, y, z), (1.0, 0.0, 0.0, 0.0), 0.1)
        assert table.world.getBasePositionAndOrientation(body) == before
        with pytest.raises(ValueError, match="99"):
            table.body_of(99)
