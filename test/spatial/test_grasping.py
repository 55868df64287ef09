# SPDX-License-Identifier: Apache-2.0
"""From a box to a grasp: by hand, and against the truth of simulated tables."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_ros.simulation.scene import SceneObject, View
from lisa_ros.simulation.tabletop import Tabletop
from lisa_ros.spatial.camera import CameraModel
from lisa_ros.spatial.grasping import CannotGraspError, Grasp, Gripper, grasp_from_above
from lisa_ros.spatial.locating import Located, locate
from lisa_ros.spatial.rotation import rotation_of, transform_of

UPRIGHT = (0.0, 0.0, 0.0, 1.0)


def test_a_box_by_hand() -> None:
    grasp = grasp_from_above((1.0, 2.0, 0.1), (0.3, 0.06, 0.2), UPRIGHT, Gripper(reach_m=0.04, clearance_m=0.01))
    assert grasp.position_m == pytest.approx((1.0, 2.0, 0.16))
    assert grasp.before_m == pytest.approx((1.0, 2.0, 0.26))
    assert grasp.opening_m == pytest.approx(0.08)
    axes = rotation_of(grasp.orientation)
    assert axes[:, 2] == pytest.approx((0.0, 0.0, -1.0))  # down
    assert abs(axes[1, 1]) == pytest.approx(1.0)  # across the shorter side
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_flat_object_is_grasped_in_its_middle() -> None:
    assert grasp_from_above((0, 0, 0.01), (0.1, 0.05, 0.02), UPRIGHT).position_m == pytest.approx((0, 0, 0.01))


def test_a_box_that_is_too_wide_is_refused() -> None:
    with pytest.raises(CannotGraspError, match="open 176 mm; it opens 110 mm"):
        grasp_from_above((0, 0, 0), (0.2, 0.16, 0.05), UPRIGHT)


def test_a_box_that_is_not_upright_is_refused() -> None:
    box = (0, 0, 0), (0.1, 0.05, 0.02), UPRIGHT
    assert grasp_from_above(*box, up=(0.0, 0.1, 0.995)).opening_m > 0.05
    with pytest.raises(CannotGraspError, match="stands on was not found"):
        grasp_from_above(*box, up=(0.0, 1.0, 0.0))


def test_another_frame_by_hand() -> None:
    quarter = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # about z: x becomes y
    moved = grasp_from_above((1.0, 0.0, 0.0), (0.1, 0.05, 0.02), UPRIGHT).in_frame(
        transform_of((0.0, 0.0, 5.0), quarter)
    )
    assert moved.position_m == pytest.approx((0.0, 1.0, 5.0))
    assert rotation_of(moved.orientation)[:, 0] == pytest.approx((0.0, 1.0, 0.0), abs=1e-9)
    assert np.subtract(moved.before_m, moved.position_m) == pytest.approx((0.0, 0.0, 0.1))


def test_an_invalid_quaternion_is_refused() -> None:
    with pytest.raises(ValueError, match="has the length 0"):
        rotation_of((0.0, 0.0, 0.0, 0.0))


def grasped(view: View, item: SceneObject) -> Grasp | None:
    """In the table frame, from the true mask and depth; None where it does not fit into the gripper."""
    k = tuple(view.camera.k.ravel().tolist())
    camera = CameraModel(view.camera.width, view.camera.height, k)
    located = locate(view.rgb, view.instances == item.instance, view.depth_m, camera)
    if not isinstance(located, Located):
        return None
    try:
        up = tuple(view.camera.pose[2, :3].tolist())
        grasp = grasp_from_above(located.box.centre_m, located.box.size_m, located.box.orientation, up=up)
    except CannotGraspError:
        return None
    return grasp.in_frame(view.camera.pose)


def test_on_simulated_tables_the_gripper_encloses_the_object() -> None:
    offsets, angles, heights = [], [], []
    for seed in range(300, 308):
        with Tabletop(seed) as table:
            view = table.render()
        for item in view.objects:
            grasp = grasped(view, item)
            if grasp is None:
                continue
            offsets.append(float(np.hypot(*np.subtract(grasp.position_m, item.position_m)[:2])))
            angles.append(float(np.degrees(np.arccos(-rotation_of(grasp.orientation)[2, 2]))))
            top = item.position_m[2] + item.extent_m[2] / 2
            heights.append(0.0 <= grasp.position_m[2] <= top)
    assert len(offsets) >= 15
    # A camera sees one side: the middle of the visible side of a round object is not the object's middle.
    assert np.median(offsets) < 0.02
    assert np.max(angles) < 3.0
    assert np.mean(heights) > 0.95
