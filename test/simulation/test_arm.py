# SPDX-License-Identifier: Apache-2.0
"""The simulated arm, without a node."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lisa_ros.simulation.engine import pybullet
from lisa_ros.simulation.manipulation.arm import HELD_UP_M, Arm
from lisa_ros.simulation.manipulation.kinematics import UnreachableError
from lisa_ros.simulation.tabletop import Tabletop

DOWN = (1.0, 0.0, 0.0, 0.0)
"""The hand's z axis points down, its fingers close along the table's y."""
SEED = 1000


@pytest.fixture(scope="module")
def table() -> Iterator[Tabletop]:
    with Tabletop(SEED, width=160, height=120, scale=0.8) as made:
        yield made


def cube_of(table: Tabletop) -> tuple[int, tuple[float, float, float], tuple[float, float, float, float]]:
    cube = next(one for one in table.render().objects if one.kind == "cube")
    body = table.body_of(cube.instance)
    yaw = pybullet.getEulerFromQuaternion(table.world.getBasePositionAndOrientation(body)[1])[2]
    turned = pybullet.getQuaternionFromEuler((np.pi, 0.0, yaw))
    return body, cube.position_m, turned


def test_the_arm_lifts_a_cube_and_holds_it_up(table: Tabletop) -> None:
    steps: list[None] = []
    state = table.world.saveState()
    with Arm(table.world, lambda: steps.append(None)) as arm:
        body, position, turned = cube_of(table)
        arm.pick(position, turned, 0.08)
        held = table.world.getBasePositionAndOrientation(body)[0]
        assert held == pytest.approx(HELD_UP_M, abs=0.03)
        assert len(steps) > 1000
        arm.park()
    table.world.removeBody(arm.body)
    table.world.restoreState(state)


def test_a_pose_out_of_reach_is_refused_before_the_arm_moves(table: Tabletop) -> None:
    steps: list[None] = []
    with Arm(table.world, lambda: steps.append(None)) as arm:
        with pytest.raises(UnreachableError, match=r"The arm does not reach \(0\.90, 0\.00, \d"):
            arm.pick((0.9, 0.0, 0.05), DOWN, 0.08)
        assert steps == []
    table.world.removeBody(arm.body)


def test_objects_are_life_size_at_a_scale_and_the_image_shows_the_same_ones() -> None:
    with Tabletop(SEED, width=160, height=120) as large, Tabletop(SEED, width=160, height=120, scale=0.8) as small:
        before, after = large.render(), small.render()
        assert after.camera.pose[:3, 3] == pytest.approx(0.8 * before.camera.pose[:3, 3])
        kinds = [one.kind for one in before.objects]
        assert [one.kind for one in after.objects] == kinds
        index = kinds.index("cube")
        wide, narrow = (t.narrowest_m(v.objects[index].instance) for t, v in ((large, before), (small, after)))
        assert narrow == pytest.approx(0.8 * wide, rel=0.02) and 0.055 < narrow < 0.08
