# SPDX-License-Identifier: Apache-2.0
"""A camera of a part of an image renders what a crop of a larger render shows, in both renderers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lisa_ros.segmentation.region import Region
from lisa_ros.simulation.randomization.ranges import TRAINING
from lisa_ros.simulation.randomized_table import RandomizedTable, Renderer
from lisa_ros.tabletop.view_sources import _with_size, _zoomed

PART = Region(41, 98, 60, 80)
TIMES = 2


@pytest.mark.parametrize("renderer", ["pybullet", "software"])
def test_a_part_is_rendered_as_a_crop_of_a_larger_image(renderer: Renderer) -> None:
    with RandomizedTable(3, ranges=TRAINING, renderer=renderer, width=240, height=160, oversampling=1) as table:
        table.rearrange()
        table.move_camera()
        camera = table.camera
        table.set_camera(_with_size(camera, TIMES * camera.width, TIMES * camera.height))
        whole = table.render(0.0)
        table.set_camera(_zoomed(camera, PART, TIMES * PART.width, TIMES * PART.height))
        part = table.render(0.0)
    crop = Region(*(TIMES * value for value in (PART.top, PART.left, PART.height, PART.width)))
    expected = crop.of(whole.instances)
    assert part.instances.shape == expected.shape and part.instances.any()
    # To within a pixel: away from the borders of objects both show the same.
    inside = cv2.morphologyEx(expected, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) == 0
    assert np.array_equal(part.instances[inside], expected[inside])
    depths = part.depth_m[inside], crop.of(whole.depth_m)[inside]
    seen = np.isfinite(depths[0]) & np.isfinite(depths[1])
    assert np.median(np.abs(depths[0] - depths[1])[seen]) < 1e-3
