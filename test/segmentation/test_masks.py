# SPDX-License-Identifier: Apache-2.0
"""Boxes and points of masks."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_ros.segmentation.masks import bounding_box, centroid_pixel, union


def test_box_and_centroid_of_a_rectangle() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, 30:51] = True
    assert bounding_box(mask) == (30, 10, 21, 10)
    assert centroid_pixel(mask) == (40.0, 14.5)


def test_a_ring_has_its_centroid_on_itself() -> None:
    rows, columns = np.mgrid[:101, :101]
    radius = np.hypot(rows - 50, columns - 50)
    ring = (radius > 20) & (radius < 40)
    u, v = centroid_pixel(ring)
    assert ring[int(v), int(u)]
    assert np.hypot(u - 50, v - 50) == pytest.approx(radius[ring].min())


def test_random_masks_contain_their_centroid() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random((17, 23)) < rng.uniform(0.01, 0.6)
        if mask.any():
            u, v = centroid_pixel(mask)
            assert mask[round(v), round(u)]
            x, y, width, height = bounding_box(mask)
            assert mask[y : y + height, x : x + width].sum() == mask.sum()


def test_empty() -> None:
    empty = np.zeros((4, 5), dtype=bool)
    assert bounding_box(empty) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="empty"):
        centroid_pixel(empty)
    assert not union([], (4, 5)).any()


def test_union() -> None:
    a, b = np.zeros((2, 3), dtype=bool), np.zeros((2, 3), dtype=bool)
    a[0, 0] = b[1, 2] = True
    assert union([a, b], (2, 3)).sum() == 2
    assert a.sum() == 1
