# SPDX-License-Identifier: Apache-2.0
"""What is shown of an object in 3-D."""

from __future__ import annotations

from unittest.mock import Mock

from lisa_ros.spatial.box import IMAGE_UP, OrientedBox
from lisa_ros.spatial.markers import TEXT_M, markers_of


def test_a_box_a_centroid_and_a_label_above_the_box() -> None:
    upright = (0.0, 0.0, 0.0, 1.0)
    box = OrientedBox((0.1, 0.2, 1.0), (0.06, 0.04, 0.0), upright, on_support=False)
    cube, ball, label = markers_of(Mock(box=box, centroid_m=(0.11, 0.2, 1.0)), "the red mug", IMAGE_UP)
    assert [one.kind for one in (cube, ball, label)] == ["CUBE", "SPHERE", "TEXT_VIEW_FACING"]
    assert (cube.position_m, cube.scale_m) == (box.centre_m, (0.06, 0.04, 0.001))  # one without thickness is not drawn
    assert (ball.position_m, ball.orientation) == ((0.11, 0.2, 1.0), upright)
    assert (label.position_m, label.text) == (box.beyond(IMAGE_UP, TEXT_M), "the red mug")
