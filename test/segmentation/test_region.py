# SPDX-License-Identifier: Apache-2.0
"""Regions lie inside the image, show what they are made around, and have the wanted aspect where there is room."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_ros.models.common.preprocessing import check_image
from lisa_ros.segmentation.region import ASPECT, LEAST_SHARE, Region, box_around, region_around

SIZES = [(480, 640), (640, 480), (1, 1), (2, 300), (300, 2), (17, 23)]


@pytest.mark.parametrize("size", SIZES)
def test_random_boxes_are_shown_by_a_region_inside_the_image(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        top, bottom = np.sort(rng.uniform(0, size[0], 2)).tolist()
        left, right = np.sort(rng.uniform(0, size[1], 2)).tolist()
        region = region_around((top, left, bottom, right), size, (0.1,) * 4)
        assert region.top >= 0 and region.left >= 0 and region.height >= 1 and region.width >= 1
        assert region.top + region.height <= size[0] and region.left + region.width <= size[1]
        # Its first row and its number of rows are rounded each by itself.
        assert region.top <= top and bottom <= region.top + region.height + 1
        assert region.left <= left and right <= region.left + region.width + 1
        assert region.width >= LEAST_SHARE * size[1]
        check_image(region.of(np.zeros((*size, 3), np.uint8)))


def test_a_box_in_the_middle_gets_its_margins_and_the_aspect() -> None:
    region = region_around((200, 300, 260, 400), (480, 640), (0.1,) * 4)
    assert (region.left, region.width) == (286, 128), "at least LEAST_SHARE of the width"
    assert region.height == pytest.approx(region.width / ASPECT, abs=1)
    tall = region_around((100, 300, 300, 320), (480, 640), (0.1,) * 4)
    assert (tall.top, tall.height) == (80, 240) and tall.width == pytest.approx(240 * ASPECT, abs=1)


@pytest.mark.parametrize(
    ("box", "touches"), [((0, 0, 40, 40), (0, 0)), ((440, 600, 480, 640), (384, 512)), ((0, 600, 30, 640), (0, 512))]
)
def test_a_box_at_the_border(box: tuple[float, float, float, float], touches: tuple[int, int]) -> None:
    region = region_around(box, (480, 640), (0.1,) * 4)
    assert (region.top, region.left) == touches and (region.height, region.width) == (96, 128)


def test_the_part_is_a_view_of_the_image() -> None:
    image = np.arange(12).reshape(3, 4)
    Region(1, 2, 2, 1).of(image)[:] = -1
    assert image.tolist() == [[0, 1, 2, 3], [4, 5, -1, 7], [8, 9, -1, 11]]


def test_points_in_a_region() -> None:
    region = Region(10, 20, 5, 4)
    assert all(region.holds(*point) for point in ((20, 10), (23, 14), (19.5, 9.5), (23.5, 14.5)))
    assert not any(region.holds(*point) for point in ((19, 12), (24, 12), (21, 9), (21, 15)))


def test_the_box_of_a_mask() -> None:
    mask = np.zeros((6, 9), bool)
    assert box_around(mask) is None
    mask[2, 3] = mask[4, 8] = True
    assert box_around(mask) == (2, 3, 5, 9)
